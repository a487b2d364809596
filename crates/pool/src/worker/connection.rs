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
use thiserror::Error;
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};

use crate::{
    bounds::{
        budget::Budget,
        reply_memory::{Room, Wait},
    },
    error::{JobError, Sent},
    queue::job::Job,
    settings::{endpoint::Endpoint, settings::Settings},
    stats::totals::Writes,
    upstream::{facts::Facts, needs::Needs, stream::Stream},
    worker::{
        in_flight::{InFlight, ReadError},
        own_request::{Answered, Purpose},
    },
};

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// Databases that a connection remembers to exist; beyond, it asks again.
const KNOWN_DBS_MAX: usize = 256;

/// Why a connection is of no further use.
#[derive(Debug, Error)]
pub(crate) enum Lost {
    #[error("closed by the upstream")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("protocol error from the upstream: {0}")]
    Malformed(#[from] ReadError),
    #[error("upstream refused {0:?}, which it had accepted before")]
    StateRefused(Purpose),
    #[error("upstream sent nothing for {} ms with requests in flight", .0.as_millis())]
    Silent(Duration),
}

pub(crate) struct Connection {
    endpoint: Endpoint,
    stream: Stream,
    scanner: ReplyScanner,
    read_buffer: Box<[u8]>,
    in_flight: InFlight,
    state: Needs,
    /// As its login found out: what was refused then is not asked for again.
    speaks_resp3: bool,
    /// Databases known to exist, because a `SELECT` of them has succeeded here.
    known_dbs: Vec<u32>,
    /// A job that waits for the reply to the `SELECT` of a database not known yet, and the database
    /// to go back to if there is none.
    held: Option<(Job, u32)>,
    /// When something was last sent or received.
    pub(crate) last_used: Instant,
    /// When something was last received, or the first of what is in flight was submitted.
    pub(crate) last_heard: Instant,
    pub(crate) renew_at: Instant,
    pub(crate) keepalive: Duration,
    /// No further jobs: it is replaced or retired once nothing is in flight.
    pub(crate) leaving: bool,
    room: Room,
    wait: Wait,
    /// What has been read and not been distributed, in `read_buffer`.
    unread: Range<usize>,
    pub(crate) pipeline_depth: usize,
    writes: Arc<Writes>,
}

impl Connection {
    /// `lifetime_chance`, from 0 to 1, spreads the lifetimes of connections over a fifth.
    pub(crate) fn new(
        stream: Stream,
        facts: &Facts,
        settings: &Settings,
        reply_bytes: &Arc<Budget>,
        lifetime_chance: f64,
        writes: Arc<Writes>,
    ) -> Self {
        let now = Instant::now();
        let mut connection = Self {
            endpoint: settings.endpoint.clone(),
            stream,
            scanner: ReplyScanner::new(settings.reply_depth_max),
            read_buffer: vec![0; READ_BYTES].into_boxed_slice(),
            in_flight: InFlight::default(),
            state: Needs::default(),
            speaks_resp3: facts.speaks(Protocol::Resp3),
            known_dbs: vec![0],
            held: None,
            last_used: now,
            last_heard: now,
            renew_at: now + settings.lifetime.mul_f64(0.9 + lifetime_chance / 5.0),
            keepalive: settings.keepalive,
            leaving: false,
            room: Room::new(settings, reply_bytes),
            wait: Wait::default(),
            unread: 0..0,
            pipeline_depth: settings.pipeline_depth,
            writes,
        };
        connection.tune(settings, facts);
        connection
    }

    /// Where it leads.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Takes over what may change while the connection lives.
    pub(crate) fn tune(&mut self, settings: &Settings, facts: &Facts) {
        self.keepalive = settings.keepalive.min(facts.half_idle_timeout());
        self.room.job_max = settings.reply_bytes_max;
        self.room.all_max = settings.replies_bytes_max;
        self.pipeline_depth = settings.pipeline_depth;
    }

    /// Whether a further job may be given to it.
    pub(crate) fn has_room(&self) -> bool {
        !self.leaving
            && self.held.is_none()
            && self.in_flight.requests() < self.pipeline_depth
            && !self.in_flight.is_bulky(&self.scanner)
    }

    /// Replies due.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.requests()
    }

    /// Jobs that are not wholly written yet.
    pub(crate) fn unwritten(&self) -> usize {
        self.in_flight.unwritten()
    }

    /// Jobs that are written and not wholly answered.
    pub(crate) fn written(&self) -> usize {
        self.in_flight.written()
    }

