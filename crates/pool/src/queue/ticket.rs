//! Who has a job: the queue, a worker, or nobody any more. The one place where a caller that gives
//! up and a worker that begins meet, so that "not sent" is never said of what is being sent.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use crate::{queue::early::Early, time::timestamp::Moment};

const QUEUED: u64 = 0;
const EXPIRED: u64 = 1;
/// Taken states hold the moment, plus this.
const TAKEN: u64 = 2;

/// A caller's ticket, used again for each of its jobs; replaced when the caller abandons one.
#[derive(Debug)]
pub(crate) struct Ticket {
    state: AtomicU64,
    /// The lane of the connection that has taken the job, or 0.
    lane: AtomicU64,
    /// When the caller's call began, for those who look on; 0 if it has none.
    since: AtomicU64,
    /// For how many microseconds after that a worker that has sent the job may give it up.
    moves_us: AtomicU32,
    /// Another job of the same caller may have been sent after it, into the same connection.
    followed: AtomicBool,
    /// A worker has given the job up that had sent it, so that it is sent again.
    moved: AtomicBool,
    /// Replies that come before the answer.
    pub(crate) early: Early,
}

impl Ticket {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU64::new(QUEUED),
            lane: AtomicU64::new(0),
            since: AtomicU64::new(0),
            moves_us: AtomicU32::new(0),
            followed: AtomicBool::new(false),
            moved: AtomicBool::new(false),
            early: Early::default(),
        }
    }

    /// Another one for the same call.
    pub(crate) fn another(&self) -> Self {
        Self { since: AtomicU64::new(self.since.load(Ordering::Relaxed)), ..Self::new() }
    }

    pub(crate) fn began(&self, at: Moment) {
        self.since.store(at.micros().max(1), Ordering::Relaxed);
    }

    pub(crate) fn ended(&self) {
        self.since.store(0, Ordering::Relaxed);
    }

    /// When the call at hand began, if there is one.
    pub(crate) fn began_at(&self) -> Option<Moment> {
        Some(self.since.load(Ordering::Relaxed)).filter(|since| *since > 0).map(Moment::from_micros)
    }

    /// Makes the ticket good for a further job. Only the caller, and only when the last job was answered.
    pub(crate) fn reset(&self) {
        self.early.reset();
        self.moves_us.store(0, Ordering::Relaxed);
        self.followed.store(false, Ordering::Relaxed);
        self.moved.store(false, Ordering::Relaxed);
        self.state.store(QUEUED, Ordering::Release);
    }

    /// A worker takes the job for the connection with this lane, or with none; false if the caller gave it up before.
    pub(crate) fn take(&self, now: Moment, lane: u64) -> bool {
        self.lane.store(lane, Ordering::Relaxed);
        self.state.compare_exchange(QUEUED, TAKEN + now.micros(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The caller gives the job up; false if a worker has taken it.
    pub(crate) fn expire(&self) -> bool {
        self.state.compare_exchange(QUEUED, EXPIRED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// When a worker took the job, if one did.
    pub(crate) fn taken_at(&self) -> Option<Moment> {
        self.state.load(Ordering::Acquire).checked_sub(TAKEN).map(Moment::from_micros)
    }

    /// A worker that has sent the job may give it up until then: it only reads.
    pub(crate) fn may_move_until(&self, until: Moment) {
        let since = Moment::from_micros(self.since.load(Ordering::Relaxed));
        self.moves_us.store(u32::try_from(until.since(since)).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// The caller sends another job into the same lane: from now on this one stays in front of it.
    pub(crate) fn is_to_be_followed(&self) {
        self.followed.store(true, Ordering::SeqCst);
    }

    /// A worker whose lane has ended gives up a job that it has sent; false if it has to stay in front of another, or
    /// where it is.
    pub(crate) fn give_up_sent(&self, now: Moment) -> bool {
        let moves = Duration::from_micros(self.moves_us.load(Ordering::Relaxed).into());
        let is_in_time = now < Moment::from_micros(self.since.load(Ordering::Relaxed)).after(moves);
        let may_move = is_in_time && !self.followed.load(Ordering::SeqCst);
        self.moved.store(may_move, Ordering::Release);
        may_move
    }

    /// Whether a worker has given the job up that had sent it.
    pub(crate) fn was_given_up(&self) -> bool {
        self.moved.load(Ordering::Acquire)
    }

    /// The lane of the connection that has the job, if one has it.
    pub(crate) fn lane(&self) -> Option<u64> {
        self.taken_at().map(|_| self.lane.load(Ordering::Relaxed)).filter(|lane| *lane > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn either_the_worker_or_the_caller_has_it() {
        let ticket = Ticket::new();
        assert!(ticket.expire());
        assert!(!ticket.take(Moment::now(), 0));
        assert_eq!((ticket.taken_at(), ticket.lane()), (None, None));
        ticket.reset();
        tokio::time::advance(Duration::from_millis(7)).await;
        let now = Moment::now();
        assert!(ticket.take(now, 7));
        assert!(!ticket.expire());
        assert_eq!((ticket.taken_at(), ticket.lane()), (Some(now), Some(7)));
    }
}
