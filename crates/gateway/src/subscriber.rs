//! One session's part in shared pub/sub: what it is subscribed to, and its messages in the order in
//! which the upstream sent them, whichever feed they come by. Leaves its feeds when it is dropped.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

use resp::{Protocol, write_bulk, write_integer, write_null, write_push};
use tokio::sync::broadcast::error::TryRecvError;

use crate::{
    feeds::{Feeds, Receiver, Standing},
    message::{Kind, Message, Name},
    registry::Entry,
};

/// Why a subscriber cannot go on: it has missed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It was slower than its bound allows; how many messages it did not get.
    Overrun(u64),
    /// The upstream took back a subscription.
    Ended,
}

#[derive(Debug)]
struct Tap {
    receiver: Receiver,
    /// Received, and waiting for its turn among the messages of other taps.
    head: Option<Arc<Message>>,
}

impl Tap {
    /// The number of its next message, if there is one.
    fn next(&mut self) -> Result<Option<u64>, Missed> {
        if self.head.is_none() {
            self.head = match self.receiver.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Lagged(missed)) => return Err(Missed::Overrun(missed)),
                Err(TryRecvError::Closed) => return Err(Missed::Ended),
            };
        }
        Ok(self.head.as_ref().map(|message| message.number))
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Subscriber {
    feeds: Arc<Feeds>,
    entry: Arc<Entry>,
    /// What the client has a confirmation of.
    taps: BTreeMap<Name, Tap>,
    /// What it has asked for and is not confirmed yet.
    joining: BTreeMap<Name, Tap>,
    /// Of each kind in `taps`.
    counts: [usize; 3],
    /// Messages up to this number have been looked at.
    seen: u64,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.give_up();
        self.taps.keys().for_each(|name| self.feeds.leave(name, self.entry.id));
    }
}

impl Subscriber {
    pub(crate) fn new(feeds: Arc<Feeds>, entry: Arc<Entry>) -> Self {
        Self { feeds, entry, taps: BTreeMap::new(), joining: BTreeMap::new(), counts: [0; 3], seen: 0 }
    }

    /// Counts as `CLIENT LIST` says them: channels, patterns, sharded channels.
    pub(crate) fn counts(&self) -> [usize; 3] {
        self.counts
    }

    /// Whether there is any subscription.
    pub(crate) fn is_subscribed(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Joins the feeds of `names`; false if there are as many feeds as there may be, and then none is joined.
    pub(crate) fn join(&mut self, names: &[Name]) -> bool {
        for name in names {
            if self.taps.contains_key(name) || self.joining.contains_key(name) {
                continue;
            }
            let Some(receiver) = self.feeds.join(name, &self.entry) else {
                self.give_up();
                return false;
            };
            self.joining.insert(name.clone(), Tap { receiver, head: None });
        }
        true
    }

    /// Whether what was joined can be confirmed to the client.
    pub(crate) fn standing(&self) -> Standing {
        if self.joining.is_empty() { Standing::Confirmed } else { self.feeds.standing(self.joining.keys()) }
    }

    /// Takes back what was joined and is not confirmed.
    pub(crate) fn give_up(&mut self) {
        for name in std::mem::take(&mut self.joining).into_keys() {
            self.feeds.leave(&name, self.entry.id);
        }
    }

    /// Confirms `names`, which have been joined, to the client, one by one as Redis does.
    pub(crate) fn confirm(&mut self, names: &[Name], protocol: Protocol, out: &mut Vec<u8>) {
        for name in names {
            if let Some(tap) = self.joining.remove(name) {
                self.taps.insert(name.clone(), tap);
                self.counts[name.kind as usize] += 1;
                // Its feed may have had messages while others were looked at.
                self.seen = 0;
            }
            confirmation(name.kind.subscribe(), Some(&name.bytes), self.total(name.kind), protocol, out);
        }
    }

    /// Ends subscriptions, those of `names` or all of a kind, and confirms that.
    pub(crate) fn unsubscribe(&mut self, kind: Kind, names: Vec<Name>, protocol: Protocol, out: &mut Vec<u8>) {
        let names =
            if names.is_empty() { self.taps.keys().filter(|name| name.kind == kind).cloned().collect() } else { names };
        for name in &names {
            if self.taps.remove(name).is_some() {
                self.counts[kind as usize] -= 1;
                self.feeds.leave(name, self.entry.id);
            }
            confirmation(kind.unsubscribe(), Some(&name.bytes), self.total(kind), protocol, out);
        }
        if names.is_empty() {
            confirmation(kind.unsubscribe(), None, self.total(kind), protocol, out);
        }
    }

    /// The count that a confirmation tells: channels and patterns count together, as in Redis.
    fn total(&self, kind: Kind) -> usize {
        let [channels, patterns, shards] = self.counts;
        match kind {
            Kind::Channel | Kind::Pattern => channels + patterns,
            Kind::Shard => shards,
        }
    }

    /// Whether messages have been missed, as `deliver` will say. Takes none.
    pub(crate) fn is_overrun(&self) -> bool {
        // As broadcast rounds it.
        let bound = self.feeds.settings.backlog_messages.next_power_of_two();
        self.taps.values().any(|tap| tap.receiver.len() > bound)
    }

    /// Appends the messages that are there to `out`, until that has `bytes_max`; it is to be called again then.
    pub(crate) fn deliver(&mut self, protocol: Protocol, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Missed> {
        // All up to this one are with their feeds; of later ones, some may not be, and they could overtake.
        let published = self.feeds.published();
        if published == self.seen {
            return Ok(());
        }
        let mut taps: Vec<&mut Tap> = self.taps.values_mut().collect();
        let mut next = BinaryHeap::new();
        for (index, tap) in taps.iter_mut().enumerate() {
            next.extend(tap.next()?.map(|number| Reverse((number, index))));
        }
        while let Some(Reverse((number, index))) = next.pop() {
            if number > published || out.len() >= bytes_max {
                break;
            }
            if let Some(message) = taps[index].head.take() {
                message.write(out, protocol);
            }
            next.extend(taps[index].next()?.map(|number| Reverse((number, index))));
        }
        if out.len() < bytes_max {
            self.seen = published;
        }
        Ok(())
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
