//! A worker's connection: the stream, the state it is in, and what is in flight on it. Written to and
//! read from by [`drive`](Connection::drive); never used again once that has failed.

use std::{
    future::poll_fn,
    io,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use resp::{Protocol, ReplyScanner, write_request};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use crate::{
    bounds::{
        budget::Budget,
        reply_memory::{Room, Wait},
        trust::Trust,
        turns::Part,
    },
    error::{JobError, Sent},
    queue::{expected::Expected, job::Job},
    settings::{endpoint::Endpoint, settings::Settings, tenure::Origin},
    stats::{totals::Writes, traffic::Traffic},
    upstream::{
        facts::Facts,
        needs::Needs,
        node::{Dialled, Node},
        stream::Stream,
    },
    worker::{
        aside::Aside,
        in_flight::InFlight,
        lost::Lost,
        own_request::{self, Purpose},
        policy::{batching::Batching, progress::Progress},
        preparation::Preparation,
    },
};

/// Bytes of one read.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// The same of a connection with a further login, of which there may be many.
const GUEST_READ_BYTES: usize = 16 * 1024;

/// Levels of a reply up to which its end is looked for, whatever becomes of the reply: eight times what scripts of
/// Redis nest. At 8 bytes each.
const LEVELS_MAX: usize = 64 * 1024;

pub(crate) struct Connection {
    endpoint: Endpoint,
    /// Of the upstream that it leads to.
    generation: u64,
    stream: Stream,
    scanner: ReplyScanner,
    read_buffer: Box<[u8]>,
    in_flight: InFlight,
    preparation: Preparation,
    aside: Aside,
    /// The upstream owes the answer to what it is.
    checking: bool,
    /// That answer.
    checked: Option<Vec<u8>>,
    /// As its login found out: what was refused then is not asked for again.
    speaks_resp3: bool,
    pub(crate) progress: Progress,
    batching: Batching,
    pub(crate) renew_at: Instant,
    pub(crate) keepalive: Duration,
    /// No further jobs: it is replaced or retired once nothing is in flight.
    pub(crate) leaving: bool,
    room: Room,
    wait: Wait,
    /// What has been read and not been distributed, in `read_buffer`.
    unread: Range<usize>,
    pipeline_depth: usize,
    /// Of that, what there may be in flight as long as nothing further is submitted.
    depth: usize,
    part: Arc<Part>,
    writes: Arc<Writes>,
    traffic: Arc<Traffic>,
}

impl Connection {
    /// `lifetime_chance`, from 0 to 1, spreads the lifetimes of connections over a fifth.
    pub(crate) fn new(
        dialled: Dialled,
        settings: &Settings,
        reply_bytes: &Arc<Budget>,
        lifetime_chance: f64,
        (writes, traffic, part, trust): (Arc<Writes>, Arc<Traffic>, Arc<Part>, Arc<Trust>),
    ) -> Self {
        let now = Instant::now();
        let Dialled { stream, endpoint, facts, db, .. } = dialled;
        let mut connection = Self {
            generation: facts.generation(),
            batching: Batching::new(stream.is_local()),
            stream,
            scanner: ReplyScanner::new(LEVELS_MAX.max(settings.reply_depth_max)),
            read_buffer: vec![0; if endpoint.guest { GUEST_READ_BYTES } else { READ_BYTES }].into_boxed_slice(),
            in_flight: InFlight::new(trust, Origin::new(endpoint.tenure.clone())),
            preparation: Preparation::new(Needs { db, ..Needs::default() }),
            aside: Aside::default(),
            checking: false,
            checked: None,
            speaks_resp3: facts.speaks(Protocol::Resp3),
            progress: Progress::new(now),
            renew_at: now + settings.lifetime.mul_f64(0.9 + lifetime_chance / 5.0),
            keepalive: settings.keepalive,
            leaving: false,
            room: Room::new(settings, reply_bytes),
            wait: Wait::default(),
            unread: 0..0,
            endpoint,
            pipeline_depth: settings.pipeline_depth,
            depth: settings.pipeline_depth,
            part,
            writes,
            traffic,
        };
        connection.tune(settings, &facts);
        connection
    }

    /// Gets no further jobs unless it leads where the upstream is, nor those that are not written if another node does.
    pub(crate) fn leave_unless_at(&mut self, node: &Node) {
        self.leaving |= !node.is_current(&self.endpoint, self.generation);
        if self.endpoint.tenure.is_left() {
            self.give_back_unwritten(&"another node gets the requests now".into());
        }
    }

    /// Of the upstream that it leads to.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes over what may change while the connection lives.
    pub(crate) fn tune(&mut self, settings: &Settings, facts: &Facts) {
        self.keepalive = settings.keepalive.min(facts.half_idle_timeout());
        self.room.job_max = settings.reply_bytes_max;
        self.room.all_max = settings.replies_bytes_max;
        self.room.depth_max = settings.reply_depth_max;
        // What ends the connection ends all that is in flight on it: that is one job then.
        let alone = facts.limits.end_connections(settings.queue_bytes_max);
        self.pipeline_depth = if alone { 1 } else { settings.pipeline_depth };
        self.depth = self.pipeline_depth;
    }

    /// Whether a further job may be given to it.
    pub(crate) fn has_room(&self) -> bool {
        !self.leaving && !self.is_full() && !self.in_flight.is_bulky(&self.scanner)
    }

    /// Whether as much is in flight as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.in_flight() >= self.depth
    }

    /// Replies due.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.requests() + self.preparation.requests() + self.aside.len()
    }

    /// Jobs wait for the connection to be in another state, or for large replies.
    pub(crate) fn keeps_waiting(&self) -> bool {
        !self.preparation.is_idle() || !self.aside.is_empty()
    }

    /// Jobs that are not wholly written yet.
    pub(crate) fn unwritten(&self) -> usize {
        self.in_flight.unwritten()
    }

    /// Jobs that are written and not wholly answered, if it is worth a look what else has come before others follow.
    pub(crate) fn may_gather(&self) -> Option<usize> {
        let out = self.in_flight.written();
        (!self.batching.has_gathered(out)).then_some(out)
    }

    /// Whether anybody but the worker itself waits for anything.
    pub(crate) fn has_jobs(&self) -> bool {
        self.in_flight.has_jobs() || self.keeps_waiting()
    }

    /// Nothing waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && !self.keeps_waiting()
    }

    /// Whether an error reply has said since the last look that this is a replica now. A script may say so, too.
    pub(crate) fn take_doubt(&mut self) -> bool {
        self.in_flight.take_replica()
    }

    /// A job that may go now. One whose replies may be large is put aside while such are in flight.
    pub(crate) fn admit(&mut self, job: Job) -> Option<Job> {
        if job.burst().expected == Expected::Small || (self.aside.is_empty() && self.takes(&job)) {
            return Some(job);
        }
        self.aside.push(job);
        None
    }

    fn takes(&self, job: &Job) -> bool {
        self.in_flight.takes(job.burst().expected, self.preparation.not_small())
    }

    /// The next job of those that were put aside, if it may go now.
    pub(crate) fn take_aside(&mut self) -> Option<Job> {
        if self.aside.next().is_some_and(|job| self.takes(job)) { self.aside.take() } else { None }
    }

    /// Queues a job for writing, once the connection is in the state it needs.
    pub(crate) fn submit(&mut self, job: Job, now: Instant) {
        if job.burst().needs.protocol == Protocol::Resp3 && !self.speaks_resp3 {
            return job.fail(JobError::StateRefused("NOPROTO the upstream does not speak RESP3".into()));
        }
        if ![0, self.generation].contains(&job.burst().only_at) {
            return job.fail(JobError::StateRefused("ERR another node is the upstream now".into()));
        }
        self.touch(now);
        self.depth = self.part.depth(self.pipeline_depth, now);
        self.preparation.submit(job, &mut self.in_flight);
    }

    fn touch(&mut self, now: Instant) {
        self.progress.used(now, self.is_idle());
    }

    /// Asks the upstream for a sign of life.
    pub(crate) fn ping(&mut self, now: Instant) {
        self.touch(now);
        let bytes = own_request::ping(self.preparation.state().protocol, self.endpoint.guest);
        self.in_flight.push_own(Purpose::Ping, bytes);
    }

    /// Whether it may be asked what the upstream is: it owes no answer or change of state, and feeds no large reply.
    pub(crate) fn may_check(&self) -> bool {
        !self.checking && self.preparation.is_settled() && !self.in_flight.is_in_pieces()
    }

    /// Asks the upstream what it is.
    pub(crate) fn check(&mut self, node: &Node, now: Instant) {
        self.touch(now);
        let mut bytes = Vec::new();
        write_request(&mut bytes, node.check_request(self.preparation.state().protocol));
        self.in_flight.push_own(Purpose::Check, bytes);
        self.checking = true;
    }

    /// What the upstream has answered to that, once.
    pub(crate) fn take_checked(&mut self) -> Option<Vec<u8>> {
        self.checked.take()
    }

    /// Writes what is queued, reads what has come and answers what is complete; returns when anything was read.
    /// Cancel-safe: nothing is lost between two calls. `others_wait`: for this connection to have room.
    ///
    /// # Errors
    /// The connection is of no further use: [`fail`](Self::fail) it.
    pub(crate) async fn drive(&mut self, others_wait: impl Fn() -> bool) -> Result<(), Lost> {
        poll_fn(|cx| self.poll_drive(cx, &others_wait)).await
    }

    /// Whether the node there is still the primary: if not, nothing further is written to it or heard from it.
    pub(crate) fn may_stay(&self) -> Result<(), Lost> {
        if self.endpoint.tenure.is_over() { Err(Lost::Left) } else { Ok(()) }
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>, others_wait: &impl Fn() -> bool) -> Poll<Result<(), Lost>> {
        self.may_stay()?;
        if self.endpoint.tenure.is_doubted() {
            return Poll::Pending;
        }
        self.preparation.begin_switch(&mut self.in_flight);
        let is_unbegun = self.in_flight.is_unbegun();
        if is_unbegun && self.poll_read(cx, others_wait)?.is_ready() {
            // The news may have been that it was closed while idle: nothing is lost then.
            return Poll::Ready(Ok(()));
        }
        let written = self.poll_write(cx);
        // The read above wakes the task; only after a failure another tells what the upstream said before it closed.
        if is_unbegun && matches!(written, Poll::Ready(Ok(()))) {
            return Poll::Pending;
        }
        match (written, self.poll_read(cx, others_wait)?) {
            (Poll::Ready(Err(error)), Poll::Pending) => Poll::Ready(Err(error.into())),
            (_, read) => read.map(Ok),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let out = self.in_flight.written();
        if self.in_flight.is_between_jobs() && self.batching.keeps(self.in_flight.unwritten(), out) {
            return Poll::Pending;
        }
        let written = self.in_flight.poll_write(&mut self.stream, cx, (&self.writes, &self.traffic));
        if out == 0 && self.in_flight.written() > 0 {
            self.batching.wrote_first();
        }
        written
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, others_wait: &impl Fn() -> bool) -> Result<Poll<()>, Lost> {
        if self.in_flight.short().is_some() {
            return self.poll_room(cx);
        }
        let mut came = false;
        loop {
            let others_wait = || self.leaving || !self.preparation.is_idle() || !self.aside.is_empty() || others_wait();
            if self.in_flight.poll_handed_on(cx, self.scanner.bulk_left(), others_wait).is_pending() {
                self.progress.excused(Instant::now());
                return Ok(if came { Poll::Ready(()) } else { Poll::Pending });
            }
            let mut buffer = ReadBuf::new(&mut self.read_buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending if came => break,
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(result) => result?,
            }
            let bytes = buffer.filled().len();
            if bytes == 0 {
                return Err(Lost::Closed);
            }
            came = true;
            self.traffic.received(bytes);
            self.unread = 0..bytes;
            self.progress.read(bytes);
            self.distribute()?;
            if bytes < self.read_buffer.len() || self.in_flight.short().is_some() {
                break;
            }
        }
        // All is read that is there: what is still due may take its time.
        self.in_flight.hand_on();
        Ok(Poll::Ready(()))
    }

    fn distribute(&mut self) -> Result<(), Lost> {
        let due = self.in_flight.requests();
        self.in_flight.more_wait = !self.aside.is_empty();
        let chunk = &self.read_buffer[self.unread.clone()];
        self.unread.start += self.in_flight.read(chunk, &mut self.scanner, &self.room, &self.traffic)?;
        let now = Instant::now();
        self.batching.heard(now);
        self.progress.heard(now, self.in_flight.requests() < due, READ_BYTES);
        while let Some(answered) = self.in_flight.next_answered() {
            match answered.purpose {
                Purpose::Check => {
                    self.checking = false;
                    self.checked = Some(answered.reply);
                }
                Purpose::Moved => {}
                Purpose::Ping | Purpose::Hello(_) | Purpose::Select(_) => {
                    self.preparation.answered(&answered, &mut self.in_flight)?;
                }
            }
        }
        Ok(())
    }

    /// Waits for room for the reply at hand, then goes on with what was read already.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Lost> {
        if let Some(short) = self.in_flight.short() {
            let Poll::Ready(share) = self.wait.poll(cx, short, &self.room) else { return Ok(Poll::Pending) };
            self.in_flight.settle(share, &self.room, &self.traffic);
        }
        self.distribute()?;
        Ok(Poll::Ready(()))
    }

    /// Gives back the jobs that another connection can have: those not begun, and those that read behind another.
    pub(crate) fn give_back(&mut self, now: Instant) {
        let reason: Arc<str> = "silent for longer than usual".into();
        self.give_back_unwritten(&reason);
        let lost = JobError::ConnectionLost { reason, sent: Sent::Maybe };
        self.in_flight.take_movable(now).for_each(|job| job.fail(lost.clone()));
    }

    fn give_back_unwritten(&mut self, reason: &Arc<str>) {
        let unwritten = self.in_flight.take_unwritten();
        let unwritten = unwritten.into_iter().chain(self.preparation.take_waiting()).chain(self.aside.take_all());
        unwritten.for_each(|job| job.fail(JobError::ConnectionLost { reason: Arc::clone(reason), sent: Sent::No }));
    }

    /// Fails all that is in flight and closes.
    pub(crate) fn fail(mut self, lost: &Lost) {
        let reason: Arc<str> = lost.to_string().into();
        self.give_back_unwritten(&reason);
        self.in_flight.fail(&reason);
    }
}
