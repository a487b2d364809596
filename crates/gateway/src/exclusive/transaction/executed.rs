//! The reply to `EXEC`, taken apart: which of its parts answers which request. In RESP2 the messages of a subscription that
//! begins in the transaction are arrays like others: how many there are, its length says. Made by `queued`, read by `settle`.

use std::{collections::HashSet, iter::Peekable, vec::IntoIter};

use bytes::Bytes;
use resp::{ReplyScanner, Value, confirms, parse_integer};

use crate::exclusive::{change::Change, incoming::message::is_monitored, transaction::queued::Noted};

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
    /// `None` if nothing was noted, or nothing was executed.
    pub(super) fn of(reply: &'r [u8], noted: Vec<(usize, Noted)>, monitors: bool) -> Option<Self> {
        let (head, items) = Items::of(reply, &noted, monitors).filter(|_| !noted.is_empty())?;
        Some(Self { head, items, noted: noted.into_iter().peekable() })
    }

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
pub(super) struct Items<'r> {
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
    /// Parts that are no replies and do not show it.
    heard: usize,
    /// The client is shown what the upstream does.
    monitors: bool,
}

/// Which requests change subscriptions.
pub(super) fn confirmed_at(noted: &[(usize, Noted)]) -> impl Iterator<Item = usize> {
    let changes = noted.iter().filter(|(_, noted)| *noted == Noted::Change(Change::Subscribe));
    changes.map(|(index, _)| *index)
}

impl<'r> Items<'r> {
    /// How many replies the beginning of a reply to `EXEC` has in it for a client that is shown what the upstream does.
    pub(super) fn replies(part: &'r [u8]) -> Option<usize> {
        let (_, mut items) = Self::of(part, &[], true)?;
        items.by_ref().for_each(drop);
        Some(items.reading.index)
    }

    /// With what stands in front of them; `None` where nothing was executed.
    fn of(reply: &'r [u8], noted: &[(usize, Noted)], monitors: bool) -> Option<(&'r [u8], Self)> {
        let line = reply.strip_prefix(b"*")?.split(|byte| *byte == b'\r').next()?;
        let due = usize::try_from(parse_integer(line)?).ok()?;
        let (head, rest) = reply.split_at(reply.iter().position(|byte| *byte == b'\n')? + 1);
        let confirmed_at: Vec<_> = confirmed_at(noted).collect();
        let mut reading = Reading { monitors, ..Reading::default() };
        if !confirmed_at.is_empty() {
            // As if all that may be a reply were one: what is too many are messages.
            let mut items = Self { rest, reading };
            items.by_ref().for_each(drop);
            let heard = items.reading.index.saturating_sub(due);
            reading = Reading { confirmed_at, heard, monitors, ..Reading::default() };
        }
        Some((head, Self { rest, reading }))
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
        let is_heard = self.heard > 0 && self.subscribed.contains(&(confirmation.into(), name.clone()));
        self.heard -= usize::from(is_heard);
        is_heard
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exclusive::transaction::queued::QueuedTransaction;

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
