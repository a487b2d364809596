//! One connection of a load: fills it with requests as the pace says, writes a whole pipeline at
//! once, finds the replies, and makes the connection anew when it is lost or due for a change.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use resp::ReplyError;
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::{Sleep, sleep},
};

use crate::{
    drive::{pacer::Arrival, shared::Shared},
    measure::tally::{as_nanos, nanoseconds},
    target::stream::Stream,
    traffic::{replies::Replies, requests::Requests},
};

/// What a client that refills its pipeline reads at a time, in bytes: as libevent does, on which `memtier_benchmark`
/// is built.
const REFILL_READ_BYTES: usize = 4 << 10;

/// The pause before the first attempt to connect again; doubled up to the longest.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(200);

/// What the lane waited for.
enum Event {
    Wrote,
    Read(usize),
    Arrival(Arrival),
    ScheduleEnded,
    Silence,
}

/// Why a conversation ended well.
enum Pause {
    /// There is nothing more to send.
    Finished,
    /// The connection has carried as many operations as it may.
    Worn,
}

/// Why a connection was lost.
#[derive(Debug, Error)]
enum Loss {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("closed by the target")]
    Closed,
    #[error("{0}")]
    Framing(#[from] ReplyError),
    #[error("no reply within {0:?}")]
    Silence(Duration),
}

/// One connection with everything it needs.
pub struct Lane {
    shared: Arc<Shared>,
    stream: Stream,
    requests: Requests,
    replies: Replies,
    /// Scheduled times, in an open loop.
    arrivals: Option<mpsc::Receiver<Arrival>>,
    schedule_ended: bool,
    out: Vec<u8>,
    written: usize,
    /// What was written may still be kept back by TLS.
    unflushed: bool,
    /// Operations sent on this connection.
    carried: u64,
    buffer: Vec<u8>,
    /// Fires now and then and is set again by what `heard` says, so that a read costs no timer.
    watchdog: Pin<Box<Sleep>>,
    heard: Instant,
}

impl Lane {
    /// A lane on a connection that has just been made.
    pub fn new(shared: Arc<Shared>, number: u32, stream: Stream, arrivals: Option<mpsc::Receiver<Arrival>>) -> Self {
        let load = &shared.load;
        let requests = Requests::new(load, number, shared.ledger.clone());
        // One read takes a whole burst of replies, as far as that is sensible.
        let whole = load.pipeline.saturating_mul(load.sizes.max.saturating_add(64)).clamp(4 << 10, 64 << 10);
        let room = if load.refill { REFILL_READ_BYTES } else { whole };
        Self {
            replies: Replies::new(number, requests.own_list(), shared.ledger.clone()),
            watchdog: Box::pin(sleep(load.reply_timeout)),
            requests,
            stream,
            arrivals,
            schedule_ended: false,
            out: Vec::new(),
            written: 0,
            unflushed: false,
            carried: 0,
            buffer: vec![0; room],
            heard: Instant::now(),
            shared,
        }
    }

    /// Converses until there is nothing more to send and every reply is there.
    pub async fn run(mut self) {
        loop {
            match self.converse().await {
                Ok(Pause::Finished) => return,
                Ok(Pause::Worn) => {}
                Err(loss) => self.note(&loss),
            }
            if !self.reconnect().await {
                return;
            }
        }
    }

    async fn converse(&mut self) -> Result<Pause, Loss> {
        loop {
            if self.arrivals.is_none() && self.may_fill() {
                self.fill();
            }
            if self.replies.is_empty() {
                if self.is_worn() && !self.shared.budget.is_stopped() {
                    return Ok(Pause::Worn);
                }
                if self.arrivals.is_none() || self.schedule_ended || self.shared.budget.is_stopped() {
                    return Ok(Pause::Finished);
                }
            }
            match poll_fn(|cx| self.poll_event(cx)).await? {
                Event::Wrote => {}
                Event::Read(0) => return Err(Loss::Closed),
                Event::Read(length) => self.receive(length)?,
                Event::Arrival(arrival) => self.push(arrival.at, arrival.measured),
                Event::ScheduleEnded => self.schedule_ended = true,
                Event::Silence => return Err(Loss::Silence(self.shared.load.reply_timeout)),
            }
        }
    }

    /// Whether a closed loop sends more now.
    fn may_fill(&self) -> bool {
        let is_written = self.written == self.out.len();
        self.replies.is_empty() || (self.shared.load.refill && is_written && self.room() > 0)
    }

    /// How many more operations may be on their way.
    fn room(&self) -> u64 {
        (self.shared.load.pipeline as u64).saturating_sub(self.carried - self.replies.answered())
    }

