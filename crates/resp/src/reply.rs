//! Framing of replies: where one ends, in a stream of chunks of which none has to be kept. Knows every type of
//! RESP2 and RESP3, attributes and streamed types among them. Knows as well that Redis before 7.2 writes a push into the
//! middle of a reply where a request has a consequence that its own connection hears of.

use memchr::memchr;

use crate::{
    ReplyError,
    levels::{Level, Levels},
    number::parse_integer,
    plain::{Run, whole_bulk},
    push::is_confirmation,
};

/// What kind of message a reply turned out to be; see [`ReplyScanner::scan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// Anything that answers a request, but an error.
    Answer,
    /// `-…` or `!…`, which answers a request with an error.
    Error,
    /// `>…`: a push message, which answers no request.
    Push,
}

/// How far [`ReplyScanner::scan`] came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the chunk that belong to the current reply: the whole chunk unless `complete`.
    pub consumed: usize,
    /// Set when the last consumed byte ends the reply.
    pub complete: Option<ReplyKind>,
    /// The most aggregates inside aggregates in the reply so far.
    pub depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the type byte of an item.
    Type,
    /// In a line whose content does not matter; `cr` if the last byte was CR.
    Line { cr: bool },
    /// In the length line of type `kind`, read into `digits`.
    Length { kind: u8 },
    /// In a bulk string: `left` bytes, CR and LF included.
    Bulk { left: usize },
}

/// Finds the ends of replies. It keeps a counter of 8 bytes for each open level, never bytes of the reply, so
/// that a reply of any size costs it nothing, and never looks at a byte twice.
#[derive(Debug)]
pub struct ReplyScanner {
    state: State,
    kind: Option<ReplyKind>,
    levels: Levels,
    /// Of a length; behind it, the name of a push.
    digits: [u8; 24],
    digits_len: usize,
    /// Next, or soon, the name of a push is there that may be an item of the reply.
    names_push: bool,
}

impl ReplyScanner {
    /// A scanner at the beginning of a stream that refuses aggregates nested deeper than `depth_max`.
    pub fn new(depth_max: usize) -> Self {
        Self {
            state: State::Type,
            kind: None,
            levels: Levels::new(depth_max),
            digits: [0; 24],
            digits_len: 0,
            names_push: false,
        }
    }

    /// Whether a reply has been begun and not finished.
    pub fn is_midway(&self) -> bool {
        self.kind.is_some()
    }

    /// The kind of the reply that has been begun and not finished.
    pub fn kind(&self) -> Option<ReplyKind> {
        self.kind
    }

    /// Bytes known to be still missing of the bulk string at hand, 0 elsewhere.
    pub fn bulk_left(&self) -> usize {
        match self.state {
            State::Bulk { left } => left,
            State::Type | State::Line { .. } | State::Length { .. } => 0,
        }
    }

    /// Bytes of memory that the open levels take.
    pub fn level_bytes(&self) -> usize {
        self.levels.bytes()
    }

    /// Goes through `chunk` to the end of the current reply, or to the end of the chunk.
    ///
    /// # Errors
    /// The bytes are no RESP; the scanner is of no further use.
    pub fn scan(&mut self, chunk: &[u8]) -> Result<Progress, ReplyError> {
        if self.kind.is_none()
            && let Some(consumed) = whole_bulk(chunk)
        {
            return Ok(Progress { consumed, complete: Some(ReplyKind::Answer), depth: 0 });
        }
        let mut at = 0;
        while at < chunk.len() {
            let item_done = match self.state {
                State::Type => {
                    at += 1;
                    self.begin(chunk[at - 1])?;
                    false
                }
                State::Line { cr } => self.line(chunk, &mut at, cr)?,
                State::Length { kind } => self.length(chunk, &mut at, kind)?,
                State::Bulk { left } => self.bulk(chunk, &mut at, left)?,
            };
            if item_done && self.levels.item_done() {
                return Ok(Progress { consumed: at, complete: self.kind.take(), depth: self.levels.finish() });
            }
        }
        Ok(Progress { consumed: at, complete: None, depth: self.levels.deepest() })
    }

