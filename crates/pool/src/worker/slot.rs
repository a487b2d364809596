//! A place in what is in flight on a connection: whose it is, how many replies are still due, and what becomes of
//! them. Takes in replies, within the room there is, and hands them on.

use std::task::Context;

use resp::Run;
use tokio::time::Instant;

use crate::{
    bounds::reply_memory::{Room, Short, release},
    queue::{
        expected::{BULKY_BYTES, Expected},
        job::{Burst, Job},
    },
    worker::{
        connection::READ_BYTES,
        own_request::Purpose,
        policy::flow::{AHEAD_BYTES, Flow},
    },
};

/// The longest reply to a request of the worker's own, in bytes; a `HELLO` has the most to say.
const OWN_REPLY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a large reply that are there at most while its caller takes what came before, with the last read.
const PIECES_BYTES: usize = AHEAD_BYTES + READ_BYTES;

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

    /// Makes room for these replies and for further ones like them, as far as there are `ready` bytes of those.
    pub(super) fn expect_alike(&mut self, run: Run, ready: usize) {
        let left = (self.left - run.replies) as usize;
        let replies = &mut self.burst_mut().replies;
        if replies.is_empty() {
            let further = if left > 0 { run.bytes / run.replies as usize * left } else { 0 };
            replies.reserve(run.bytes + further.min(ready));
        }
    }

    /// Takes in the replies that `chunk` begins with, for which there is room.
    pub(super) fn take_in_run(&mut self, chunk: &[u8], run: Run) {
        if !self.is_unwanted() {
            self.expect_alike(run, chunk.len() - run.bytes);
            self.burst_mut().replies.extend_from_slice(&chunk[..run.bytes]);
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
        let asks = wanted + level_bytes + self.burst().beside > room.unasked();
        let claimed = if asks { self.claim(wanted, level_bytes, room) } else { Ok(()) };
        let in_pieces = asks && self.fate == Fate::Kept && flow.takes(wanted, || self.goes_in_pieces());
        if self.fate == Fate::Kept {
            let replies = &mut self.burst_mut().replies;
            if bulk_left > piece.len() && claimed.is_ok() && !in_pieces {
                replies.reserve(piece.len() + bulk_left);
            }
            if in_pieces && replies.capacity() < PIECES_BYTES {
                // Once: a buffer that grows leaves twice its size behind, and three of them take turns.
                replies.reserve_exact(PIECES_BYTES - replies.len());
            }
            replies.extend_from_slice(piece);
        }
        if let Owner::Job(job) = &self.owner
            && flow.torn > 0
            && !flow.is_in_pieces()
        {
            job.still_comes();
        }
        // What has been begun goes on: it needs no more than a piece while its caller takes it.
        if in_pieces && flow.torn > 0 { Ok(()) } else { claimed }
    }

    fn goes_in_pieces(&self) -> bool {
        matches!(&self.owner, Owner::Job(job) if job.goes_in_pieces()) && !self.is_error()
    }

    /// Whether the reply that is not whole is an error, if nothing of it has been handed on. It has to be counted as a
    /// whole.
    fn is_error(&self) -> bool {
        matches!(self.burst().replies.get(self.whole), Some(b'-' | b'!'))
    }

    /// The job, if replies to it are whole that may be handed on while others are due.
    #[inline]
    fn ahead(&mut self) -> Option<&mut Job> {
        match &mut self.owner {
            Owner::Job(job) if self.whole > 0 && self.fate == Fate::Kept => Some(job),
            Owner::Job(_) | Owner::Worker(..) => None,
        }
        .filter(|job| job.burst().errors == 0 && !job.is_abandoned())
    }

    /// Hands these on, as [`InFlight`](super::in_flight::InFlight) says it.
    pub(super) fn hand_on(&mut self) {
        let whole = self.whole;
        if self.ahead().is_some_and(|job| !job.burst().transaction && job.hand_on(whole)) {
            self.whole = 0;
        }
    }

    /// Hands on a reply as far as it has come, unless an error stands before it; `bulk_left` bytes of it are known to follow.
    /// Fails with the time up to which its caller is waited for before anything further is read.
    pub(super) fn hand_on_piece(
        &mut self,
        cx: &mut Context<'_>,
        bulk_left: usize,
        flow: &mut Flow,
        others_wait: &impl Fn() -> bool,
    ) -> Result<(), Instant> {
        let (there, whole, is_last) = (self.burst().replies.len(), self.whole, self.left == 1);
        if there == whole {
            // The end of one does not wait for those behind it. If it is not taken now, the task is woken when it may be.
            if self.ahead().is_some_and(|job| job.burst().in_part && job.hand_on_piece(cx, 0)) {
                self.whole = 0;
                flow.goes_on(Instant::now());
            }
            return Ok(());
        }
        let now = Instant::now();
        if self.is_unwanted()
            || (flow.torn == 0 && (self.is_error() || self.burst().errors > 0))
            || !flow.may_begin(now, others_wait)
        {
            return Ok(());
        }
        let Owner::Job(job) = &mut self.owner else { return Ok(()) };
        let torn = flow.torn + there - whole;
        if job.hand_on_piece(cx, torn) {
            self.whole = 0;
            flow.torn = torn;
            flow.goes_on(now);
            if let Some(held) = job.burst_mut().room.as_mut().filter(|_| is_last) {
                // With what the caller has not taken: it may come back.
                release(held, bulk_left + there);
            }
            return Ok(());
        }
        if there < AHEAD_BYTES {
            return Ok(());
        }
        let others_wait = !job.is_wanted_early() || others_wait();
        if let Some(until) = flow.waits(now, others_wait) {
            return Err(until);
        }
        let bytes = job.take_back();
        if flow.torn > 0 {
            flow.torn -= bytes;
            job.burst_mut().is_torn = flow.torn > 0;
        } else {
            self.whole += bytes;
        }
        Ok(())
    }

    fn claim(&mut self, wanted: usize, level_bytes: usize, room: &Room) -> Result<(), Short> {
        match &mut self.owner {
            // What the worker asked itself is short, and has to be read whatever callers may get.
            Owner::Worker(..) if wanted <= OWN_REPLY_BYTES_MAX => Ok(()),
            Owner::Job(job) if wanted <= room.job_max => {
                let burst = job.burst_mut();
                let held = burst.room.get_or_insert_with(|| Box::new(room.budget.charge(0)));
                room.claim(held, wanted + level_bytes + burst.beside)
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        bounds::queue_room::QueueRoom,
        queue::{
            job::{Outcome, Pieces},
            ticket::Ticket,
        },
        settings::{endpoint::Endpoint, settings::Settings},
    };

    /// A slot with so many replies due whose caller takes them as they come, and has taken nothing yet.
    fn slot(due: u32) -> (Slot, Arc<Ticket>, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let place = QueueRoom::new(Arc::default(), None).try_take(0, 1).expect("empty");
        let mut burst = Burst { replies_due: due, pieces: Pieces::AsTheyCome, ..Burst::default() };
        let ticket = Arc::new(Ticket::new());
        takes(&ticket);
        (Slot::new(Owner::Job(Job::new(&mut burst, Arc::clone(&ticket), sender, place))), ticket, receiver)
    }

    fn takes(ticket: &Ticket) -> Vec<u8> {
        let mut taken = Vec::new();
        let _ = ticket.early.poll_take(&mut Context::from_waker(std::task::Waker::noop()), &mut taken);
        taken
    }

    #[tokio::test]
    async fn an_error_behind_a_large_reply_is_not_handed_on_nor_what_follows() {
        let ((mut slot, ticket, _answer), mut flow) = (slot(2), Flow::default());
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        assert!(flow.takes(usize::MAX, || true));
        slot.burst_mut().replies.extend_from_slice(b"$3\r\nab");
        assert_eq!(slot.hand_on_piece(cx, 3, &mut flow, &|| true), Ok(()));
        assert_eq!((takes(&ticket).as_slice(), flow.torn), (&b"$3\r\nab"[..], 6));
        // The first is whole with this; the second is not.
        slot.burst_mut().replies.extend_from_slice(b"c\r\n");
        (slot.whole, slot.left, flow.torn) = (3, 1, 0);
        for piece in [&b"-ERR"[..], b" no"] {
            slot.burst_mut().replies.extend_from_slice(piece);
            assert_eq!(slot.hand_on_piece(cx, 0, &mut flow, &|| true), Ok(()));
            assert!(takes(&ticket).is_empty() && flow.torn == 0);
        }
        slot.hand_on();
        assert_eq!((takes(&ticket).as_slice(), slot.whole), (&b"c\r\n"[..], 0));
        assert_eq!(slot.burst().replies, b"-ERR no");
        // Whole, it stays with all that follows: its caller is to see it when it has to decide what becomes of that.
        slot.burst_mut().replies.extend_from_slice(b"\r\n$3\r\nab");
        (slot.burst_mut().errors, slot.whole) = (1, 9);
        assert_eq!(slot.hand_on_piece(cx, 3, &mut flow, &|| true), Ok(()));
        slot.hand_on();
        assert!(takes(&ticket).is_empty() && flow.torn == 0);
    }

    #[tokio::test]
    async fn the_buffer_of_a_reply_in_pieces_has_its_size_at_once_and_does_not_grow() {
        let ((mut slot, _ticket, _answer), mut flow) = (slot(1), Flow::default());
        let room = Room::new(&Settings::new(Endpoint::tcp("host", 1)), &Arc::default());
        let mut left = 4 * PIECES_BYTES;
        assert!(slot.take_in(b"$786432\r\n", (left, 0), &room, &mut flow).is_ok() && flow.is_in_pieces());
        let size = slot.burst().replies.capacity();
        while slot.burst().replies.len() < AHEAD_BYTES {
            left -= READ_BYTES;
            assert!(slot.take_in(&[b'x'; READ_BYTES], (left, 0), &room, &mut flow).is_ok());
        }
        assert_eq!((size, slot.burst().replies.capacity()), (PIECES_BYTES, PIECES_BYTES));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_caller_has_not_taken_in_time_comes_back_to_the_rest() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let (head, next) = (vec![b'$'; 3], vec![b'x'; AHEAD_BYTES]);
        for (taken, is_whole) in [(false, false), (true, false), (false, true)] {
            let ((mut slot, ticket, _answer), mut flow) = (slot(2), Flow::default());
            assert!(flow.takes(usize::MAX, || true));
            let mut at_caller = Vec::new();
            for piece in [&head, &next] {
                slot.burst_mut().replies.extend_from_slice(piece);
                assert_eq!(slot.hand_on_piece(cx, 9, &mut flow, &|| true), Ok(()));
                at_caller.extend(if taken || piece == &head { takes(&ticket) } else { Vec::new() });
            }
            slot.burst_mut().replies.extend_from_slice(&next);
            if is_whole {
                (slot.whole, slot.left, flow.torn) = (next.len() - 1, 1, 0);
            }
            let not_taken = if taken { 0 } else { next.len() };
            while flow.is_in_pieces() {
                tokio::time::advance(Duration::from_millis(10)).await;
                let _ = slot.hand_on_piece(cx, 9, &mut flow, &|| true);
                at_caller.extend(if taken { takes(&ticket) } else { Vec::new() });
                flow.waits(Instant::now(), true);
            }
            assert!(takes(&ticket).is_empty());
            let all = [&at_caller[..], &slot.burst().replies].concat();
            assert!(all == [&head[..], &next, &next].concat(), "taken: {taken}, whole: {is_whole}");
            assert_eq!(slot.burst().taken_early, at_caller.len());
            if is_whole {
                assert_eq!(slot.whole, not_taken + next.len() - 1);
            } else {
                assert_eq!((flow.torn, slot.burst().is_torn, slot.whole), (at_caller.len(), true, 0));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_whose_rest_comes_as_a_whole_is_not_late_while_it_comes() {
        let ((mut slot, ticket, _answer), mut flow) = (slot(1), Flow::default());
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let endpoint = Endpoint::tcp("host", 1);
        let room = Room::new(&Settings::new(endpoint), &Arc::default());
        assert!(flow.takes(usize::MAX, || true));
        slot.burst_mut().replies.extend_from_slice(b"$9\r\na");
        assert_eq!(slot.hand_on_piece(cx, 8, &mut flow, &|| true), Ok(()));
        assert!(!takes(&ticket).is_empty());
        let first = ticket.early.last_piece().expect("it goes in pieces");
        tokio::time::advance(Duration::from_secs(1)).await;
        flow.waits(Instant::now(), true);
        while flow.is_in_pieces() {
            tokio::time::advance(Duration::from_millis(10)).await;
            flow.waits(Instant::now(), true);
        }
        assert_eq!(ticket.early.last_piece(), Some(first));
        assert!(slot.take_in(b"bc", (6, 0), &room, &mut flow).is_ok());
        assert!(ticket.early.last_piece() > Some(first));
    }
}
