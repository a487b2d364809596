//! Commands to which the gateway replies itself, inside a transaction: the upstream queues a placeholder that does
//! nothing, and when it has executed the transaction, the gateway's own reply takes its place.
//! So they run where they stand, or not at all, as in Redis.

use std::{collections::HashSet, fmt, iter::Peekable, vec::IntoIter};

use bytes::Bytes;
use cluster::Taught;
use resp::{Decoded, ReplyScanner, Request, RequestDecoder, RequestLimits, Value, confirms, write_request};
use zeroize::Zeroizing;

use crate::{
    command::{
        class::{Class, Local, Upstream},
        classify::classify,
    },
    exclusive::{change::Change, message::is_monitored},
    local_reply::{
        requester::{Hello, NextStep, Requester, Unblock},
        session_commands,
    },
};

/// More than the framing of an argument, or of a request, has bytes.
const FRAME_BYTES: usize = 24;

/// What the upstream has queued in a transaction, as far as its execution concerns the gateway.
#[derive(Default)]
pub(crate) struct QueuedTransaction {
    count: usize,
    /// A request was refused, so that it will not be executed.
    refused: bool,
    /// What the request sent last will be, once it is queued.
    pending: Option<Noted>,
    noted: Vec<(usize, Noted)>,
    /// Of memory, for what is noted.
    bytes: usize,
    /// The reply to `EXEC` as far as it has come, where messages stand in it that its length does not count; and what is
    /// known of it.
    begun: Vec<u8>,
    reading: Option<Reading>,
    /// The client is shown what the upstream does, in lines that stand in that reply.
    monitors: bool,
}

/// What the gateway has to do when a queued request has been executed.
#[derive(PartialEq, Eq)]
pub(crate) enum Noted {
    /// Answer this request; a placeholder was executed in its place.
    Answer(Zeroizing<Vec<u8>>),
    /// Put this `HELLO` in force, whose password was right when it was queued. The connection has changed its protocol
    /// with it.
    Hello(Box<Hello>),
    /// Answer this `CLIENT UNBLOCK`, unless what was executed in its place has unblocked the client already.
    Unblock(Zeroizing<Vec<u8>>),
    /// Take note of a change of state, unless the reply is an error.
    Change(Change),
    /// Take note of what the reply says of the scripts that a cluster knows.
    Script(Box<Taught>),
}

impl QueuedTransaction {
    /// How many requests.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Bytes of memory for what has been noted.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A request is on its way.
    pub(crate) fn expect(&mut self, noted: Option<Noted>) {
        self.bytes += noted.as_ref().map_or(0, Noted::bytes);
        self.pending = noted;
    }

    /// A reply has come within the transaction.
    pub(crate) fn saw(&mut self, reply: &[u8]) {
        let pending = self.pending.take();
        if reply.starts_with(b"+QUEUED") {
            self.noted.extend(pending.map(|noted| (self.count, noted)));
            self.count += 1;
        }
        self.refused |= reply.starts_with(b"-");
    }

    /// Whether a request was refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether the reply to `EXEC` that goes on at `at` in `out` is whole; otherwise it is kept until more has come. In
    /// RESP2 a message that a request of the transaction causes is an array, and what is shown to a client that `monitors`
    /// is a line: neither is an item for all that.
    pub(super) fn gather(&mut self, out: &mut Vec<u8>, at: usize, monitors: bool) -> bool {
        self.monitors = monitors;
        let part = &out[at..];
        let reading = if let Some(reading) = &mut self.reading {
            reading.is_reply(part);
            reading
        } else {
            let Some((_, mut items)) = Items::of(part, &self.noted, monitors) else { return true };
            if items.reading.confirmed_at.is_empty() && !monitors {
                return true;
            }
            items.by_ref().for_each(drop);
            self.reading.insert(items.reading)
        };
        let is_whole = reading.index >= self.count;
        if is_whole && self.begun.is_empty() {
            return true;
        }
        self.begun.extend_from_slice(part);
        out.truncate(at);
        if is_whole {
            out.append(&mut self.begun);
        }
        is_whole
    }

    /// Takes the reply to `EXEC` apart. `None` if nothing was noted, or nothing was executed.
    pub(crate) fn executed(self, reply: &[u8]) -> Option<Executed<'_>> {
        let (head, items) = Items::of(reply, &self.noted, self.monitors).filter(|_| !self.noted.is_empty())?;
        Some(Executed { head, items, noted: self.noted.into_iter().peekable() })
    }
}

/// Without what a client has sent.
impl fmt::Debug for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(request) => f.debug_tuple("Answer").field(&request.len()).finish(),
            Self::Hello(_) => f.write_str("Hello"),
            Self::Unblock(request) => f.debug_tuple("Unblock").field(&request.len()).finish(),
            Self::Change(change) => f.debug_tuple("Change").field(change).finish(),
            Self::Script(taught) => f.debug_tuple("Script").field(taught).finish(),
        }
    }
}

