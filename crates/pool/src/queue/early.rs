//! Replies to a job that its caller gets before the last of them is there. What the caller does not take in time stays
//! with the job, and comes with its answer.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

use atomic_waker::AtomicWaker;

/// Bytes of replies that wait for a caller to take them early.
const BYTES_MAX: usize = 64 * 1024;

/// See the module's documentation. There from when its caller first takes replies early, so that the ticket of another
/// takes one line of the cache.
#[derive(Debug, Default)]
pub(crate) struct Early(OnceLock<Box<Place>>);

/// Where the caller and the worker meet.
#[derive(Debug, Default)]
struct Place {
    /// The caller takes replies of this job early.
    is_wanted: AtomicBool,
    held: Mutex<Held>,
    waker: AtomicWaker,
}

/// Replies that have been handed on.
#[derive(Debug, Default)]
struct Held {
    /// Those that the caller has not taken yet, back to back.
    replies: Vec<u8>,
    /// How many have been handed on, taken or not.
    count: u32,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Early {
    /// Where replies are taken early.
    fn wanted(&self) -> Option<&Place> {
        self.0.get().map(Box::as_ref).filter(|place| place.is_wanted.load(Ordering::Acquire))
    }

    /// Has replies be taken early.
    fn want(&self) -> &Place {
        let place = self.0.get_or_init(Box::default);
        place.is_wanted.store(true, Ordering::Release);
        place
    }

    /// For a further job. Only the caller, and only when the last job was answered.
    pub(super) fn reset(&self) {
        if let Some(place) = self.wanted() {
            place.is_wanted.store(false, Ordering::Relaxed);
            *place.lock() = Held::default();
        }
    }

    /// Puts replies in front of those that will come: the first `count`, without those that have been taken.
    pub(crate) fn begin_with(&self, replies: Vec<u8>, count: u32) {
        *self.want().lock() = Held { replies, count };
    }

    /// Hands on the replies of which the first `whole` bytes consist, if the caller takes replies early and has taken
    /// most of the earlier ones; `count` are those handed on then.
    pub(super) fn hand_on(&self, replies: &mut Vec<u8>, whole: usize, count: u32) -> bool {
        let Some(place) = self.wanted() else { return false };
        let mut held = place.lock();
        if held.replies.len() + whole > BYTES_MAX {
            return false;
        }
        if held.replies.is_empty() && whole == replies.len() {
            std::mem::swap(&mut held.replies, replies);
        } else {
            held.replies.extend_from_slice(&replies[..whole]);
            replies.drain(..whole);
        }
        held.count = count;
        drop(held);
        place.waker.wake();
        true
    }

    /// Appends the replies that have come to `into`; the task is woken when there are more. How many bytes they are.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> usize {
        let place = self.want();
        place.waker.register(cx.waker());
        let mut held = place.lock();
        let bytes = held.replies.len();
        into.append(&mut held.replies);
        bytes
    }

    /// What has been handed on and not been taken, and how many replies have been handed on in all.
    pub(crate) fn rest(&self) -> (Vec<u8>, u32) {
        let Some(place) = self.wanted() else { return (Vec::new(), 0) };
        let mut held = place.lock();
        (std::mem::take(&mut held.replies), held.count)
    }
}
