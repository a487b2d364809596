//! What shared pub/sub keeps for subscribers that have not read it yet, in bytes, all channels together. When
//! it is too much the oldest messages go, and with them the subscribers that still had to read them. Owned by
//! `directory`; sessions read the messages without it.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use pool::Budget;

use crate::pubsub::message::{Message, Name};

/// Entries of messages that all have read, beyond as many as are kept, before these are taken out.
const SPENT_MAX: usize = 1024;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Backlog {
    budget: Arc<Budget>,
    bytes_max: usize,
    /// In the order in which they came, those that all have read among them.
    messages: VecDeque<Weak<Message>>,
}

impl Backlog {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { budget: Arc::default(), bytes_max, messages: VecDeque::new() }
    }

    /// A message to be kept until all have read it, at the cost of the oldest ones where there is no room.
    pub(crate) fn keep(&mut self, number: u64, name: &Name, bytes: &[u8]) -> Arc<Message> {
        let cost = bytes.len() + size_of::<Message>();
        while self.budget.used().saturating_add(cost) > self.bytes_max
            && let Some(oldest) = self.messages.pop_front()
        {
            if let Some(oldest) = oldest.upgrade() {
                oldest.empty();
            }
        }
        if self.messages.len() > 2 * self.budget.shares() + SPENT_MAX {
            self.messages.retain(|message| message.strong_count() > 0);
        }
        let message = Arc::new(Message::new(number, name.clone(), bytes, self.budget.charge(cost)));
        self.messages.push_back(Arc::downgrade(&message));
        message
    }
}

#[cfg(test)]
mod tests {
    use crate::pubsub::message::Kind;

    use super::*;

    fn name() -> Name {
        Name { kind: Kind::Channel, bytes: b"c"[..].into() }
    }

    #[test]
    fn the_oldest_go_where_there_is_no_room_and_what_all_have_read_is_forgotten() {
        let mut backlog = Backlog::new(10_000);
        let kept: Vec<_> = (1..=30).map(|number| backlog.keep(number, &name(), &[b'>'; 1000])).collect();
        assert!(backlog.budget.used() <= 10_000);
        let readable: Vec<u64> =
            (1..=30).zip(&kept).filter(|(_, message)| message.is_there()).map(|(number, _)| number).collect();
        assert!(readable.is_sorted() && readable.len() < 30, "{readable:?}");
        assert_eq!(readable.last(), Some(&30));
        assert!(readable.len() >= 8, "{readable:?}");
        drop(kept);
        assert_eq!(backlog.budget.used(), 0);
        (31..10_000).for_each(|number| drop(backlog.keep(number, &name(), b">")));
        assert!(backlog.messages.len() <= SPENT_MAX + 1, "{}", backlog.messages.len());
    }

    #[test]
    fn a_message_larger_than_the_bound_is_kept_alone() {
        let mut backlog = Backlog::new(10);
        let first = backlog.keep(1, &name(), &[b'>'; 1000]);
        assert!(first.is_there());
        let second = backlog.keep(2, &name(), &[b'>'; 1000]);
        assert!(!first.is_there() && second.is_there());
    }
}