impl Noted {
    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        let request = match self {
            Self::Answer(request) | Self::Unblock(request) => request.capacity(),
            Self::Hello(hello) => {
                let (name, user) =
                    (hello.name.as_ref().map_or(0, Vec::capacity), hello.user.as_ref().map_or(0, String::capacity));
                size_of::<Hello>() + name + user
            }
            Self::Change(_) => 0,
            Self::Script(taught) => size_of::<Taught>() + taught.bytes(),
        };
        size_of::<(usize, Self)>() + request
    }
}

/// The reply to `EXEC`, request by request: what was noted of each, and its reply. Besides, what was pushed in between.
pub(crate) struct Executed<'r> {
    head: &'r [u8],
    items: Items<'r>,
    noted: Peekable<IntoIter<(usize, Noted)>>,
}

/// A part of the reply to `EXEC`.
#[derive(PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) enum Part<'r> {
    /// The reply to a request, and what was noted of that.
    Reply(Option<Noted>, &'r [u8]),
    /// A message that answers none.
    Push(&'r [u8]),
}

impl<'r> Executed<'r> {
    /// What stands in front of the replies.
    pub(crate) fn head(&self) -> &'r [u8] {
        self.head
    }
}

impl<'r> Iterator for Executed<'r> {
    type Item = Part<'r>;

    fn next(&mut self) -> Option<Self::Item> {
        let index = self.items.reading.index;
        let (is_reply, part) = self.items.next()?;
        if !is_reply {
            return Some(Part::Push(part));
        }
        let noted = self.noted.next_if(|(stands_at, _)| *stands_at == index).map(|(_, noted)| noted);
        Some(Part::Reply(noted, part))
    }
}

/// The parts of a reply to `EXEC`, and of each whether it is a reply to a request. RESP3 marks what is none; in RESP2
/// that is known by a name subscribed before it.
struct Items<'r> {
    rest: &'r [u8],
    reading: Reading,
}

/// What is known where a part of such a reply begins.
#[derive(Default)]
struct Reading {
    /// Replies that stand before it.
    index: usize,
    /// Which requests change subscriptions, in order.
    confirmed_at: Vec<usize>,
    /// Kinds of confirmations, and names.
    subscribed: HashSet<(Bytes, Bytes)>,
    /// The client is shown what the upstream does.
    monitors: bool,
}

impl<'r> Items<'r> {
    /// With what stands in front of them; `None` where nothing was executed.
    fn of(reply: &'r [u8], noted: &[(usize, Noted)], monitors: bool) -> Option<(&'r [u8], Self)> {
        if !reply.starts_with(b"*") || reply.starts_with(b"*-1") {
            return None;
        }
        let changes = noted.iter().filter(|(_, noted)| *noted == Noted::Change(Change::Subscribe));
        let confirmed_at = changes.map(|(index, _)| *index).collect();
        let (head, rest) = reply.split_at(reply.iter().position(|byte| *byte == b'\n')? + 1);
        Some((head, Self { rest, reading: Reading { confirmed_at, monitors, ..Reading::default() } }))
    }
}

impl Reading {
    /// Whether the part that is next is a reply to a request.
    fn is_reply(&mut self, part: &[u8]) -> bool {
        let is_pushed = part.starts_with(b">") && !confirms(part);
        let listens = !self.confirmed_at.is_empty() && (part.starts_with(b"*3") || part.starts_with(b"*4"));
        let is_shown = self.monitors && is_monitored(part);
        let is_reply = !(is_pushed || is_shown || listens && self.is_heard(part));
        self.index += usize::from(is_reply);
        is_reply
    }

    /// Whether an array, which is next, is heard of a subscription; takes note of subscriptions.
    fn is_heard(&mut self, array: &[u8]) -> bool {
        let Ok((Value::Array(items), _)) = Value::decode(&Bytes::copy_from_slice(array)) else { return false };
        let [Value::Bulk(kind), Value::Bulk(name), .., last] = &items[..] else { return false };
        if matches!(last, Value::Integer(_)) {
            if self.confirmed_at.binary_search(&self.index).is_ok() {
                self.subscribed.insert((kind.clone(), name.clone()));
            }
            return false;
        }
        let confirmation = match &kind[..] {
            b"message" => "subscribe",
            b"pmessage" => "psubscribe",
            b"smessage" => "ssubscribe",
            _ => return false,
        };
        self.subscribed.contains(&(confirmation.into(), name.clone()))
    }
}

impl<'r> Iterator for Items<'r> {
    type Item = (bool, &'r [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // The reply was framed as a whole: its parts are whole too.
        let (part, rest) = self.rest.split_at(ReplyScanner::new(usize::MAX).scan(self.rest).ok()?.consumed);
        self.rest = rest;
        Some((self.reading.is_reply(part), part))
    }
}

