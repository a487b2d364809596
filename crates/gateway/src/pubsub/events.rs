//! Keyspace events: what a node says of its own keys alone, unlike a message that is published, which all nodes of a
//! cluster pass on. So they are heard at each primary, and nothing else at any but the first. Asked by `link`, and by `exclusive` for
//! subscribers that have a connection of their own.

use resp::parse_integer;

use crate::pubsub::message::{Kind, Name};

/// How the channels of events begin.
const CHANNELS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// Whether a channel is one of events.
fn is_of_events(channel: &[u8]) -> bool {
    CHANNELS.iter().any(|begins| channel.starts_with(begins))
}

impl Name {
    /// Whether events may come for it. A pattern is looked at up to its first sign that is none of a name.
    pub(crate) fn may_be_of_events(&self) -> bool {
        let literal = self.bytes.split(|byte| b"*?[\\".contains(byte)).next().unwrap_or_default();
        match self.kind {
            Kind::Channel => is_of_events(&self.bytes),
            Kind::Pattern => CHANNELS.iter().any(|begins| begins.starts_with(literal) || literal.starts_with(begins)),
            Kind::Shard => false,
        }
    }
}

/// Whether a message, as the upstream sends it in either protocol, tells an event.
pub(crate) fn is_event(message: &[u8]) -> bool {
    key_of(message).is_some()
}

/// Of which key a message tells an event, if it does.
pub(super) fn key_of(message: &[u8]) -> Option<&[u8]> {
    let (subject, name, rest) = heading(message)?;
    let (channel, rest) = match subject {
        b"message" => (name, rest),
        b"pmessage" => bulk(rest)?,
        _ => return None,
    };
    let (named, of) = channel.split_at_checked(CHANNELS[0].len())?;
    let of = &of[of.windows(3).position(|end| end == b"__:")? + 3..];
    match CHANNELS.iter().position(|begins| *begins == named)? {
        0 => Some(of),
        _ => Some(bulk(rest)?.0),
    }
}

/// The first two elements of an array or push message, if they are bulk strings, and what follows.
pub(super) fn heading(message: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    if !matches!(message.first(), Some(b'*' | b'>')) {
        return None;
    }
    let (_, rest) = line(message)?;
    let (subject, rest) = bulk(rest)?;
    let (name, rest) = bulk(rest)?;
    Some((subject, name, rest))
}

fn bulk(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = line(bytes)?;
    let length = usize::try_from(parse_integer(head.strip_prefix(b"$")?)?).ok()?;
    let (item, rest) = rest.split_at_checked(length)?;
    Some((item, rest.get(2..)?))
}

/// A line without its end, and what follows.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((bytes[..end].strip_suffix(b"\r")?, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heading_is_two_bulk_strings() {
        let begins = |message| heading(message).map(|(subject, name, _)| (subject, name));
        let message = b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n";
        assert_eq!(begins(message), Some((&b"message"[..], &b"c"[..])));
        assert_eq!(begins(b"*3\r\n$9\r\nsubscribe\r\n$0\r\n\r\n:1\r\n"), Some((&b"subscribe"[..], &b""[..])));
        assert_eq!(begins(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"), None);
        assert_eq!(begins(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n"), Some((&b"pong"[..], &b""[..])));
        assert_eq!(begins(b"+PONG\r\n"), None);
        assert_eq!(begins(b"-ERR no\r\n"), None);
    }

    #[test]
    fn an_event_is_known_by_its_channel_and_not_by_what_it_says() {
        let space = b">3\r\n$7\r\nmessage\r\n$19\r\n__keyspace@0__:a__:\r\n$3\r\nset\r\n";
        let event = b"*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$18\r\n__keyevent@0__:set\r\n$1\r\nk\r\n";
        assert_eq!([&space[..], event].map(key_of), [Some(&b"a__:"[..]), Some(b"k")]);
        assert!(!is_event(b"*4\r\n$8\r\npmessage\r\n$11\r\n__keyspace@\r\n$1\r\nc\r\n$11\r\n__keyspace@\r\n"));
        assert!(!is_event(b">3\r\n$9\r\nsubscribe\r\n$16\r\n__keyspace@0__:k\r\n:1\r\n"));
    }

    #[test]
    fn a_pattern_is_looked_at_up_to_its_first_sign() {
        let may = |kind, name: &str| Name { kind, bytes: name.as_bytes().into() }.may_be_of_events();
        for pattern in ["*", "__key*", "__keyspace@0__:*", "__keyspace@?", "__k[ae]*", "?*", "_\\_*", "__keyevent@"] {
            assert!(may(Kind::Pattern, pattern), "{pattern}");
        }
        for pattern in ["news.*", "__keyspaces*", "__redis__:*", "a"] {
            assert!(!may(Kind::Pattern, pattern), "{pattern}");
        }
        assert!(may(Kind::Channel, "__keyspace@0__:k") && !may(Kind::Channel, "*") && !may(Kind::Shard, "__keyspace@"));
    }
}
