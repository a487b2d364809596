//! Replies that are plain and whole: most of those that come. Their ends are found without a state.

use memchr::memchr;

use crate::number::short_length;

/// A bulk string that there is not, in RESP2.
const NULL: &[u8] = b"$-1\r\n";

/// Replies, one right behind the other; see [`skip_plain`](crate::ReplyScanner::skip_plain).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Run {
    /// Bytes that they have together.
    pub bytes: usize,
    /// How many there are.
    pub replies: u32,
}

impl Run {
    /// The plain answers that `chunk` begins with, at most `max` of them. Of one that is not plain, or not whole, nothing is
    /// said: that is for a [`ReplyScanner`](crate::ReplyScanner) to look at.
    pub fn of(chunk: &[u8], max: u32) -> Self {
        let mut run = Self::default();
        while run.replies < max
            && let Some(len) = plain_answer(&chunk[run.bytes..])
        {
            run.bytes += len;
            run.replies += 1;
        }
        run
    }
}

/// The bytes of a plain answer that `chunk` begins with and holds whole: a bulk string, or one line of text.
fn plain_answer(chunk: &[u8]) -> Option<usize> {
    match chunk.first()? {
        b'$' if chunk.get(1) == Some(&b'-') => chunk.starts_with(NULL).then_some(NULL.len()),
        b'$' => whole_bulk(chunk),
        b'+' | b':' | b'_' | b'#' | b',' => {
            memchr(b'\n', chunk).filter(|end| chunk[end - 1] == b'\r').map(|end| end + 1)
        }
        _ => None,
    }
}

/// The bytes of a bulk string that `chunk` begins with and holds whole, if its length has few digits.
#[inline]
pub(crate) fn whole_bulk(chunk: &[u8]) -> Option<usize> {
    let (length, len) = short_length(chunk.strip_prefix(b"$")?)?;
    let end = 1 + len + length;
    (chunk.get(end..end + 2)? == b"\r\n").then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplyScanner;

    #[test]
    fn plain_answers_are_skipped_up_to_what_is_none_or_not_whole() {
        let all = b"+OK\r\n:-1\r\n$-1\r\n$0\r\n\r\n$3\r\na\r\n\r\n+\r\n_\r\n#t\r\n,1.5\r\n";
        let mut scanner = ReplyScanner::new(8);
        for other in
            ["", "-ERR no\r\n", "*1\r\n:1\r\n", ">1\r\n:1\r\n", "$3\r\nabc\r", "$-1\r", "$?\r\n", "+OK\r", "+OK\n"]
        {
            let input = [&all[..], other.as_bytes()].concat();
            let run = scanner.skip_plain(&input, u32::MAX);
            assert_eq!(run, Run { bytes: all.len(), replies: 9 }, "{other}");
        }
        assert_eq!(scanner.skip_plain(all, 2), Run { bytes: 10, replies: 2 });
        scanner.scan(b"*2\r\n").expect("valid");
        assert_eq!(scanner.skip_plain(all, 9), Run::default(), "they belong to the array");
    }

    #[test]
    fn what_is_skipped_is_what_a_scan_goes_through() {
        let inputs: [&[u8]; 5] = [b"+a\rb\r\n", b"$2\r\n\r\n\r\n", b":1\r\n+x", b",inf\r\n", b"$1\r\nab\r\n"];
        for input in inputs {
            let run = ReplyScanner::new(8).skip_plain(input, 1);
            match ReplyScanner::new(8).scan(input) {
                Ok(progress) => assert_eq!((run.replies, run.bytes), (1, progress.consumed), "{input:?}"),
                Err(_) => assert_eq!(run, Run::default()),
            }
        }
    }
}
