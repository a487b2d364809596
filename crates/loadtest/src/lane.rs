//! One connection of a load: fills it with requests as the pace says, writes a whole pipeline at
//! once, finds the replies, and makes the connection anew when it is lost or due for a change.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use resp::{ReplyError, ReplyKind, ReplyScanner, Value};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
    time::{Sleep, sleep},
};

use crate::{
    check::{Checker, Wrong},
    ledger::Counter,
    requests::{Awaited, Expected, Requests},
    shard::Shared,
    stream::Stream,
    tally::{Tally, as_nanos, nanoseconds},
    target::DEPTH_MAX,
};

/// The pause before the first attempt to connect again; doubled up to the longest.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(200);
/// The part of an error reply that is kept, in bytes.
const ERROR_BYTES_MAX: usize = 160;

/// What the lane waited for.
enum Event {
    Wrote,
    Read(usize),
    Arrival(Instant),
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
    number: u32,
    stream: Stream,
    requests: Requests,
    own_list: Vec<u8>,
    executed: Counter,
    /// Scheduled times, in an open loop.
    arrivals: Option<mpsc::Receiver<Instant>>,
    schedule_ended: bool,
    out: Vec<u8>,
    written: usize,
    awaited: VecDeque<Awaited>,
    /// Operations sent on this connection.
    carried: u64,
    /// Operations of which the last reply is due.
    under_way: usize,
    scanner: ReplyScanner,
    buffer: Vec<u8>,
    /// The beginning of a reply that has to be looked at.
    partial: Vec<u8>,
    /// A reply of the operation at hand was an error.
    failed: bool,
    /// Fires now and then and is set again by what `heard` says, so that a read costs no timer.
    watchdog: Pin<Box<Sleep>>,
    heard: Instant,
}

impl Lane {
    /// A lane on a connection that has just been made.
    pub fn new(shared: Arc<Shared>, number: u32, stream: Stream, arrivals: Option<mpsc::Receiver<Instant>>) -> Self {
        let load = &shared.load;
        let requests = Requests::new(load, number, shared.ledger.clone());
        // One read takes a whole burst of replies, as far as that is sensible.
        let room = load.pipeline.saturating_mul(load.sizes.max.saturating_add(64)).clamp(4 << 10, 64 << 10);
        Self {
            own_list: requests.own_list(),
            watchdog: Box::pin(sleep(load.reply_timeout)),
            requests,
            number,
            stream,
            executed: Counter::default(),
            arrivals,
            schedule_ended: false,
            out: Vec::new(),
            written: 0,
            awaited: VecDeque::new(),
            carried: 0,
            under_way: 0,
            scanner: ReplyScanner::new(DEPTH_MAX),
            buffer: vec![0; room],
            partial: Vec::new(),
            failed: false,
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
            if self.arrivals.is_none() && self.awaited.is_empty() {
                self.fill();
            }
            if self.awaited.is_empty() {
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
                Event::Arrival(at) => self.push(at, true),
                Event::ScheduleEnded => self.schedule_ended = true,
                Event::Silence => return Err(Loss::Silence(self.shared.load.reply_timeout)),
            }
        }
    }

    /// Prepares the next burst of a closed loop.
    fn fill(&mut self) {
        let wanted = self.wear_left().min(self.shared.load.pipeline as u64);
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
        if self.awaited.is_empty() {
            self.heard = Instant::now();
        }
        self.requests.push(&mut self.out, &mut self.awaited, since, measured);
        self.carried += 1;
        self.under_way += 1;
    }

    fn wear_left(&self) -> u64 {
        self.shared.load.reconnect_every.map_or(u64::MAX, |every| every.saturating_sub(self.carried))
    }

