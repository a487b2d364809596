//! One subscription of a session in shared pub/sub: receives the messages of one feed, one ahead of the session,
//! and knows when some of them are missed. Owned by `subscriber`.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::broadcast::error::TryRecvError;

use crate::pubsub::{backlog::Gone, directory::Receiver, message::Message};

/// Why a subscriber cannot go on: it has missed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missed {
    /// It was slower than its bound allows; how many messages it did not get.
    Overrun(u64),
    /// They had to go, because there was no room to keep them until it would take them.
    Gone,
    /// The upstream took back a subscription.
    Ended,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Tap {
    pub(crate) receiver: Receiver,
    /// Received, and waiting for its turn among the messages of other taps.
    pub(crate) head: Option<Arc<Message>>,
    /// Number of the last message that has been written, or of the last before it was subscribed.
    pub(crate) last: u64,
    pub(crate) gone: Gone,
}

impl Tap {
    /// A message that it still had to read is gone.
    pub(crate) fn is_robbed(&self) -> bool {
        self.gone.load(Ordering::Acquire) > self.last
    }

    /// The number of its next message, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<u64>, Missed> {
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
