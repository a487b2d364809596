//! Whole replies in a row, told apart.

use resp::{ReplyScanner, Run};

/// As deep as any reply of Redis nests: a worker has bounded those that come here before.
const DEPTH_MAX: usize = 1 << 20;

/// Tells whole replies apart that stand one behind another.
#[derive(Debug)]
pub struct Splitter(ReplyScanner);

impl Default for Splitter {
    fn default() -> Self {
        Self(ReplyScanner::new(DEPTH_MAX))
    }
}

impl Splitter {
    /// The first `count` replies in `bytes`, and what stands behind them; `None` if there are not so many whole ones.
    ///
    /// ```
    /// let mut splitter = route::Splitter::default();
    /// assert_eq!(splitter.split(b"*1\r\n:7\r\n+A\r\n+B\r\n", 2), Some((&b"*1\r\n:7\r\n+A\r\n"[..], &b"+B\r\n"[..])));
    /// assert_eq!(splitter.split(b"+A\r\n:7\r", 2), None);
    /// ```
    pub fn split<'b>(&mut self, bytes: &'b [u8], count: u32) -> Option<(&'b [u8], &'b [u8])> {
        let Run { bytes: mut end, replies: mut found } = Run::of(bytes, count);
        while found < count {
            let other = self.0.scan(&bytes[end..]);
            let Some(other) = other.ok().filter(|other| other.complete.is_some()) else {
                *self = Self::default();
                return None;
            };
            end += other.consumed;
            let plain = Run::of(&bytes[end..], count - found - 1);
            (end, found) = (end + plain.bytes, found + 1 + plain.replies);
        }
        Some(bytes.split_at(end))
    }
}

/// The replies in `bytes`, one after another, up to the first that is not whole or none at all.
///
/// ```
/// let found: Vec<&[u8]> = route::replies(b"+OK\r\n*1\r\n:7\r\n").collect();
/// assert_eq!(found, [&b"+OK\r\n"[..], b"*1\r\n:7\r\n"]);
/// ```
pub fn replies(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut splitter, mut rest) = (Splitter::default(), bytes);
    std::iter::from_fn(move || {
        let reply;
        (reply, rest) = splitter.split(rest, 1)?;
        Some(reply)
    })
}

/// The items of an array or a set that is known to be whole, and how many there are; in RESP3 also those of a map, two
/// for each pair.
pub(crate) fn items(reply: &[u8]) -> Option<(usize, &[u8])> {
    let (kind, rest) = reply.split_first()?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let count = usize::try_from(resp::parse_integer(&rest[..end])?).ok()?;
    let count = match kind {
        b'*' | b'~' => count,
        b'%' => count * 2,
        _ => return None,
    };
    Some((count, &rest[end + 2..]))
}

/// The number that a reply is.
pub(crate) fn integer(reply: &[u8]) -> Option<i64> {
    resp::parse_integer(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a bulk string.
pub(crate) fn bulk(reply: &[u8]) -> Option<&[u8]> {
    let rest = reply.strip_prefix(b"$")?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let length = usize::try_from(resp::parse_integer(&rest[..end])?).ok()?;
    rest.get(end + 2..end + 2 + length)
}

pub(crate) fn is_error(reply: &[u8]) -> bool {
    matches!(reply.first(), Some(b'-' | b'!'))
}
