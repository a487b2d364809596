//! What rounds tell the keeper: that a node has said who has a slot, or that something speaks against what is known.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};
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

/// Nodes that are suspected at a time. Of further ones others are asked.
const SUSPECTS_MAX: usize = 16;

/// Nodes that may be primaries no more, by what they have said, until they are looked at.
#[derive(Debug, Default)]
struct Suspects {
    nodes: BTreeSet<Address>,
    /// How many looks have begun.
    looks: u64,
}

/// A look at the cluster, until it is dropped.
#[derive(Debug)]
pub(crate) struct Look {
    news: Arc<News>,
    number: u64,
    /// Nodes that are to be asked themselves.
    pub(crate) at: BTreeSet<Address>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct News {
    suspects: Mutex<Suspects>,
    /// The last look that is over.
    looked: watch::Sender<u64>,
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

    /// What this node has said speaks against its being a primary. Ends when a look is over that has begun since then.
    pub(crate) async fn looked_at(&self, node: &Address) {
        let mut looked = self.looked.subscribe();
        let next = {
            let mut suspects = self.suspects();
            if suspects.nodes.len() < SUSPECTS_MAX {
                suspects.nodes.insert(node.clone());
            }
            suspects.looks + 1
        };
        self.doubt();
        // It does not go as long as anybody waits for it.
        let _ = looked.wait_for(|last| *last >= next).await;
    }

    /// A look begins.
    pub(crate) fn look(news: &Arc<Self>) -> Look {
        let mut suspects = news.suspects();
        suspects.looks += 1;
        Look { news: Arc::clone(news), number: suspects.looks, at: mem::take(&mut suspects.nodes) }
    }

    fn suspects(&self) -> MutexGuard<'_, Suspects> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
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
        mem::take(&mut self.words.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        self.news.looked.send_replace(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        pin::{Pin, pin},
        task::Poll,
    };

    use super::*;

    #[tokio::test]
    async fn who_suspects_a_node_waits_for_a_look_that_begins_later_and_is_told_of_it() {
        let news = Arc::<News>::default();
        let under_way = News::look(&news);
        assert!(under_way.at.is_empty());
        let node = Address::new("h", 1);
        let mut looked = pin!(news.looked_at(&node));
        assert!(is_pending(looked.as_mut()).await);
        drop(under_way);
        assert!(is_pending(looked.as_mut()).await, "it began before");
        let look = News::look(&news);
        assert!(look.at.contains(&node) && is_pending(looked.as_mut()).await);
        drop(look);
        looked.await;
        assert!(News::look(&news).at.is_empty());
    }

    async fn is_pending(mut future: Pin<&mut impl Future<Output = ()>>) -> bool {
        poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }
}
