//! What comes on an exclusive connection: replies, and what nobody has asked for. `lending` and `exchange` go by it.

use resp::parse_integer;

/// What a message from the upstream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Message {
    /// Answers a request.
    Reply,
    /// Answers a request as a push does: `CLIENT REPLY` does not silence it.
    Confirmation,
    /// Comes of its own accord.
    Push,
    /// Shows a monitor what the upstream does: `CLIENT REPLY` silences it as it does a reply.
    Monitored,
}

/// Whether a message shows a monitor what the upstream does, as `+1700000000.123456 [0 127.0.0.1:5000] "GET" "k"`.
/// Nothing that answers a monitor, who may not have scripts run, is a simple string like that.
pub(super) fn is_monitored(message: &[u8]) -> bool {
    let time = message.strip_prefix(b"+").and_then(|line| line.split(|byte| *byte == b' ').next());
    time.and_then(|time| {
        let (seconds, micros) = time.split_at_checked(time.len().checked_sub(7)?)?;
        Some(parse_integer(seconds).is_some() && micros[0] == b'.' && micros[1..].iter().all(u8::is_ascii_digit))
    })
    .unwrap_or(false)
}

/// The first element of an array or push message, if that is a bulk string.
pub(super) fn subject(message: &[u8]) -> Option<&[u8]> {
    let line_end = |bytes: &[u8]| bytes.iter().position(|byte| *byte == b'\n');
    let item = message[line_end(message)? + 1..].strip_prefix(b"$")?;
    let end = line_end(item)?;
    let length = usize::try_from(parse_integer(item[..end].strip_suffix(b"\r")?)?).ok()?;
    item.get(end + 1..end + 1 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subject_is_the_first_bulk_string() {
        assert_eq!(subject(b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n"), Some(&b"message"[..]));
        assert_eq!(subject(b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"), Some(&b"subscribe"[..]));
        assert_eq!(subject(b"*1\r\n:1\r\n"), None);
        assert_eq!(subject(b"*0\r\n"), None);
        assert_eq!(subject(b"+OK\r\n"), None);
    }

    #[test]
    fn a_monitored_request_begins_with_the_time() {
        assert!(is_monitored(b"+1700000000.123456 [0 127.0.0.1:5000] \"GET\" \"k\"\r\n"));
        assert!(is_monitored(b"+1700000000.123456 [0 unix:/tmp/a b] \"GET\" \"k\"\r\n"));
        for message in [&b"+OK\r\n"[..], b"+PONG\r\n", b"+\r\n", b"+.123456 x\r\n", b"+1700000000 x\r\n", b":1\r\n"] {
            assert!(!is_monitored(message), "{message:?}");
        }
    }
}
