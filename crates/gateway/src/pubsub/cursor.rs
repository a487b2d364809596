//! Where a session stands in the messages of one feed: receives them one ahead of the session, and knows when some
//! are missed. Owned by `subscriber`.

use std::sync::{Arc, atomic::Ordering};

use resp::Protocol;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};

use crate::pubsub::{backlog::Gone, message::Message};

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
pub(crate) struct Cursor {
    receiver: Receiver<Arc<Message>>,
    /// Received, and waiting for its turn among the messages of other cursors.
    head: Option<Arc<Message>>,
    /// Number of the last message that has been written, or of the last before it was subscribed.
    last: u64,
    gone: Gone,
}

impl Cursor {
    /// At the message of number `last`, which is not read any more.
    pub(crate) fn new(receiver: Receiver<Arc<Message>>, last: u64, gone: Gone) -> Self {
        Self { receiver, head: None, last, gone }
    }

    /// How many messages there are that have not been received.
    pub(crate) fn behind(&self) -> usize {
        self.receiver.len()
    }

    /// Writes the next message, which there has to be.
    pub(crate) fn write_next(&mut self, protocol: Protocol, out: &mut Vec<u8>) -> Result<(), Missed> {
        if let Some(message) = self.head.take() {
            if !message.write(out, protocol) {
                return Err(Missed::Gone);
            }
            self.last = message.number();
        }
        Ok(())
    }

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
        Ok(self.head.as_ref().map(|message| message.number()))
    }
}
