//! What shared pub/sub passes around: the name of a channel or pattern, and a message that is written as
//! it came, in either protocol. Used by all of the room.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pool::Share;
use resp::{Protocol, write_bulk, write_integer, write_null, write_push};

/// What a name stands for. The order is that of `CLIENT LIST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Channel,
    Pattern,
    /// A channel of sharded pub/sub.
    Shard,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Channel, Self::Pattern, Self::Shard];

    /// The command, which is also how its confirmation begins.
    pub(crate) fn subscribe(self) -> &'static str {
        match self {
            Self::Channel => "subscribe",
            Self::Pattern => "psubscribe",
            Self::Shard => "ssubscribe",
        }
    }

    /// The command that takes it back.
    pub(crate) fn unsubscribe(self) -> &'static str {
        match self {
            Self::Channel => "unsubscribe",
            Self::Pattern => "punsubscribe",
            Self::Shard => "sunsubscribe",
        }
    }

    /// How its messages begin.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Channel => "message",
            Self::Pattern => "pmessage",
            Self::Shard => "smessage",
        }
    }
}

/// A channel, pattern or sharded channel.
// Open: a plain value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) kind: Kind,
    pub(crate) bytes: Arc<[u8]>,
}

impl fmt::Debug for Name {
    /// Not the name itself, which is a client's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Name").field("kind", &self.kind).field("bytes", &self.bytes.len()).finish()
    }
}

/// A message as it came, with its place in the order of all that came.
pub(crate) struct Message {
    number: u64,
    /// Where it was published, as its subscribers name it.
    name: Name,
    /// `None` once it had to go.
    body: Mutex<Option<Body>>,
}

struct Body {
    /// Whole. The first byte is that of the upstream's protocol; the rest is the same in both.
    bytes: Box<[u8]>,
    /// Of what subscribers may have to read.
    _share: Share,
}

impl fmt::Debug for Message {
    /// Not what it says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.body().as_ref().map(|body| body.bytes.len());
        f.debug_struct("Message").field("number", &self.number).field("bytes", &bytes).finish()
    }
}

impl Message {
    /// `message` as the upstream sent it, in either protocol.
    pub(crate) fn new(number: u64, name: Name, message: &[u8], share: Share) -> Self {
        Self { number, name, body: Mutex::new(Some(Body { bytes: message.into(), _share: share })) }
    }

    /// Whether it is for a client that is subscribed to these names, each with the number of the last message before that:
    /// what came before a subscription, or is left after its end, is none of the client's.
    pub(crate) fn is_for(&self, names: &BTreeMap<Name, u64>) -> bool {
        names.get(&self.name).is_some_and(|last| *last < self.number)
    }

    fn body(&self) -> MutexGuard<'_, Option<Body>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what it holds, whoever still has to read it.
    pub(crate) fn empty(&self) {
        *self.body() = None;
    }

    /// Whether it can still be read.
    pub(crate) fn is_there(&self) -> bool {
        self.body().is_some()
    }

    /// Appends it in a client's protocol; false if it had to go.
    pub(crate) fn write(&self, out: &mut Vec<u8>, protocol: Protocol) -> bool {
        let body = self.body();
        let Some(body) = &*body else { return false };
        out.push(match protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => b'>',
        });
        out.extend_from_slice(&body.bytes[1..]);
        true
    }
}

/// As Redis confirms, or denies that there was anything.
pub(crate) fn confirmation(command: &str, name: Option<&[u8]>, count: usize, protocol: Protocol, out: &mut Vec<u8>) {
    write_push(out, protocol, 3);
    write_bulk(out, command.as_bytes());
    match name {
        Some(name) => write_bulk(out, name),
        None => write_null(out, protocol),
    }
    write_integer(out, i64::try_from(count).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_in_both_protocols_but_for_its_mark() {
        let share = Arc::new(pool::Budget::default()).charge(0);
        let name = Name { kind: Kind::Channel, bytes: b"c"[..].into() };
        let message = Message::new(1, name, b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n", share);
        let (mut resp2, mut resp3) = (Vec::new(), Vec::new());
        message.write(&mut resp2, Protocol::Resp2);
        message.write(&mut resp3, Protocol::Resp3);
        assert_eq!(resp2, b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
        assert_eq!(resp3[0], b'>');
        assert_eq!(resp2[1..], resp3[1..]);
    }
}