    /// Nothing waits for anything.
    pub(crate) fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && self.held.is_none()
    }

    /// An error reply said that this is a replica now: the master is to be found elsewhere.
    pub(crate) fn is_stale(&self) -> bool {
        self.in_flight.saw_readonly()
    }

    /// Queues a job for writing, behind what brings the connection into the state it needs.
    pub(crate) fn submit(&mut self, job: Job, now: Instant) {
        let needs = job.burst().needs;
        if needs.protocol == Protocol::Resp3 && !self.speaks_resp3 {
            return job.fail(JobError::StateRefused("NOPROTO the upstream does not speak RESP3".into()));
        }
        self.touch(now);
        if needs.protocol != self.state.protocol {
            self.push_own(Purpose::Hello(needs.protocol), &["HELLO", &needs.protocol.version().to_string()]);
            self.state.protocol = needs.protocol;
        }
        if needs.db != self.state.db {
            let known = self.known_dbs.contains(&needs.db);
            let purpose = if known { Purpose::Select } else { Purpose::TrySelect };
            self.push_own(purpose, &["SELECT", &needs.db.to_string()]);
            let before = std::mem::replace(&mut self.state.db, needs.db);
            if !known {
                // Written behind a SELECT that fails, the job would run in another database.
                self.held = Some((job, before));
                return;
            }
        }
        self.push(job);
    }

    fn touch(&mut self, now: Instant) {
        self.last_used = now;
        if self.is_idle() {
            self.last_heard = self.last_used;
        }
    }

    fn push(&mut self, job: Job) {
        if job.burst().replies_due == 0 {
            job.finish();
        } else {
            self.in_flight.push_job(job);
        }
    }

    fn push_own(&mut self, purpose: Purpose, request: &[&str]) {
        let mut bytes = Vec::new();
        write_request(&mut bytes, request);
        self.in_flight.push_own(purpose, bytes);
    }

    /// Asks the upstream for a sign of life.
    pub(crate) fn ping(&mut self, now: Instant) {
        self.touch(now);
        self.push_own(Purpose::Ping, &["PING"]);
    }

    /// Writes what is queued, reads what has come and answers what is complete; returns when anything
    /// was read. Cancel-safe: nothing is lost between two calls.
    ///
    /// # Errors
    /// The connection is of no further use: [`fail`](Self::fail) it.
    pub(crate) async fn drive(&mut self) -> Result<(), Lost> {
        poll_fn(|cx| self.poll_drive(cx)).await
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        if self.in_flight.is_unbegun() && self.poll_read(cx)?.is_ready() {
            // The news may have been that it was closed while idle: nothing is lost then.
            return Poll::Ready(Ok(()));
        }
        // A write that fails is not the end yet: what the upstream said before it closed may hold
        // replies, and only the read tells.
        let written = self.in_flight.poll_write(&mut self.stream, cx, &self.writes);
        let read = self.poll_read(cx)?;
        if let Poll::Ready(Err(error)) = written {
            return Poll::Ready(Err(error.into()));
        }
        read.map(Ok)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Lost> {
        if self.in_flight.short().is_some() {
            return self.poll_room(cx);
        }
        let mut came = false;
        loop {
            let mut buffer = ReadBuf::new(&mut self.read_buffer);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Pending if came => return Ok(Poll::Ready(())),
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(result) => result?,
            }
            let bytes = buffer.filled().len();
            if bytes == 0 {
                return Err(Lost::Closed);
            }
            came = true;
            self.last_used = Instant::now();
            self.last_heard = self.last_used;
            self.unread = 0..bytes;
            self.distribute()?;
            if bytes < READ_BYTES || self.in_flight.short().is_some() {
                return Ok(Poll::Ready(()));
            }
        }
    }

    fn distribute(&mut self) -> Result<(), Lost> {
        let chunk = &self.read_buffer[self.unread.clone()];
        self.unread.start += self.in_flight.read(chunk, &mut self.scanner, &self.room)?;
        while let Some(answered) = self.in_flight.next_answered() {
            self.own_answered(answered)?;
        }
        Ok(())
    }

    /// Waits for room for the reply at hand, then goes on with what was read already.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Lost> {
        if let Some(short) = self.in_flight.short() {
            let Poll::Ready(share) = self.wait.poll(cx, short, &self.room) else { return Ok(Poll::Pending) };
            self.in_flight.settle(share, &self.room);
        }
        self.distribute()?;
        Ok(Poll::Ready(()))
    }

    fn own_answered(&mut self, answered: Answered) -> Result<(), Lost> {
        let refused = answered.reply.starts_with(b"-");
        match (answered.purpose, refused) {
            (Purpose::Ping, _) | (Purpose::Hello(_) | Purpose::Select, false) => {}
            (Purpose::Hello(_) | Purpose::Select, true) => return Err(Lost::StateRefused(answered.purpose)),
            (Purpose::TrySelect, _) => self.select_tried(&answered.reply, refused),
        }
        Ok(())
    }

    fn select_tried(&mut self, reply: &[u8], refused: bool) {
        let Some((job, before)) = self.held.take() else { return };
        if refused {
            self.state.db = before;
            let text = String::from_utf8_lossy(&reply[1..]);
            return job.fail(JobError::StateRefused(text.trim_end().into()));
        }
        if self.known_dbs.len() >= KNOWN_DBS_MAX {
            self.known_dbs.clear();
        }
        self.known_dbs.push(self.state.db);
        self.push(job);
    }

    /// Fails all that is in flight and closes.
    pub(crate) fn fail(mut self, lost: &Lost) {
        let reason: Arc<str> = lost.to_string().into();
        if let Some((job, _)) = self.held.take() {
            job.fail(JobError::ConnectionLost { reason: Arc::clone(&reason), sent: Sent::No });
        }
        self.in_flight.fail(&reason);
    }
}
