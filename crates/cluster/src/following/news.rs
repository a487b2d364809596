//! What rounds tell the keeper: that a node has said who has a slot, or that something speaks against what is known.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use topology::Address;

/// Words of nodes about single slots that wait to be heard. Further ones are not kept: a view of the cluster has them
/// all.
const WORDS_MAX: usize = 256;

/// A node has said that another one has a slot.
#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) slot: u16,
    pub(crate) to: Address,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct News {
    words: Mutex<Vec<Word>>,
    spoken: Notify,
    doubted: Notify,
    unknown: Notify,
}

impl News {
    /// Something speaks against what is known.
    pub(crate) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// A client has sent a command that nobody has told of.
    pub(crate) fn misses_command(&self) {
        self.unknown.notify_one();
    }

    /// A node has said something of a slot.
    pub(crate) fn tell(&self, word: Word) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() < WORDS_MAX {
            words.push(word);
            self.spoken.notify_one();
        } else {
            // What finds no room is asked for.
            self.doubt();
        }
    }

    /// Waits for a doubt.
    pub(crate) async fn doubted(&self) {
        self.doubted.notified().await;
    }

    /// Waits for a command that nobody has told of.
    pub(crate) async fn command_missed(&self) {
        self.unknown.notified().await;
    }

    /// Waits for words; what was said since the last time.
    pub(crate) async fn spoken(&self) -> Vec<Word> {
        self.spoken.notified().await;
        std::mem::take(&mut self.words.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