/// What takes the place of `request` in the upstream's queue, and what is noted; `None` where the request itself does
/// no harm there, because it is one that Redis refuses to queue.
pub(crate) fn for_request(
    local: Local,
    request: &Request<'_>,
    requester: &mut Requester<'_>,
) -> Option<(Vec<u8>, Noted)> {
    let valid = match local {
        Local::Hello => true,
        Local::Auth => request.len() >= 2,
        Local::ClientId | Local::ClientGetName | Local::ClientInfo => request.len() == 2,
        Local::ClientSetName | Local::ClientReply | Local::ClientNoEvict => request.len() == 3,
        Local::ClientSetInfo => request.len() == 4,
        Local::ClientList => request.len() >= 2,
        Local::ClientKill => request.len() >= 3,
        Local::ClientUnblock => (3..=4).contains(&request.len()),
        _ => false,
    };
    let mut placeholder = Vec::new();
    match local {
        // The connection has to change its protocol at that point of the transaction, if it will.
        Local::Hello => {
            if let Ok(hello) = session_commands::read_hello(request, requester) {
                match hello.protocol {
                    Some(protocol) => write_request(&mut placeholder, &["HELLO", &protocol.version().to_string()]),
                    None => write_request(&mut placeholder, &["HELLO"]),
                }
                return Some((placeholder, Noted::Hello(Box::new(hello))));
            }
            write_request(&mut placeholder, &["HELLO"]);
        }
        // A session that is blocked already is unblocked at that point of the transaction.
        Local::ClientUnblock if valid => match session_commands::answer(local, request, requester, &mut Vec::new()) {
            NextStep::Unblock(Unblock { request, node: None }) => placeholder = request,
            // The connection of the transaction may lead to another node, where the id is somebody else's.
            _ => write_request(&mut placeholder, &["CLIENT", "UNBLOCK", "0"]),
        },
        // They do no harm there, and take the rights that Redis asks for.
        Local::ClientId | Local::ClientGetName | Local::ClientInfo | Local::ClientList => {
            request.write(&mut placeholder);
        }
        Local::ClientSetName | Local::ClientSetInfo => request.write(&mut placeholder),
        Local::ClientReply => write_request(&mut placeholder, &["CLIENT", "REPLY", "ON"]),
        Local::ClientNoEvict => write_request(&mut placeholder, &["CLIENT", "NO-EVICT", "OFF"]),
        // Nobody has this id.
        Local::ClientKill => write_request(&mut placeholder, &["CLIENT", "KILL", "ID", "0"]),
        _ => write_request(&mut placeholder, &["PING"]),
    }
    // Of its length from the beginning: it may hold a password, and a copy would be left behind if it had to be moved.
    let length: usize = request.args().map(|arg| arg.len() + FRAME_BYTES).sum();
    let mut own = Zeroizing::new(Vec::with_capacity(length + FRAME_BYTES));
    request.write(&mut own);
    let noted = if local == Local::ClientUnblock { Noted::Unblock(own) } else { Noted::Answer(own) };
    valid.then_some((placeholder, noted))
}

/// Answers a request for which a placeholder was executed, or says what else it takes.
pub(crate) fn answer(request: &[u8], requester: &mut Requester<'_>, out: &mut Vec<u8>) -> NextStep {
    let mut decoder = RequestDecoder::new(RequestLimits::accepted());
    if let Ok(Decoded::Request { .. }) = decoder.decode(request) {
        let request = decoder.request(request);
        if let Class::Local(local) = classify(&request, Upstream::Redis) {
            return session_commands::answer(local, &request, requester, out);
        }
    }
    NextStep::Answered
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUSH: &[u8] = b">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$2\r\nhi\r\n";

    fn answer(request: &[u8]) -> Option<Noted> {
        Some(Noted::Answer(request.to_vec().into()))
    }

    #[test]
    fn what_was_noted_is_met_where_its_request_stood() {
        let mut queued = QueuedTransaction::default();
        for (noted, reply) in [
            (None, &b"+QUEUED\r\n"[..]),
            (answer(b"one"), b"+QUEUED\r\n"),
            (answer(b"refused"), b"-ERR wrong number\r\n"),
            (Some(Noted::Change(Change::Select(2))), b"+QUEUED\r\n"),
            (answer(b"two"), b"+QUEUED\r\n"),
        ] {
            queued.expect(noted);
            queued.saw(reply);
        }
        let reply = [b"*4\r\n$1\r\na\r\n", PUSH, b"+PONG\r\n*1\r\n:1\r\n", PUSH, b"+PONG\r\n"].concat();
        let executed = queued.executed(&reply).unwrap();
        assert_eq!(executed.head(), b"*4\r\n");
        let change = Some(Noted::Change(Change::Select(2)));
        let expected = [
            Part::Reply(None, b"$1\r\na\r\n"),
            Part::Push(PUSH),
            Part::Reply(answer(b"one"), b"+PONG\r\n"),
            Part::Reply(change, b"*1\r\n:1\r\n"),
            Part::Push(PUSH),
            Part::Reply(answer(b"two"), b"+PONG\r\n"),
        ];
        assert_eq!(executed.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_transaction_that_was_not_executed_answers_nothing() {
        let mut queued = QueuedTransaction::default();
        queued.expect(answer(b"one"));
        queued.saw(b"+QUEUED\r\n");
        assert!(queued.executed(b"*-1\r\n").is_none());
    }
}