    fn is_worn(&self) -> bool {
        self.wear_left() == 0
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Event>> {
        // Arrivals that are due go out together.
        if self.under_way < self.shared.load.pipeline
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
            self.heard = Instant::now();
            return Poll::Ready(Ok(Event::Wrote));
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        if Pin::new(&mut self.stream).poll_read(cx, &mut buffer)?.is_ready() {
            return Poll::Ready(Ok(Event::Read(buffer.filled().len())));
        }
        loop {
            ready!(self.watchdog.as_mut().poll(cx));
            let limit = self.shared.load.reply_timeout;
            let silent = self.heard.elapsed();
            if silent >= limit && !self.awaited.is_empty() {
                return Poll::Ready(Ok(Event::Silence));
            }
            let next = if self.awaited.is_empty() { limit } else { limit - silent };
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
        let done = self.scan(&buffer[..length], now, &mut tally);
        self.buffer = buffer;
        done
    }

    fn scan(&mut self, mut chunk: &[u8], now: Instant, tally: &mut Tally) -> Result<(), Loss> {
        let verify = self.shared.ledger.is_some();
        while !chunk.is_empty() {
            let progress = self.scanner.scan(chunk)?;
            let (piece, rest) = chunk.split_at(progress.consumed);
            chunk = rest;
            let looked_at = verify || matches!(self.partial.first().or(piece.first()), Some(b'-' | b'!'));
            match progress.complete {
                Some(ReplyKind::Push) => self.partial.clear(),
                None if looked_at => self.partial.extend_from_slice(piece),
                None => {}
                Some(kind) if !looked_at => self.reply(kind, &[], now, tally),
                Some(kind) if self.partial.is_empty() => self.reply(kind, piece, now, tally),
                Some(kind) => {
                    let mut whole = std::mem::take(&mut self.partial);
                    whole.extend_from_slice(piece);
                    self.reply(kind, &whole, now, tally);
                    whole.clear();
                    self.partial = whole;
                }
            }
        }
        Ok(())
    }

    fn reply(&mut self, kind: ReplyKind, bytes: &[u8], now: Instant, tally: &mut Tally) {
        let Some(awaited) = self.awaited.pop_front() else {
            tally.record_wrong(Wrong::Surplus, || format!("connection {}: a reply that nobody asked for", self.number));
            return;
        };
        if kind == ReplyKind::Error {
            self.failed = true;
            let line = bytes.strip_prefix(b"-").unwrap_or(bytes);
            tally.record_error(String::from_utf8_lossy(&line[..line.len().min(ERROR_BYTES_MAX)]).trim_end());
            self.lose_track(&awaited.expected);
        } else if self.shared.ledger.is_some() {
            self.check(&awaited, bytes, tally);
        }
        if awaited.last {
            self.under_way -= 1;
            if !std::mem::take(&mut self.failed) && awaited.measured {
                tally.record(awaited.operation, now.saturating_duration_since(awaited.since));
            }
        }
    }

    fn check(&self, awaited: &Awaited, bytes: &[u8], tally: &mut Tally) {
        tally.verified += 1;
        let finding = match (self.checker(), Value::decode(&Bytes::copy_from_slice(bytes))) {
            (Some(checker), Ok((value, _))) => checker.check(&awaited.expected, &value),
            (None, _) => Ok(()),
            (Some(_), Err(error)) => Err((Wrong::Shape, error.to_string())),
        };
        if let Err((wrong, text)) = finding {
            tally.record_wrong(wrong, || format!("connection {}: {text}", self.number));
        }
    }

    fn checker(&self) -> Option<Checker<'_>> {
        self.shared.ledger.as_deref().map(|ledger| Checker {
            ledger,
            writer: self.number,
            own_list: &self.own_list,
            executed: &self.executed,
        })
    }

    fn lose_track(&self, expected: &Expected) {
        if let Some(checker) = self.checker() {
            checker.lose_track(expected);
        }
    }

    /// Counts a loss, and what was due on the connection.
    fn note(&mut self, loss: &Loss) {
        let shared = Arc::clone(&self.shared);
        let mut tally = shared.tally();
        for awaited in std::mem::take(&mut self.awaited) {
            self.lose_track(&awaited.expected);
            if matches!(loss, Loss::Silence(_)) {
                let number = self.number;
                tally.record_wrong(Wrong::Missing, || {
                    format!("connection {number}: {} was not answered: {loss}", awaited.operation.name())
                });
            } else if awaited.last {
                tally.unanswered += 1;
            }
        }
        tally.connections_lost += 1;
        tally.last_loss = Some(loss.to_string());
    }

    /// Connects again until it succeeds; false when the load is over before that.
    async fn reconnect(&mut self) -> bool {
        self.awaited.clear();
        self.out.clear();
        self.partial.clear();
        (self.written, self.carried, self.under_way, self.failed) = (0, 0, 0, false);
        self.scanner = ReplyScanner::new(DEPTH_MAX);
        self.shared.tally().connected -= 1;
        let mut pause = RETRY_PAUSE;
        while !self.shared.budget.is_stopped() {
            let begun = Instant::now();
            match self.shared.load.target.connect(self.shared.load.protocol, self.shared.load.connect_timeout).await {
                Ok(stream) => {
                    self.stream = stream;
                    let mut tally = self.shared.tally();
                    tally.connected += 1;
                    tally.reconnects += 1;
                    tally.connects.get_or_insert_with(nanoseconds).saturating_record(as_nanos(begun.elapsed()));
                    return true;
                }
                Err(error) => {
                    self.shared.tally().last_loss = Some(error.to_string());
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
        let mut tally = self.shared.tally();
        tally.unanswered += self.awaited.iter().filter(|awaited| awaited.last).count() as u64;
        tally.unsent += self.arrivals.as_ref().map_or(0, |arrivals| arrivals.len() as u64);
        tally.connected = tally.connected.saturating_sub(1);
    }
}
