//! Properties of the reply scanner and of `Value`: they find the same ends, in whatever pieces the bytes
//! arrive, and so does a third reading that stands here, recursive and slow.

use bytes::Bytes;
use resp::{ReplyError, ReplyKind, ReplyScanner, Value, ValueError, confirms};

use crate::cut;

/// As deep as `Value` goes.
const DEPTH_MAX: usize = 64;

/// The first byte decides where to cut, the rest is what an upstream sends.
///
/// # Panics
/// A property does not hold.
pub fn check(data: &[u8]) {
    let [seed, input @ ..] = data else { return };
    let (ends, error) = scan(&[input]);
    assert_eq!(scan(&cut(input, (*seed).into(), 6)), (ends.clone(), error), "in pieces");
    if input.len() <= 512 {
        assert_eq!(scan(&input.chunks(1).collect::<Vec<_>>()), (ends.clone(), error), "byte by byte");
    }
    let mut start = 0;
    for (end, kind) in ends {
        let reply = &input[start..end];
        assert_eq!(Reading(reply).item(0), Some(&[][..]), "{:?}", String::from_utf8_lossy(reply));
        assert_eq!(kind, Reading(reply).kind());
        look_inside(&Bytes::copy_from_slice(&input[start..]), reply.len());
        start = end;
    }
    let rest = Value::decode(&Bytes::copy_from_slice(&input[start..]));
    match error {
        Some(error) => assert_eq!(rest, Err(ValueError::Framing(error))),
        None => assert_eq!(rest, Err(ValueError::Incomplete)),
    }
}

/// Where the replies in `pieces` end, and what is wrong with what follows the last.
fn scan(pieces: &[&[u8]]) -> (Vec<(usize, ReplyKind)>, Option<ReplyError>) {
    let (mut scanner, mut ends, mut base) = (ReplyScanner::new(DEPTH_MAX), Vec::new(), 0);
    for mut piece in pieces.iter().copied() {
        while !piece.is_empty() {
            let progress = match scanner.scan(piece) {
                Ok(progress) => progress,
                Err(error) => return (ends, Some(error)),
            };
            assert!((1..=piece.len()).contains(&progress.consumed));
            assert!(progress.complete.is_some() || progress.consumed == piece.len());
            assert_eq!(scanner.is_midway(), progress.complete.is_none());
            base += progress.consumed;
            piece = &piece[progress.consumed..];
            ends.extend(progress.complete.map(|kind| (base, kind)));
        }
    }
    (ends, None)
}

/// Reads the first reply of `input`, which is `len` bytes long, as a tree: with nothing behind it, it is the same.
fn look_inside(input: &Bytes, len: usize) {
    match (Value::decode(input), Value::decode(&input.slice(..len))) {
        (Ok((value, end)), Ok((alone, _))) => {
            assert_eq!(end, len);
            // Not a number, in a double, is not equal to itself.
            assert_eq!(format!("{value:?}"), format!("{alone:?}"));
        }
        (with_more, alone) => {
            assert_eq!(with_more, alone);
            let framed = matches!(alone, Err(ValueError::Scalar | ValueError::Unpaired));
            assert!(framed, "framed, so only what is inside can be wrong: {alone:?}");
        }
    }
}

/// What is left to read.
#[derive(Clone, Copy)]
struct Reading<'r>(&'r [u8]);

impl<'r> Reading<'r> {
    /// Steps over one item that is so deep in the reply, with the attributes and the pushes before it; what follows it.
    fn item(self, level: usize) -> Option<&'r [u8]> {
        let mut reading = self.behind_pushes(level)?;
        let (mark, line) = reading.line()?;
        if matches!(mark, b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(') {
            return Some(reading.0);
        }
        if line == "?" {
            return reading.streamed(mark, level + 1);
        }
        let count = line.parse::<i64>().ok()?;
        let Ok(count) = usize::try_from(count) else { return Some(reading.0) };
        match mark {
            b'$' | b'!' | b'=' => reading.0.get(count + 2..),
            b'%' => reading.items(count * 2, level + 1),
            b'|' => Reading(reading.items(count * 2, level + 2)?).item(level),
            _ => reading.items(count, level + 1),
        }
    }

    fn items(self, count: usize, level: usize) -> Option<&'r [u8]> {
        (0..count).try_fold(self.0, |rest, _| Reading(rest).item(level))
    }

    /// Steps over pushes inside of the reply that are none of its items.
    fn behind_pushes(mut self, level: usize) -> Option<Self> {
        while level > 0 && self.0.starts_with(b">") && !(level == 1 && confirms(self.0)) {
            let count = self.line()?.1.parse().ok()?;
            self.0 = self.items(count, level + 1)?;
        }
        Some(self)
    }

    fn line(&mut self) -> Option<(u8, &'r str)> {
        let (mark, rest) = self.0.split_first()?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.0 = &rest[end + 2..];
        // Only the text of lines whose content counts is ever looked at, which is ASCII.
        Some((*mark, std::str::from_utf8(&rest[..end]).unwrap_or_default()))
    }

    /// Steps over what a streamed string or aggregate holds.
    fn streamed(mut self, mark: u8, level: usize) -> Option<&'r [u8]> {
        loop {
            self = self.behind_pushes(level)?;
            match (mark, self.0.first()?) {
                (b'$', _) => {
                    let length: usize = self.line()?.1.parse().ok()?;
                    if length == 0 {
                        return Some(self.0);
                    }
                    self.0 = self.0.get(length + 2..)?;
                }
                (_, b'.') => {
                    self.line()?;
                    return Some(self.0);
                }
                _ => self.0 = self.item(level)?,
            }
        }
    }

    /// Of the reply that is read, without the attributes before it.
    fn kind(mut self) -> ReplyKind {
        while self.0.starts_with(b"|") {
            let pairs = self.line().map_or(0, |(_, line)| line.parse::<usize>().unwrap_or(0));
            self.0 = self.items(2 * pairs, 2).unwrap_or_default();
        }
        match self.0.first() {
            Some(b'-' | b'!') => ReplyKind::Error,
            Some(b'>') => ReplyKind::Push,
            _ => ReplyKind::Answer,
        }
    }
}
