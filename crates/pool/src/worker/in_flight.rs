//! What has been given to one connection and is not answered yet, in the order of the wire: unwritten
//! bytes at the end, the reply being read at the front. Knows for each job whether any of it was sent.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use resp::{ReplyKind, ReplyScanner, Run};
use tokio::{io::AsyncWrite, time::Instant};

use crate::{
    bounds::{
        reply_memory::{Room, Short},
        share::Share,
        trust::{LARGE_MAX, Trust},
    },
    error::{JobError, Sent},
    queue::{
        expected::Expected,
        job::{Burst, Job},
    },
    settings::tenure::Origin,
    stats::{totals::Writes, traffic::Traffic},
    time::alarm::Alarm,
    upstream::checks::is_of_replica,
    worker::{
        joined,
        lost::ReadError,
        own_request::{Answered, Purpose},
        policy::flow::Flow,
        slot::{Fate, Owner, Slot},
    },
};

/// Jobs of one write. More bring nothing: to copy them takes at least as long as the call costs.
const JOBS_MAX: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct InFlight {
    slots: VecDeque<Slot>,
    /// Slots that are wholly written.
    written: usize,
    /// Bytes written of the slot after these.
    written_part: usize,
    requests: usize,
    answered: VecDeque<Answered>,
    saw_replica: bool,
    /// The front reply has no room; with its kind if it is complete.
    short: Option<(Short, Option<ReplyKind>)>,
    /// Of the front replies, where they are large.
    flow: Flow,
    /// Rings when their caller is to be looked at.
    look: Alarm,
    /// Slots whose replies are not expected to be small.
    not_small: usize,
    /// Further ones wait beside the connection.
    pub(super) more_wait: bool,
    trust: Arc<Trust>,
    /// Of all replies.
    origin: Origin,
}

impl InFlight {
    pub(crate) fn new(trust: Arc<Trust>, origin: Origin) -> Self {
        Self { trust, origin, ..Self::default() }
    }

    /// Whether a job of which this is expected would be no more than there may be at a time, where so many `wait` to be
    /// written.
    pub(crate) fn takes(&self, expected: Expected, wait: usize) -> bool {
        match expected {
            Expected::Small => true,
            Expected::Unknown => self.not_small + wait < self.trust.limit(),
            Expected::Large => self.not_small + wait < LARGE_MAX,
        }
    }

