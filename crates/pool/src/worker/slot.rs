//! A place in what is in flight on a connection: whose it is, how many replies are still due, and what becomes of
//! them. Takes in replies, within the room there is.

use tokio::time::Instant;

use crate::{
    bounds::reply_memory::{Room, Short},
    queue::{
        expected::{BULKY_BYTES, Expected},
        job::{Burst, Job},
    },
    worker::{flow::Flow, own_request::Purpose},
};

/// The longest reply to a request of the worker's own, in bytes; a `HELLO` has the most to say.
const OWN_REPLY_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) enum Owner {
    Job(Job),
    Worker(Purpose, Box<Burst>),
}

/// What becomes of the replies to a job. Those that are not kept are thrown away as they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// They passed `reply_bytes_max`.
    TooLarge,
    /// One of them passed `reply_depth_max`.
    TooDeep,
    /// They passed what was left of `replies_bytes_max`.
    NoRoom,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) owner: Owner,
    /// Replies still due.
    pub(super) left: u32,
    /// Bytes of replies that are whole.
    pub(super) whole: usize,
    pub(super) fate: Fate,
    /// How large the replies are expected to be, or prove to be.
    pub(super) expected: Expected,
}

impl Slot {
    pub(super) fn new(owner: Owner) -> Self {
        let (left, expected) = match &owner {
            Owner::Job(job) => (job.burst().replies_due, job.burst().expected),
            Owner::Worker(_, burst) => (burst.replies_due, Expected::Small),
        };
        Self { owner, left, whole: 0, fate: Fate::Kept, expected }
    }

    /// Others wait for its replies, which `bulk_left` bytes are known to belong to that have not come yet.
    pub(super) fn is_bulky(&self, bulk_left: usize) -> bool {
        bulk_left > BULKY_BYTES || self.burst().replies.len() > BULKY_BYTES
    }

    pub(super) fn burst(&self) -> &Burst {
        match &self.owner {
            Owner::Job(job) => job.burst(),
            Owner::Worker(_, burst) => burst,
        }
    }

    pub(super) fn burst_mut(&mut self) -> &mut Burst {
        match &mut self.owner {
            Owner::Job(job) => job.burst_mut(),
            Owner::Worker(_, burst) => burst,
        }
    }

    /// Takes out the job if it may be done elsewhere; its replies will be thrown away.
    pub(super) fn take_movable(&mut self, now: Instant) -> Option<Job> {
        let may_move = matches!(&self.owner, Owner::Job(job) if job.may_move(now));
        let moved = || Owner::Worker(Purpose::Moved, Box::default());
        let owner = may_move.then(|| std::mem::replace(&mut self.owner, moved()))?;
        match owner {
            Owner::Job(job) => Some(job),
            Owner::Worker(..) => None,
        }
    }

    pub(super) fn is_unwanted(&self) -> bool {
        self.fate != Fate::Kept
            || match &self.owner {
                Owner::Job(job) => job.is_abandoned(),
                Owner::Worker(purpose, _) => *purpose == Purpose::Moved,
            }
    }

    /// Makes room for further replies like the first, of `bytes`, as far as there are `ready` bytes of them.
    pub(super) fn expect_alike(&mut self, bytes: usize, ready: usize) {
        let left = self.left as usize;
        let replies = &mut self.burst_mut().replies;
        if replies.is_empty() {
            replies.reserve(bytes + (bytes * (left - 1)).min(ready));
        }
    }

    /// Takes in a piece of a reply, of which `bulk_left` bytes are known to follow while its scanner needs
    /// `level_bytes`. Fails when there is no room for all of them.
    pub(super) fn take_in(
        &mut self,
        piece: &[u8],
        (bulk_left, level_bytes): (usize, usize),
        room: &Room,
        flow: &mut Flow,
    ) -> Result<(), Short> {
        if self.is_unwanted() {
            return Ok(());
        }
        let wanted = self.burst().replies.len().saturating_add(piece.len()).saturating_add(bulk_left);
        let asks = wanted + level_bytes > room.unasked();
        let claimed = if asks { self.claim(wanted, level_bytes, room) } else { Ok(()) };
        let in_pieces = asks && self.fate == Fate::Kept && flow.takes(wanted, || self.goes_in_pieces());
        if self.fate == Fate::Kept {
            let replies = &mut self.burst_mut().replies;
            if bulk_left > piece.len() && claimed.is_ok() && !in_pieces {
                replies.reserve(piece.len() + bulk_left);
            }
            replies.extend_from_slice(piece);
        }
        // What has been begun goes on: it needs no more than a piece while its caller takes it.
        if in_pieces && flow.torn > 0 { Ok(()) } else { claimed }
    }

    fn goes_in_pieces(&self) -> bool {
        // No error is as large, but one would have to be counted as a whole.
        let is_error = matches!(self.burst().replies.get(self.whole), Some(b'-' | b'!'));
        matches!(&self.owner, Owner::Job(job) if job.goes_in_pieces()) && !is_error
    }

    fn claim(&mut self, wanted: usize, level_bytes: usize, room: &Room) -> Result<(), Short> {
        match &mut self.owner {
            // What the worker asked itself is short, and has to be read whatever callers may get.
            Owner::Worker(..) if wanted <= OWN_REPLY_BYTES_MAX => Ok(()),
            Owner::Job(job) if wanted <= room.job_max => {
                let held = job.burst_mut().room.get_or_insert_with(|| Box::new(room.budget.charge(0)));
                room.claim(held, wanted + level_bytes)
            }
            Owner::Worker(..) | Owner::Job(_) => {
                self.give_up(Fate::TooLarge);
                Ok(())
            }
        }
    }

    /// Keeps the replies that are whole, and nothing more.
    pub(super) fn give_up(&mut self, fate: Fate) {
        self.fate = fate;
        let whole = self.whole;
        let replies = &mut self.burst_mut().replies;
        replies.truncate(whole);
        replies.shrink_to_fit();
    }
}
