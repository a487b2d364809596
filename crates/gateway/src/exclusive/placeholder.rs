//! Commands to which the gateway replies itself, inside a transaction: the upstream queues a placeholder that does
//! nothing, and when it has executed the transaction, the gateway's own reply takes its place.
//! So they run where they stand, or not at all, as in Redis.

use resp::{Decoded, ReplyScanner, Request, RequestDecoder, RequestLimits, write_request};

use crate::{
    command::{
        class::{Class, Local},
        classify::classify,
    },
    exclusive::change::Change,
    local_reply::{
        requester::{Hello, NextStep, Requester},
        session_commands,
    },
};

/// What the upstream has queued in a transaction, as far as its execution concerns the gateway.
#[derive(Default)]
pub(crate) struct QueuedTransaction {
    count: usize,
    /// What the request sent last will be, once it is queued.
    pending: Option<Noted>,
    noted: Vec<(usize, Noted)>,
}

/// What the gateway has to do when a queued request has been executed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Answer this request; a placeholder was executed in its place.
    Answer(Vec<u8>),
    /// Take note of a change of state, unless the reply is an error.
    Change(Change),
}

impl QueuedTransaction {
    /// How many requests.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// A request is on its way.
    pub(crate) fn expect(&mut self, noted: Option<Noted>) {
        self.pending = noted;
    }

    /// A reply has come within the transaction.
    pub(crate) fn saw(&mut self, reply: &[u8]) {
        let pending = self.pending.take();
        if reply.starts_with(b"+QUEUED") {
            self.noted.extend(pending.map(|noted| (self.count, noted)));
            self.count += 1;
        }
    }

    /// Goes through the reply to `EXEC`, request by request: `each` gets what was noted of one, with its reply, and
    /// puts the reply that the client is to have into the last argument. All of it, with these, is returned.
    pub(crate) fn settle(self, reply: &[u8], mut each: impl FnMut(Noted, &[u8], &mut Vec<u8>)) -> Option<Vec<u8>> {
        if self.noted.is_empty() || !reply.starts_with(b"*") || reply.starts_with(b"*-1") {
            return None;
        }
        let mut at = reply.iter().position(|byte| *byte == b'\n')? + 1;
        let mut out = reply[..at].to_vec();
        let mut noted = self.noted.into_iter().peekable();
        for index in 0..self.count {
            // The reply was framed as a whole: its items are whole too.
            let item = ReplyScanner::new(usize::MAX).scan(&reply[at..]).ok()?.consumed;
            let item = &reply[at..at + item];
            match noted.next_if(|(stands_at, _)| *stands_at == index) {
                Some((_, noted)) => each(noted, item, &mut out),
                None => out.extend_from_slice(item),
            }
            at += item.len();
        }
        Some(out)
    }
}

/// What takes the place of `request` in the upstream's queue; `None` where the request itself does no harm there,
/// because it is one that Redis refuses to queue.
pub(crate) fn for_request(local: Local, request: &Request<'_>, requester: &mut Requester<'_>) -> Option<Vec<u8>> {
    let valid = match local {
        Local::Hello => true,
        Local::Auth => request.len() >= 2,
        Local::ClientId | Local::ClientGetName | Local::ClientInfo => request.len() == 2,
        Local::ClientSetName | Local::ClientReply | Local::ClientNoEvict => request.len() == 3,
        Local::ClientList => request.len() >= 2,
        Local::ClientKill => request.len() >= 3,
        Local::ClientUnblock => (3..=4).contains(&request.len()),
        _ => false,
    };
    let mut placeholder = Vec::new();
    match local {
        // The connection has to change its protocol at that point of the transaction, if it will.
        Local::Hello => match session_commands::answer(local, request, requester, &mut Vec::new()) {
            NextStep::Hello(Hello { protocol: Some(protocol), .. }) => {
                write_request(&mut placeholder, &["HELLO", &protocol.version().to_string()]);
            }
            _ => write_request(&mut placeholder, &["PING"]),
        },
        _ => write_request(&mut placeholder, &["PING"]),
    }
    valid.then_some(placeholder)
}

/// Answers a request for which a placeholder was executed. What needs more than the session's state, such as
/// `HELLO`, is left to `more`.
pub(crate) fn answer(
    request: &[u8],
    requester: &mut Requester<'_>,
    out: &mut Vec<u8>,
    more: impl FnOnce(NextStep, &mut Vec<u8>),
) {
    let mut decoder = RequestDecoder::new(RequestLimits::default());
    if let Ok(Decoded::Request { .. }) = decoder.decode(request) {
        let request = decoder.request(request);
        if let Class::Local(local) = classify(&request, false) {
            let after = session_commands::answer(local, &request, requester, out);
            more(after, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(request: &[u8]) -> Option<Noted> {
        Some(Noted::Answer(request.to_vec()))
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
        let reply = b"*4\r\n$1\r\na\r\n+PONG\r\n*1\r\n:1\r\n+PONG\r\n";
        let settled = queued.settle(reply, |noted, item, out| match noted {
            Noted::Answer(request) => out.extend([b"+", &request[..], b"\r\n"].concat()),
            Noted::Change(change) => {
                assert_eq!(change, Change::Select(2));
                out.extend_from_slice(item);
            }
        });
        assert_eq!(settled.unwrap(), b"*4\r\n$1\r\na\r\n+one\r\n*1\r\n:1\r\n+two\r\n");
    }

    #[test]
    fn a_transaction_that_was_not_executed_answers_nothing() {
        let mut queued = QueuedTransaction::default();
        queued.expect(answer(b"one"));
        queued.saw(b"+QUEUED\r\n");
        assert_eq!(queued.settle(b"*-1\r\n", |_, _, _| unreachable!("not executed")), None);
    }
}
