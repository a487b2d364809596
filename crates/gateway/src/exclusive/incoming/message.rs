//! What comes on an exclusive connection: replies, and what nobody has asked for. `lending` and `exchange` go by it.

use cluster::Cluster;
use pool::{Ours, OwnRequests};
use resp::parse_integer;

/// Words by which a request is known as one that is left out.
const WORDS: usize = 5;

/// What a message from the upstream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::exclusive) enum Message {
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
pub(in crate::exclusive) fn is_monitored(message: &[u8]) -> bool {
    let time = message.strip_prefix(b"+").and_then(|line| line.split(|byte| *byte == b' ').next());
    time.and_then(|time| {
        let (seconds, micros) = time.split_at_checked(time.len().checked_sub(7)?)?;
        Some(parse_integer(seconds).is_some() && micros[0] == b'.' && micros[1..].iter().all(u8::is_ascii_digit))
    })
    .unwrap_or(false)
}

/// What a monitor is shown on a connection, and what it is not.
#[derive(Debug, Default)]
pub(in crate::exclusive) struct Shown {
    own: OwnRequests,
    /// Of a cluster: what all primaries execute for a client is shown on another connection.
    pub(in crate::exclusive) beside: Option<Cluster>,
}

impl Shown {
    /// Whether such a message is to be left out: it shows a request of the gateway's own, or one that is shown elsewhere.
    /// Arguments by which these are known hold nothing that is escaped.
    pub(in crate::exclusive) fn hides(&mut self, message: &[u8], ours: &Ours) -> bool {
        let Some((address, words)) = shown_request(message) else { return false };
        let is_of_all = |cluster: &Cluster| ours.have(address) && cluster.all_execute(&words);
        self.own.is_own(address, &words, ours) || self.beside.as_ref().is_some_and(is_of_all)
    }
}

/// The address that such a message names, and the first words of the request.
fn shown_request(message: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let find = |bytes: &[u8], mark: &[u8]| bytes.windows(mark.len()).position(|window| window == mark);
    let rest = &message[find(message, b" [")? + 2..];
    let (from, end) = (find(rest, b" ")? + 1, find(rest, b"] \"")?);
    let (address, mut rest) = (rest.get(from..end)?, rest[end + 3..].strip_suffix(b"\"\r\n")?);
    let mut words = Vec::with_capacity(WORDS);
    while words.len() + 1 < WORDS
        && let Some(end) = find(rest, b"\" \"")
    {
        words.push(&rest[..end]);
        rest = &rest[end + 3..];
    }
    words.push(&rest[..find(rest, b"\" \"").unwrap_or(rest.len())]);
    Some((address, words))
}

/// The first element of an array or push message, if that is a bulk string.
pub(in crate::exclusive) fn subject(message: &[u8]) -> Option<&[u8]> {
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
    fn what_is_the_gateways_own_is_known_among_what_is_monitored() {
        let (mut shown_here, ours) = (Shown::default(), Ours::default());
        for (shown, own) in [
            (r#"[0 127.0.0.1:5000] "HELLO" "2" "SETNAME" "respool-worker-1""#, true),
            (r#"[0 127.0.0.1:5001] "INFO" "server""#, false),
            (r#"[0 127.0.0.1:5000] "INFO" "server""#, true),
            (r#"[9 unix:/tmp/a b] "CLIENT" "SETNAME" "respool-topology""#, true),
            (r#"[0 lua] "CLIENT" "SETNAME" "app""#, false),
            (r#"[0 [::1]:5000] "SET" "HELLO" "2" "SETNAME" "respool-worker-1""#, false),
            (r#"[0 [::1]:5000] "PING""#, false),
        ] {
            let message = format!("+1700000000.123456 {shown}\r\n");
            assert_eq!(shown_here.hides(message.as_bytes(), &ours), own, "{shown}");
        }
        assert!(!shown_here.hides(b"+1700000000.123456 [0\r\n", &ours));
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
