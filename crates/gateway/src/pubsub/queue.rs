//! The messages that one session has yet to write, in the order in which they came. `directory` adds what the session is
//! subscribed to, `subscriber` takes it. Holds no message for itself: those of all sessions are bounded by `backlog`.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    observe::{registry::Entry, sharing::party::Party},
    pubsub::message::{Message, Name},
};

/// Room for messages that is kept while there are none.
const KEEP: usize = 64;

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
pub(crate) struct Queue {
    entry: Arc<Entry>,
    party: Party,
    contents: Mutex<Contents>,
}

#[derive(Debug, Default)]
struct Contents {
    messages: VecDeque<Arc<Message>>,
    /// Messages for which there was no place.
    missed: u64,
    ended: bool,
}

impl Queue {
    pub(crate) fn new(entry: Arc<Entry>) -> Self {
        Self { party: Party::of(&entry), entry, contents: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As `CLIENT ID` says it to the session.
    pub(super) fn id(&self) -> u64 {
        self.entry.id()
    }

    /// With whom the session shares what there is of subscriptions.
    pub(super) fn party(&self) -> &Party {
        &self.party
    }

    /// Has the session look at what has come.
    pub(super) fn wake(&self) {
        self.entry.wake();
    }

    /// Adds a message, unless the session has `max` to write already.
    pub(super) fn push(&self, message: &Arc<Message>, max: usize) {
        let mut contents = self.lock();
        if contents.messages.len() < max && contents.missed == 0 {
            contents.messages.push_back(Arc::clone(message));
        } else {
            contents.missed += 1;
        }
    }

    /// The upstream has taken back a subscription of the session.
    pub(super) fn end(&self) {
        self.lock().ended = true;
    }

    /// Whether a client with these subscriptions has missed messages. The oldest ones are those that had to go.
    pub(super) fn is_overrun(&self, names: &BTreeMap<Name, u64>) -> bool {
        let contents = self.lock();
        let mut gone = contents.messages.iter().take_while(|message| !message.is_there());
        contents.missed > 0 || gone.any(|message| message.is_for(names))
    }

    /// The next message, if there is one.
    pub(super) fn pop(&self) -> Result<Option<Arc<Message>>, Missed> {
        let mut contents = self.lock();
        match (contents.missed, contents.messages.pop_front()) {
            (missed @ 1.., _) => Err(Missed::Overrun(missed)),
            (_, Some(message)) => Ok(Some(message)),
            (_, None) if contents.ended => Err(Missed::Ended),
            (_, None) => {
                contents.messages.shrink_to(KEEP);
                Ok(None)
            }
        }
    }
}
