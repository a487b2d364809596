//! Replies to a job that its caller gets before the last of them is there: whole ones while others are due, and large
//! ones in pieces. What the caller does not take in time stays with the job, and comes with its answer.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Waker},
};

use atomic_waker::AtomicWaker;

use crate::time::timestamp::Moment;

/// Bytes of replies that wait for a caller to take them early, unless one piece has more.
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
pub(crate) struct Held {
    /// Those that the caller has not taken yet, back to back.
    pub(crate) replies: Vec<u8>,
    /// How many have been handed on wholly, taken or not.
    pub(crate) count: u32,
    /// Where one comes in pieces. Of few jobs.
    pieces: Option<Box<Pieces>>,
}

/// A reply that comes in pieces.
#[derive(Debug)]
struct Pieces {
    /// Bytes of it that have been handed on, if it is not whole yet.
    torn: usize,
    /// When the last of it came.
    at: Moment,
    /// Of the worker, while it waits for the caller.
    taken: Option<Waker>,
}

impl Held {
    /// Bytes that have been handed on, taken or not, of a reply that is not whole.
    pub(crate) fn torn(&self) -> usize {
        self.pieces.as_ref().map_or(0, |pieces| pieces.torn)
    }

    fn pieces(&mut self) -> &mut Pieces {
        self.pieces.get_or_insert_with(|| Box::new(Pieces { torn: 0, at: Moment::now(), taken: None }))
    }
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
        *self.want().lock() = Held { replies, count, pieces: None };
    }

    /// The caller is told to take replies early.
    pub(super) fn is_to_be_taken(&self) {
        self.want();
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted().is_some()
    }

    /// Hands on the replies of which the first `whole` bytes consist, if the caller takes replies early and has taken
    /// most of the earlier ones; `count` are those handed on then.
    pub(super) fn hand_on(&self, replies: &mut Vec<u8>, whole: usize, count: u32) -> bool {
        let Some(place) = self.wanted() else { return false };
        let mut held = place.lock();
        if held.replies.len() + whole > BYTES_MAX {
            return false;
        }
        held.put(replies, whole, count);
        if let Some(pieces) = &mut held.pieces {
            pieces.torn = 0;
        }
        drop(held);
        place.waker.wake();
        true
    }

    /// Hands on all of `replies`, of which the last is not whole and has been handed on up to `torn` bytes then. The task
    /// is woken when the caller has taken what it was given before, if it has not.
    pub(super) fn hand_on_piece(&self, cx: &Context<'_>, replies: &mut Vec<u8>, torn: usize, count: u32) -> bool {
        let place = self.0.get_or_init(Box::default);
        let mut held = place.lock();
        let bytes = replies.len();
        let takes = place.is_wanted.load(Ordering::Acquire)
            && (held.replies.is_empty() || held.replies.len() + bytes <= BYTES_MAX);
        let pieces = held.pieces();
        if !takes {
            pieces.taken = Some(cx.waker().clone());
            return false;
        }
        (pieces.torn, pieces.at) = (torn, Moment::now());
        held.put(replies, bytes, count);
        drop(held);
        place.waker.wake();
        true
    }

    /// Puts what the caller has not taken of a reply in pieces in front of `replies` again. How many bytes that is.
    pub(super) fn take_back(&self, replies: &mut Vec<u8>) -> usize {
        let Some(place) = self.wanted() else { return 0 };
        let held = &mut *place.lock();
        let Some(pieces) = &mut held.pieces else { return 0 };
        let bytes = pieces.torn.min(held.replies.len());
        pieces.torn -= bytes;
        let mut back = held.replies.split_off(held.replies.len() - bytes);
        back.append(replies);
        *replies = back;
        bytes
    }

    /// More has come of a reply in pieces, and is not handed on now.
    pub(super) fn still_comes(&self) {
        let mut held = self.0.get().map(|place| place.lock());
        if let Some(pieces) = held.as_mut().and_then(|held| held.pieces.as_mut()) {
            pieces.at = Moment::now();
        }
    }

    /// When more last came of a reply that goes in pieces; now, if the caller has not taken it yet.
    pub(crate) fn last_piece(&self) -> Option<Moment> {
        let held = self.0.get()?.lock();
        let pieces = held.pieces.as_ref()?;
        Some(if held.replies.is_empty() { pieces.at } else { Moment::now() })
    }

    /// Appends the replies that have come to `into`; the task is woken when there are more. How many bytes they are.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> usize {
        let place = self.want();
        place.waker.register(cx.waker());
        let mut held = place.lock();
        let bytes = held.replies.len();
        if into.is_empty() {
            std::mem::swap(into, &mut held.replies);
        } else {
            into.append(&mut held.replies);
        }
        let worker = held.pieces.as_mut().and_then(|pieces| pieces.taken.take());
        drop(held);
        if let Some(worker) = worker {
            worker.wake();
        }
        bytes
    }

    /// What has been handed on and not been taken, if replies are taken early.
    pub(crate) fn rest(&self) -> Option<Held> {
        let mut held = self.wanted()?.lock();
        let count = held.count;
        Some(Held { count, ..std::mem::take(&mut *held) })
    }
}

impl Held {
    /// Adds the first `bytes` of `replies`; so many are whole then.
    fn put(&mut self, replies: &mut Vec<u8>, bytes: usize, count: u32) {
        if self.replies.is_empty() && bytes == replies.len() {
            std::mem::swap(&mut self.replies, replies);
        } else {
            self.replies.extend_from_slice(&replies[..bytes]);
            replies.drain(..bytes);
        }
        self.count = count;
    }
}
