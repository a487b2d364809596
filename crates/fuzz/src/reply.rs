//! Properties of the reply scanner and of `Value`: they find the same ends, in whatever pieces the bytes
//! arrive, and so does a third reading that stands here, recursive and slow.

use bytes::Bytes;
use resp::{ReplyError, ReplyKind, ReplyScanner, Value, ValueError};

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
        assert_eq!(Reading(reply).item(), Some(&[][..]), "{:?}", String::from_utf8_lossy(reply));
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
    /// Steps over one item, with the attributes before it; what follows it.
    fn item(mut self) -> Option<&'r [u8]> {
        let (mark, line) = self.line()?;
        if matches!(mark, b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(') {
            return Some(self.0);
        }
        if line == "?" {
            return self.streamed(mark);
        }
        let count = line.parse::<i64>().ok()?;
        let Ok(count) = usize::try_from(count) else { return Some(self.0) };
        let items = match mark {
            b'$' | b'!' | b'=' => return self.0.get(count + 2..),
            b'%' => count * 2,
            b'|' => count * 2 + 1,
            _ => count,
        };
        (0..items).try_fold(self.0, |rest, _| Reading(rest).item())
    }

    fn line(&mut self) -> Option<(u8, &'r str)> {
        let (mark, rest) = self.0.split_first()?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        self.0 = &rest[end + 2..];
        // Only the text of lines whose content counts is ever looked at, which is ASCII.
        Some((*mark, std::str::from_utf8(&rest[..end]).unwrap_or_default()))
    }

    /// Steps over what a streamed string or aggregate holds.
    fn streamed(mut self, mark: u8) -> Option<&'r [u8]> {
        loop {
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
                _ => self.0 = self.item()?,
            }
        }
    }

    /// Of the reply that is read, without the attributes before it.
    fn kind(mut self) -> ReplyKind {
        while self.0.starts_with(b"|") {
            let pairs = self.line().map_or(0, |(_, line)| line.parse::<usize>().unwrap_or(0));
            self.0 = (0..2 * pairs).try_fold(self.0, |rest, _| Reading(rest).item()).unwrap_or_default();
        }
        match self.0.first() {
            Some(b'-' | b'!') => ReplyKind::Error,
            Some(b'>') => ReplyKind::Push,
            _ => ReplyKind::Answer,
        }
    }
}