    /// Prepares the next burst of a closed loop.
    fn fill(&mut self) {
        let wanted = self.wear_left().min(self.room());
        let grant = self.shared.budget.take(wanted);
        if grant.count > 0 {
            let now = Instant::now();
            for _ in 0..grant.count {
                self.push(now, grant.measured);
            }
        }
    }

    fn push(&mut self, since: Instant, measured: bool) {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        if self.replies.is_empty() {
            self.heard = Instant::now();
        }
        self.requests.push(&mut self.out, self.replies.due(), since, measured);
        self.carried += 1;
    }

    fn wear_left(&self) -> u64 {
        self.shared.load.reconnect_every.map_or(u64::MAX, |every| every.saturating_sub(self.carried))
    }

    fn is_worn(&self) -> bool {
        self.wear_left() == 0
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        // Arrivals that are due go out together.
        if self.room() > 0
            && !self.is_worn()
            && !self.schedule_ended
            && let Some(arrivals) = &mut self.arrivals
            && !self.shared.budget.is_stopped()
            && let Poll::Ready(arrival) = arrivals.poll_recv(cx)
        {
            return Poll::Ready(Ok(arrival.map_or(Event::ScheduleEnded, Event::Arrival)));
        }
        if self.written < self.out.len()
            && let Poll::Ready(length) = Pin::new(&mut self.stream).poll_write(cx, &self.out[self.written..])?
        {
            if length == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += length;
            self.unflushed = true;
            self.heard = Instant::now();
            return Poll::Ready(Ok(Event::Wrote));
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        if Pin::new(&mut self.stream).poll_read(cx, &mut buffer)?.is_ready() {
            return Poll::Ready(Ok(Event::Read(buffer.filled().len())));
        }
        loop {
            ready!(self.watchdog.as_mut().poll(cx));
            let limit = self.shared.load.reply_timeout;
            let silent = self.heard.elapsed();
            if silent >= limit && !self.replies.is_empty() {
                return Poll::Ready(Ok(Event::Silence));
            }
            let next = if self.replies.is_empty() { limit } else { limit - silent };
            self.watchdog.as_mut().reset((Instant::now() + next).into());
        }
    }

    fn receive(&mut self, length: usize) -> Result<(), Loss> {
        let now = Instant::now();
        self.heard = now;
        let shared = Arc::clone(&self.shared);
        let mut tally = shared.tally();
        tally.bytes_received += length as u64;
        tally.last_reply = Some(now);
        let buffer = std::mem::take(&mut self.buffer);
        let done = self.replies.take(&buffer[..length], now, &mut tally);
        self.buffer = buffer;
        Ok(done?)
    }

    /// Counts a loss, and what was due on the connection.
    fn note(&mut self, loss: &Loss) {
        let shared = Arc::clone(&self.shared);
        let mut tally = shared.tally();
        match loss {
            Loss::Silence(limit) => self.replies.miss(*limit, &mut tally),
            Loss::Io(_) | Loss::Closed | Loss::Framing(_) => self.replies.give_up(&mut tally),
        }
        tally.counts.connections_lost += 1;
        tally.counts.last_loss = Some(loss.to_string());
    }

    /// Connects again until it succeeds; false when the load is over before that.
    async fn reconnect(&mut self) -> bool {
        self.replies.restart();
        self.out.clear();
        (self.written, self.unflushed, self.carried) = (0, false, 0);
        self.shared.tally().connected -= 1;
        let mut pause = RETRY_PAUSE;
        while !self.shared.budget.is_stopped() {
            let begun = Instant::now();
            match self.shared.load.target.connect(self.shared.load.protocol, self.shared.load.connect_timeout).await {
                Ok(stream) => {
                    self.stream = stream;
                    let mut tally = self.shared.tally();
                    tally.connected += 1;
                    tally.counts.reconnects += 1;
                    tally.connects.get_or_insert_with(nanoseconds).saturating_record(as_nanos(begun.elapsed()));
                    return true;
                }
                Err(error) => {
                    self.shared.tally().counts.last_loss = Some(error.to_string());
                    sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
            }
        }
        // The count at the end takes one away for every lane.
        self.shared.tally().connected += 1;
        false
    }
}

/// What is due when a lane ends, however it ends, is counted.
impl Drop for Lane {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut tally = shared.tally();
        self.replies.give_up(&mut tally);
        tally.counts.unsent += self.arrivals.as_ref().map_or(0, |arrivals| arrivals.len() as u64);
        tally.connected = tally.connected.saturating_sub(1);
    }
}