    /// Goes over the plain answers that `chunk` begins with, which are whole and no aggregates: at most `max` of them.
    /// None while a reply has been begun. What they leave is for [`scan`](Self::scan) to look at.
    pub fn skip_plain(&self, chunk: &[u8], max: u32) -> Run {
        if self.is_midway() { Run::default() } else { Run::of(chunk, max) }
    }

    fn begin(&mut self, kind: u8) -> Result<(), ReplyError> {
        let level = self.levels.begin(kind);
        if level.is_none() {
            // Decided anew by what follows attributes.
            self.kind = Some(match kind {
                b'-' | b'!' => ReplyKind::Error,
                b'>' => ReplyKind::Push,
                _ => ReplyKind::Answer,
            });
        }
        self.state = match (level, kind) {
            (Some(Level::Chunks), b';') | (Some(Level::Streamed), b'.') => self.length_line(kind),
            (Some(Level::Chunks), other) => return Err(ReplyError::UnknownType(other)),
            (_, b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(') => State::Line { cr: false },
            (_, b'$' | b'!' | b'=' | b'*' | b'~' | b'>' | b'%' | b'|') => self.length_line(kind),
            (_, other) => return Err(ReplyError::UnknownType(other)),
        };
        Ok(())
    }

    fn length_line(&mut self, kind: u8) -> State {
        self.digits_len = 0;
        State::Length { kind }
    }

    fn line(&mut self, chunk: &[u8], at: &mut usize, cr: bool) -> Result<bool, ReplyError> {
        let rest = &chunk[*at..];
        match memchr(b'\n', rest) {
            Some(found) => {
                let cr = if found == 0 { cr } else { rest[found - 1] == b'\r' };
                if !cr {
                    return Err(ReplyError::LineEnd);
                }
                *at += found + 1;
                self.state = State::Type;
                Ok(true)
            }
            None => {
                self.state = State::Line { cr: rest.last() == Some(&b'\r') };
                *at = chunk.len();
                Ok(false)
            }
        }
    }

    fn length(&mut self, chunk: &[u8], at: &mut usize, kind: u8) -> Result<bool, ReplyError> {
        while let Some(byte) = chunk.get(*at) {
            *at += 1;
            if *byte == b'\n' {
                return self.length_known(kind);
            }
            *self.digits.get_mut(self.digits_len).ok_or(ReplyError::Length)? = *byte;
            self.digits_len += 1;
        }
        Ok(false)
    }

    fn length_known(&mut self, kind: u8) -> Result<bool, ReplyError> {
        let digits = self.digits[..self.digits_len].strip_suffix(b"\r").ok_or(ReplyError::LineEnd)?;
        self.state = State::Type;
        match (kind, digits) {
            (b'.', b"") => return Ok(self.levels.close()),
            (b'.', _) => return Err(ReplyError::Length),
            (b'$', b"?") => return self.levels.open_chunks(),
            (b'*' | b'~' | b'%', b"?") => return self.levels.open_streamed(),
            _ => {}
        }
        let length = parse_integer(digits).ok_or(ReplyError::Length)?;
        if length == -1 && matches!(kind, b'$' | b'*') {
            return Ok(true);
        }
        let length = u64::try_from(length).map_err(|_| ReplyError::Length)?;
        match kind {
            b';' if length == 0 => Ok(self.levels.close()),
            b'$' | b'!' | b'=' | b';' => {
                let left = usize::try_from(length).ok().and_then(|left| left.checked_add(2));
                self.state = State::Bulk { left: left.ok_or(ReplyError::Length)? };
                Ok(false)
            }
            b'|' => {
                self.names_push = false;
                self.levels.open_attributes(length)
            }
            b'%' => self.levels.open(length.saturating_mul(2)),
            b'>' => {
                let is_whole = self.levels.open_push(length)?;
                self.names_push = length > 0 && self.levels.is_at_name();
                Ok(is_whole)
            }
            _ => self.levels.open(length),
        }
    }

    fn bulk(&mut self, chunk: &[u8], at: &mut usize, left: usize) -> Result<bool, ReplyError> {
        let take = left.min(chunk.len() - *at);
        // The last two bytes have to be CR LF, wherever the chunks are cut.
        for (offset, expected) in [(left.wrapping_sub(2), b'\r'), (left - 1, b'\n')] {
            if offset < take && chunk[*at + offset] != expected {
                return Err(ReplyError::LineEnd);
            }
        }
        if self.names_push {
            self.name(&chunk[*at..*at + take], take == left);
        }
        *at += take;
        self.state = if take == left { State::Type } else { State::Bulk { left: left - take } };
        Ok(take == left)
    }

    /// Takes in a part of the name of a push, with its CR and LF.
    #[cold]
    fn name(&mut self, part: &[u8], is_last: bool) {
        let end = self.digits_len + part.len();
        // Longer, it is none that matters.
        let room = self.digits.get_mut(self.digits_len..end).filter(|_| self.levels.is_at_name());
        self.names_push = room.is_some() && !is_last;
        let Some(room) = room else { return };
        room.copy_from_slice(part);
        self.digits_len = end;
        let name = self.digits[..end].splitn(2, |byte| *byte == b'\r').nth(1);
        if is_last && name.and_then(|name| name.strip_suffix(b"\r\n")).is_some_and(is_confirmation) {
            self.levels.count_push();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The ends of the replies in `pieces`, with their kinds.
    fn ends<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> Result<Vec<(usize, ReplyKind)>, ReplyError> {
        let (mut scanner, mut found, mut base) = (ReplyScanner::new(8), Vec::new(), 0);
        for mut piece in pieces {
            while !piece.is_empty() {
                let progress = scanner.scan(piece)?;
                base += progress.consumed;
                piece = &piece[progress.consumed..];
                found.extend(progress.complete.map(|kind| (base, kind)));
            }
        }
        Ok(found)
    }

    const SAMPLES: &[&[u8]] = &[
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":-1\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"$0\r\n\r\n",
        b"$3\r\na\r\n\r\n",
        b"*0\r\n",
        b"*2\r\n*1\r\n:1\r\n$1\r\nx\r\n",
        b"_\r\n",
        b"#t\r\n",
        b",1.5\r\n",
        b"(3492890328409238509324850943850943825024385\r\n",
        b"!5\r\nERR x\r\n",
        b"=6\r\ntxt:ab\r\n",
        b"%1\r\n+a\r\n*1\r\n:1\r\n",
        b"~2\r\n:1\r\n:2\r\n",
        b">2\r\n+message\r\n$1\r\nx\r\n",
        b"|1\r\n+ttl\r\n:3\r\n:7\r\n",
        b"*1\r\n|1\r\n+ttl\r\n:3\r\n:7\r\n",
        b"%0\r\n",
        b"|0\r\n|1\r\n+ttl\r\n|0\r\n:3\r\n*1\r\n:7\r\n",
        b"|1\r\n+ttl\r\n:3\r\n-ERR no\r\n",
        b"$?\r\n;4\r\n\r\n;0\r\n;1\r\nx\r\n;0\r\n",
        b"$?\r\n;0\r\n",
        b"*?\r\n:1\r\n~?\r\n.\r\n|1\r\n+ttl\r\n:3\r\n$?\r\n;1\r\n.\r\n;0\r\n.\r\n",
        b"%?\r\n+a\r\n*2\r\n:1\r\n*?\r\n.\r\n.\r\n",
        b"*2\r\n>3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$2\r\nhi\r\n:1\r\n>0\r\n_\r\n",
        b"*1\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n>1\r\n:1\r\n$1\r\nk\r\n*1\r\n>1\r\n$9\r\nsubscribe\r\n*0\r\n",
        b"*2\r\n>3\r\n$12\r\npunsubscribe\r\n_\r\n:0\r\n:7\r\n",
        b"*1\r\n>3\r\n:1\r\n$9\r\nsubscribe\r\n_\r\n:7\r\n",
        b"*1\r\n>3\r\n$-1\r\n$9\r\nsubscribe\r\n_\r\n:7\r\n",
        b"*1\r\n>3\r\n|0\r\n$9\r\nsubscribe\r\n_\r\n_\r\n:7\r\n",
        b"*1\r\n>3\r\n$11\r\nsubscribe\r\n\r\n_\r\n_\r\n:7\r\n",
        b"*1\r\n>1\r\n$24\r\nxxxxxxxxxxxxxxxsubscribe\r\n:7\r\n",
        b"*1\r\n>1\r\n$?\r\n;9\r\nsubscribe\r\n;0\r\n:7\r\n",
        b"%?\r\n>1\r\n+a\r\n+a\r\n|1\r\n+a\r\n>1\r\n:0\r\n:1\r\n>1\r\n:2\r\n:3\r\n.\r\n",
    ];

    /// What its first item is that is no attribute.
    fn kind_of(sample: &[u8]) -> ReplyKind {
        match sample[0] {
            b'|' if sample.ends_with(b"-ERR no\r\n") => ReplyKind::Error,
            b'-' | b'!' => ReplyKind::Error,
            b'>' => ReplyKind::Push,
            _ => ReplyKind::Answer,
        }
    }

    #[test]
    fn every_type_ends_where_it_ends() {
        for sample in SAMPLES {
            let found = ends([*sample]).expect("valid");
            assert_eq!(found.len(), 1, "{sample:?}");
            assert_eq!(found[0].0, sample.len());
            assert_eq!(found[0].1, kind_of(sample), "{sample:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (input, error) in [
            (&b"x"[..], ReplyError::UnknownType(b'x')),
            (b"+OK\n", ReplyError::LineEnd),
            (b"$1\r\nabc", ReplyError::LineEnd),
            (b"$-2\r\n", ReplyError::Length),
            (b"*99999999999999999999\r\n", ReplyError::Length),
            (b"*4611686018427387904\r\n", ReplyError::Length),
            (b"%2305843009213693952\r\n", ReplyError::Length),
            (b"|9223372036854775807\r\n", ReplyError::Length),
            (b"=?\r\n", ReplyError::Length),
            (b">?\r\n", ReplyError::Length),
            (b"$?\r\n;-1\r\n", ReplyError::Length),
            (b"*?\r\n.x\r\n", ReplyError::Length),
            (b"*?\r\n.0\r\n", ReplyError::Length),
            (b"$?\r\n+x\r\n", ReplyError::UnknownType(b'+')),
            (b"*1\r\n.\r\n", ReplyError::UnknownType(b'.')),
            (b"*1\r\n>2305843009213693952\r\n", ReplyError::Length),
            (b"*?\r\n|0\r\n.\r\n", ReplyError::UnknownType(b'.')),
            (b"%?\r\n|1\r\n+a\r\n+b\r\n.\r\n", ReplyError::UnknownType(b'.')),
            (b";1\r\n", ReplyError::UnknownType(b';')),
        ] {
            assert_eq!(ends([input]), Err(error), "{input:?}");
        }
        assert_eq!(ends([&b"*1\r\n".repeat(9)[..]]), Err(ReplyError::TooDeep(8)));
    }

    #[test]
    fn depth_is_told_of_each_reply_and_its_levels_are_given_back() {
        let mut scanner = ReplyScanner::new(10_000);
        for depth in [1, 7_995, 0, 2] {
            let reply = [&b"*1\r\n".repeat(depth)[..], b"$1\r\nx\r\n"].concat();
            let whole = scanner.scan(&reply).expect("valid");
            assert_eq!((whole.consumed, whole.depth), (reply.len(), depth));
            assert!(scanner.level_bytes() <= 32 * 8);
            let (head, tail) = reply.split_at(reply.len() - 1);
            assert_eq!(scanner.scan(head).expect("valid").depth, depth);
            assert!(scanner.level_bytes() >= depth * 8);
            assert_eq!(scanner.scan(tail).expect("valid").depth, depth);
        }
    }

    proptest! {
        #[test]
        fn any_split_finds_the_same_ends(picks in prop::collection::vec(0..SAMPLES.len(), 1..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let input: Vec<u8> = picks.iter().flat_map(|pick| SAMPLES[*pick]).copied().collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]);
            prop_assert_eq!(ends(pieces), ends([&input[..]]));
            prop_assert_eq!(ends([&input[..]]).expect("valid").len(), picks.len());
        }

        #[test]
        fn arbitrary_bytes_never_panic(input in prop::collection::vec(prop::sample::select(b"*$:+-%|!=~>_#0123?\r\nab".to_vec()), 0..80)) {
            prop_assert_eq!(ends(input.chunks(1)), ends([&input[..]]));
        }
    }
}