    /// Replies still due.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Whether any of it is a job.
    pub(crate) fn has_jobs(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot.owner, Owner::Job(_)))
    }

    /// There is something to write, and none of it has been written.
    pub(crate) fn is_unbegun(&self) -> bool {
        !self.slots.is_empty() && self.written == 0 && self.written_part == 0
    }

    /// No slot is written in part.
    pub(crate) fn is_between_jobs(&self) -> bool {
        self.written_part == 0
    }

    /// Slots that are not wholly written.
    pub(crate) fn unwritten(&self) -> usize {
        self.slots.len() - self.written
    }

    /// Slots that are, and are not wholly answered.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// The front reply goes to its caller in pieces, so that what comes behind it may wait for that caller.
    pub(crate) fn is_in_pieces(&self) -> bool {
        self.flow.is_in_pieces()
    }

    /// The front reply is so large that what comes behind it should go elsewhere.
    pub(crate) fn is_bulky(&self, scanner: &ReplyScanner) -> bool {
        self.short.is_some()
            || self.flow.is_large()
            || self.slots.front().is_some_and(|slot| slot.is_bulky(scanner.bulk_left()))
    }

    /// Whether an error reply has said since the last look that the upstream has become a replica.
    pub(crate) fn take_replica(&mut self) -> bool {
        std::mem::take(&mut self.saw_replica)
    }

    pub(crate) fn push_job(&mut self, job: Job) {
        self.push(Slot::new(Owner::Job(job)));
    }

    pub(crate) fn push_own(&mut self, purpose: Purpose, requests: Vec<u8>) {
        let burst = Box::new(Burst { requests, replies_due: 1, ..Default::default() });
        self.push(Slot::new(Owner::Worker(purpose, burst)));
    }

    fn push(&mut self, slot: Slot) {
        self.requests += slot.left as usize;
        self.not_small += usize::from(slot.expected != Expected::Small);
        self.slots.push_back(slot);
    }

    pub(crate) fn next_answered(&mut self) -> Option<Answered> {
        self.answered.pop_front()
    }

    /// Writes as much as the stream takes, all that is queued in one call where it can.
    pub(crate) fn poll_write<S>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        (writes, traffic): (&Writes, &Traffic),
    ) -> Poll<io::Result<()>>
    where
        S: AsyncWrite + Unpin,
    {
        while self.unwritten() > 0 {
            let unwritten = self.slots.range(self.written..).take(JOBS_MAX).enumerate();
            let begun = |place| if place == 0 { self.written_part } else { 0 };
            let requests = unwritten.map(|(place, slot)| &slot.burst().requests[begun(place)..]);
            let bytes = ready!(joined::poll_write(stream, cx, requests))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            traffic.sent(bytes);
            self.advance(bytes, writes);
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut bytes: usize, writes: &Writes) {
        let (mut jobs, mut requests) = (0, 0);
        while bytes > 0 {
            let left = self.slots[self.written].burst().requests.len() - self.written_part;
            if bytes < left {
                self.written_part += bytes;
                break;
            }
            if let Owner::Job(job) = &self.slots[self.written].owner {
                jobs += 1;
                requests += job.burst().replies_due;
            }
            bytes -= left;
            self.written += 1;
            self.written_part = 0;
        }
        if jobs > 0 {
            writes.wrote(jobs, requests);
        }
    }

    /// Distributes bytes that the upstream sent; answers every job whose last reply is whole. How many bytes it
    /// took: all of them, unless a reply is [`short`](Self::short) of room.
    pub(crate) fn read(
        &mut self,
        chunk: &[u8],
        scanner: &mut ReplyScanner,
        room: &Room,
        traffic: &Traffic,
    ) -> Result<usize, ReadError> {
        let mut used = 0;
        while used < chunk.len() && self.short.is_none() {
            let plain = self.read_plain(&chunk[used..], scanner, room, traffic);
            if plain > 0 {
                used += plain;
                continue;
            }
            let progress = scanner.scan(&chunk[used..])?;
            let piece = &chunk[used..used + progress.consumed];
            used += progress.consumed;
            if progress.complete.or(scanner.kind()) == Some(ReplyKind::Push) {
                // No shared connection asks for pushes; what comes all the same answers nobody.
                continue;
            }
            // Replies answer what was written: anything else is no reply of ours. Of a burst that is partly
            // written all but the last request may have been answered.
            let (whole, begun) = (self.written > 0, self.written_part > 0);
            let Some(slot) = self.slots.front_mut().filter(|slot| whole || (begun && slot.left > 1)) else {
                return Err(ReadError::Unasked);
            };
            let is_bulky = || slot.is_bulky(scanner.bulk_left()) || self.flow.is_large();
            if slot.expected == Expected::Unknown && is_bulky() {
                slot.expected = Expected::Large;
                self.trust.was_large();
            }
            if slot.left > 1 && slot.whole == 0 {
                slot.expect_alike(Run { bytes: piece.len(), replies: 1 }, chunk.len() - used);
            }
            if progress.depth > room.depth_max && slot.fate == Fate::Kept {
                slot.give_up(Fate::TooDeep);
            }
            match slot.take_in(piece, (scanner.bulk_left(), scanner.level_bytes()), room, &mut self.flow) {
                Err(short) => self.short = Some((short, progress.complete)),
                Ok(()) => {
                    if let Some(kind) = progress.complete {
                        self.replies_done(kind, 1, room, traffic);
                    }
                }
            }
        }
        Ok(used)
    }

    /// Takes in the plain answers to the front job that are there, as far as they need no room, all at once. How many bytes
    /// they are.
    fn read_plain(&mut self, chunk: &[u8], scanner: &ReplyScanner, room: &Room, traffic: &Traffic) -> usize {
        let Some(slot) = self.slots.front_mut().filter(|_| self.written > 0) else { return 0 };
        let free = room.unasked().saturating_sub(slot.burst().replies.len() + slot.burst().beside);
        let run = scanner.skip_plain(&chunk[..free.min(chunk.len())], slot.left);
        if run.replies > 0 {
            slot.take_in_run(chunk, run);
            self.replies_done(ReplyKind::Answer, run.replies, room, traffic);
        }
        run.bytes
    }

    /// Hands on the replies to the front job that are there while others are due, if its caller takes them early. Not those
    /// of a transaction, nor where an error is among them, so that its caller sees all that came of it.
    pub(crate) fn hand_on(&mut self) {
        if let Some(slot) = self.slots.front_mut() {
            slot.hand_on();
        }
    }

    /// Hands on a large reply as far as it has come, if it is handed on in pieces; `bulk_left` bytes of it are known to
    /// follow. Ready once its caller has taken what there is, is gone, or has had its time: nothing further is to be read
    /// before. `others_wait`: besides what is in flight.
    pub(crate) fn poll_handed_on(
        &mut self,
        cx: &mut Context<'_>,
        bulk_left: usize,
        others_wait: impl Fn() -> bool,
    ) -> Poll<()> {
        // Be it only the worker itself: on its requests depends what is thought of the upstream.
        let is_followed = self.slots.len() > 1;
        while self.flow.is_in_pieces()
            && let Some(slot) = self.slots.front_mut()
            && let Err(until) = slot.hand_on_piece(cx, bulk_left, &mut self.flow, &|| is_followed || others_wait())
        {
            ready!(self.look.poll_until(cx, until));
        }
        Poll::Ready(())
    }

    /// Takes out the jobs of which nothing has been written; the worker's own requests stay.
    pub(crate) fn take_unwritten(&mut self) -> Vec<Job> {
        let begun = self.written + usize::from(self.written_part > 0);
        let mut jobs = Vec::new();
        for slot in self.slots.split_off(begun.min(self.slots.len())) {
            match slot.owner {
                Owner::Job(job) => {
                    self.requests -= slot.left as usize;
                    self.not_small -= usize::from(slot.expected != Expected::Small);
                    jobs.push(job);
                }
                Owner::Worker(..) => self.slots.push_back(slot),
            }
        }
        jobs
    }

    /// Takes out the jobs that wait for another's reply although they are written, and only read: their replies are
    /// thrown away when they come.
    pub(crate) fn take_movable(&mut self, now: Instant) -> impl Iterator<Item = Job> {
        let written = self.written;
        self.slots.iter_mut().take(written).skip(1).filter_map(move |slot| slot.take_movable(now))
    }

    /// What the front reply lacks before anything further can be read.
    pub(crate) fn short(&self) -> Option<Short> {
        self.short.map(|(short, _)| short)
    }

    /// Ends that with the share that was lacking, or without.
    pub(crate) fn settle(&mut self, share: Option<Share>, room: &Room, traffic: &Traffic) {
        let (Some((_, complete)), Some(slot)) = (self.short.take(), self.slots.front_mut()) else { return };
        match (share, &mut slot.burst_mut().room) {
            (Some(share), Some(held)) => held.join(share),
            (Some(share), none) => *none = Some(Box::new(share)),
            (None, _) => slot.give_up(Fate::NoRoom),
        }
        if let Some(kind) = complete {
            self.replies_done(kind, 1, room, traffic);
        }
    }

    /// So many replies of this kind to the front job are whole now.
    fn replies_done(&mut self, kind: ReplyKind, count: u32, room: &Room, traffic: &Traffic) {
        self.requests -= count as usize;
        let Some(slot) = self.slots.front_mut() else { return };
        slot.left -= count;
        let whole = slot.whole;
        if !slot.is_unwanted() {
            let burst = slot.burst_mut();
            burst.is_torn = false;
            burst.replies_done += count;
            burst.errors += u32::from(kind == ReplyKind::Error);
            traffic.replied(kind, &burst.replies[whole..]);
            self.saw_replica |= kind == ReplyKind::Error && is_of_replica(&burst.replies[whole..]);
            slot.whole = slot.burst().replies.len();
            self.flow.torn = 0;
        }
        if slot.left > 0 {
            return;
        }
        if slot.expected != Expected::Small {
            self.not_small -= 1;
            if slot.expected == Expected::Unknown {
                self.trust.was_small(self.more_wait);
            }
        }
        self.written -= 1;
        self.flow.ends();
        match self.slots.pop_front() {
            Some(Slot { owner: Owner::Job(mut job), fate, .. }) => match fate {
                Fate::Kept => {
                    let burst = job.burst_mut();
                    burst.origin = (burst.errors > 0 || burst.transaction).then(|| self.origin.clone());
                    job.finish();
                }
                Fate::TooLarge => job.fail(JobError::RepliesTooLarge(room.job_max)),
                Fate::TooDeep => job.fail(JobError::ReplyTooDeep(room.depth_max)),
                Fate::NoRoom => job.fail(JobError::RepliesFull(room.all_max)),
            },
            Some(Slot { owner: Owner::Worker(purpose, burst), .. }) => {
                self.answered.push_back(Answered { purpose, kind, reply: burst.replies });
            }
            None => {}
        }
    }

    /// Fails all that is left because the connection is of no further use.
    pub(crate) fn fail(&mut self, reason: &Arc<str>) {
        let (written, part) = (self.written, self.written_part);
        for (index, mut slot) in self.slots.drain(..).enumerate() {
            let sent = if index < written || (index == written && part > 0) { Sent::Maybe } else { Sent::No };
            let whole = slot.whole;
            slot.burst_mut().replies.truncate(whole);
            if let Owner::Job(job) = slot.owner {
                job.fail(JobError::ConnectionLost { reason: Arc::clone(reason), sent });
            }
        }
        *self = Self::default();
    }
}
