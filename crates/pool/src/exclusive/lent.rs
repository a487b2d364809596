//! Exclusive connections: a bounded, elastic set beside the workers, for what cannot share a
//! connection. One is lent by value, given back clean, and closed when it is dropped instead. Borrowers
//! wait in the order in which they asked.
//!
//! Giving back takes no task and no waiting: the requests that clean a connection are written at once,
//! so that the upstream forgets what was watched or queued, and the next borrower reads their replies.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::BytesMut;
use resp::{Protocol, ReplyKind, ReplyScanner, write_request};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    Caller, Endpoint, Facts, JobError, Needs, Sent, Settings,
    bounds::reply_memory::{Held, Room},
    exclusive::permit::Place,
    stats::totals::Stats,
    upstream::{login::login, stream::Stream},
};

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// The connections that nobody borrows, and the right to borrow.
#[derive(Debug)]
pub(crate) struct Exclusives {
    permits: Arc<Semaphore>,
    max: AtomicUsize,
    /// Permits to withdraw as they come back, after `exclusive_max` was lowered.
    surplus: AtomicUsize,
    idle: Mutex<Vec<Idle>>,
    named: AtomicU64,
}

#[derive(Debug)]
struct Idle {
    line: Line,
    since: Instant,
    /// Replies to the requests that cleaned it, not read yet.
    owed: u32,
}

/// A connection with what has been read of it.
pub(crate) struct Line {
    stream: Stream,
    endpoint: Endpoint,
    name: String,
    /// As `CLIENT ID` of the upstream says it.
    upstream_id: Option<i64>,
    input: BytesMut,
    scanner: ReplyScanner,
    scanned: usize,
    renew_at: Instant,
    can_reset: bool,
}

impl fmt::Debug for Line {
    /// Not what was read of it, which is a client's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("name", &self.name).field("upstream_id", &self.upstream_id).finish_non_exhaustive()
    }
}

/// An exclusive connection, lent. Dropping it closes it.
#[derive(Debug)]
pub struct Lent {
    line: Line,
    place: Place,
    held: Held,
}

impl Exclusives {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(max)),
            max: AtomicUsize::new(max),
            surplus: AtomicUsize::new(0),
            idle: Mutex::default(),
            named: AtomicU64::new(0),
        }
    }

    /// Changes how many may be lent; what is lent already stays lent.
    pub(crate) fn set_max(&self, max: usize) {
        let before = self.max.swap(max, Ordering::AcqRel);
        if max >= before {
            let more = max - before;
            let kept = self
                .surplus
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |surplus| Some(surplus.saturating_sub(more)));
            self.permits.add_permits(more - more.min(kept.unwrap_or(0)));
        } else {
            let fewer = before - max;
            let withdrawn = self.permits.forget_permits(fewer);
            self.surplus.fetch_add(fewer - withdrawn, Ordering::AcqRel);
        }
    }

    /// Closes what nobody borrowed for too long, or all if `idle_max` is zero.
    pub(crate) fn prune(&self, idle_max: Duration) {
        let now = Instant::now();
        self.lock().retain(|idle| now < idle.since + idle_max && now < idle.line.renew_at);
    }

    /// Connections that are lent, and those that are idle.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let lent = self.max.load(Ordering::Acquire) + self.surplus.load(Ordering::Acquire);
        (lent.saturating_sub(self.permits.available_permits()), self.lock().len())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back one permit of those beyond a lowered `exclusive_max`; false if there are none.
    pub(crate) fn withdraw(&self) -> bool {
        self.surplus.fetch_update(Ordering::AcqRel, Ordering::Acquire, |surplus| surplus.checked_sub(1)).is_ok()
    }
}

impl Caller {
    /// Borrows an exclusive connection in the state that `needs` says, waiting at most `queue_timeout` for
    /// one to be free.
    ///
    /// # Errors
    /// None came free, or the upstream cannot be reached or refuses the state.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in line and closes what was being prepared.
    pub async fn lend(&self, needs: Needs) -> Result<Lent, JobError> {
        let started = Instant::now();
        self.waits(started.into());
        let lent = self.lend_since(started, needs).await;
        self.progress().ended();
        lent.inspect_err(|failure| self.stats().failure(failure))
    }

    async fn lend_since(&self, mut started: Instant, needs: Needs) -> Result<Lent, JobError> {
        let shared = self.shared();
        if !shared.health.is_open() {
            self.held_back(&mut started).await?;
        }
        let settings = shared.settings();
        let deadline = started + settings.queue_timeout;
        let acquire = Arc::clone(&shared.exclusives.permits).acquire_owned();
        let Ok(Ok(permit)) = timeout_at(deadline, acquire).await else {
            let max = shared.exclusives.max.load(Ordering::Acquire);
            return Err(JobError::ExclusiveTimeout { max, waited: settings.queue_timeout });
        };
        let place = Place::new(Arc::clone(shared), permit);
        loop {
            let idle = shared.exclusives.lock().pop();
            let (mut line, owed) = match idle {
                Some(idle) if !idle.line.endpoint.leads_where(&settings.endpoint) => continue,
                Some(idle) => (idle.line, idle.owed),
                None => (Line::open_exclusive(self, &settings).await?, 0),
            };
            match timeout(settings.connect_timeout, line.prepare(owed, needs)).await {
                Ok(Ok(())) => return Ok(Lent { line, place, held: Held::default() }),
                Ok(Err(Unprepared::Refused(text))) => return Err(JobError::StateRefused(text)),
                // It was closed while nobody looked; another may be good, and a new one will tell.
                Ok(Err(Unprepared::Io(_))) if owed > 0 => {}
                // It is silent, and so are the others; to find that out one by one would take too long.
                Err(_) if owed > 0 => shared.exclusives.prune(Duration::ZERO),
                Ok(Err(Unprepared::Io(error))) => return Err(lost(&error)),
                Err(_) => return Err(lost(&io::ErrorKind::TimedOut.into())),
            }
        }
    }
}

pub(crate) fn lost(error: &io::Error) -> JobError {
    JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::No }
}

/// Why a connection is not in the state it was to be brought into.
pub(crate) enum Unprepared {
    Refused(Arc<str>),
    Io(io::Error),
}

impl From<io::Error> for Unprepared {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Line {
    async fn open_exclusive(caller: &Caller, settings: &Settings) -> Result<Self, JobError> {
        let number = caller.shared().exclusives.named.fetch_add(1, Ordering::Relaxed) + 1;
        let (line, _) = Self::open(settings, format!("respool-exclusive-{number}")).await?;
        Stats::count(&caller.stats().exclusive_opened);
        Ok(line)
    }

    /// Connects and logs in, under `name`.
    pub(crate) async fn open(settings: &Settings, name: String) -> Result<(Self, Facts), JobError> {
        match login(&settings.endpoint, &name, settings.connect_timeout).await {
            Ok((stream, facts)) => {
                let line = Self {
                    stream,
                    endpoint: settings.endpoint.clone(),
                    name,
                    upstream_id: facts.id(),
                    input: BytesMut::new(),
                    scanner: ReplyScanner::new(settings.reply_depth_max),
                    scanned: 0,
                    renew_at: Instant::now() + settings.lifetime.mul_f64(0.9 + fastrand::f64() / 5.0),
                    can_reset: facts.can_reset(),
                };
                Ok((line, facts))
            }
            Err(error) => Err(JobError::UpstreamDown(error.to_string().into())),
        }
    }

    /// Where it leads.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) async fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        self.stream.write_all(requests).await
    }

    /// Reads what cleaning left behind and brings the connection into the state needed.
    pub(crate) async fn prepare(&mut self, owed: u32, needs: Needs) -> Result<(), Unprepared> {
        let mut requests = Vec::new();
        let mut wanted = owed;
        if needs.protocol == Protocol::Resp3 {
            write_request(&mut requests, &["HELLO", "3"]);
            wanted += 1;
        }
        if needs.db != 0 {
            write_request(&mut requests, &["SELECT", &needs.db.to_string()]);
            wanted += 1;
        }
        self.stream.write_all(&requests).await?;
        let mut reply = Vec::new();
        for index in 0..wanted {
            let kind = loop {
                reply.clear();
                let kind = poll_fn(|cx| self.poll_message(cx, &mut reply)).await?;
                // Messages for whoever had it before come until it was reset, and are nobody's now.
                let is_clean = index > 0 || owed == 0 || kind == ReplyKind::Error || reply == b"+RESET\r\n";
                if is_clean && kind != ReplyKind::Push {
                    break kind;
                }
            };
            if kind == ReplyKind::Error && index < owed {
                // Cleaning failed; that is nothing the borrower has to know of.
                return Err(io::Error::other("not clean").into());
            }
            if kind == ReplyKind::Error {
                let text = String::from_utf8_lossy(&reply[1..]);
                return Err(Unprepared::Refused(text.trim_end().into()));
            }
        }
        // Whatever else there is to read now is the news of its end.
        match self.poll_fill(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(()),
            Poll::Ready(_) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<ReplyKind>> {
        self.poll_message_within(cx, out, |_, _| Poll::Ready(Ok(())))
    }

    /// As `poll_message`; asks `room` before it reads further, with the bytes of the message as far as they are
    /// known.
    fn poll_message_within(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
        mut room: impl FnMut(&mut Context<'_>, usize) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<ReplyKind>> {
        loop {
            match self.scanner.scan(&self.input[self.scanned..]) {
                Ok(progress) => {
                    self.scanned += progress.consumed;
                    if let Some(kind) = progress.complete {
                        out.extend_from_slice(&self.input.split_to(self.scanned));
                        self.scanned = 0;
                        return Poll::Ready(Ok(kind));
                    }
                }
                Err(error) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
            }
            std::task::ready!(room(cx, self.input.len().saturating_add(self.scanner.bulk_left())))?;
            if std::task::ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes what cleans the connection; how many replies that owes, or `None` if it cannot be cleaned.
    fn clean(&mut self) -> Option<u32> {
        if !self.can_reset || !self.input.is_empty() {
            return None;
        }
        let mut requests = Vec::new();
        write_request(&mut requests, &["RESET"]);
        let mut owed = 2;
        if let Some(login) = self.endpoint.login() {
            write_request(&mut requests, &login);
            owed += 1;
        }
        write_request(&mut requests, &["CLIENT", "SETNAME", &self.name]);
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_write(&mut cx, &requests) {
            Poll::Ready(Ok(bytes)) if bytes == requests.len() => Some(owed),
            _ => None,
        }
    }
}

impl Lent {
    /// As `CLIENT ID` of the upstream says it.
    pub fn upstream_id(&self) -> Option<i64> {
        self.line.upstream_id
    }

    /// Writes requests, within `reply_timeout`.
    ///
    /// # Errors
    /// The connection broke, or the upstream takes nothing; drop it.
    pub async fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        let deadline = self.place.shared.settings.borrow().reply_timeout;
        timeout(deadline, self.line.send(requests)).await?
    }

    /// Appends the next whole reply or push message to `out`.
    ///
    /// # Errors
    /// The connection broke, or the message is larger than `reply_bytes_max` or than what is left of
    /// `replies_bytes_max`; drop it.
    pub fn poll_message(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<ReplyKind>> {
        let Self { line, place, held } = self;
        let shared = &place.shared;
        let before = out.len();
        line.poll_message_within(cx, out, |cx, bytes| {
            held.poll(cx, bytes, before, || Room::new(&shared.settings(), &shared.reply_bytes))
                .map_err(io::Error::other)
        })
    }

    /// Closes the connection, and with it those that nobody borrows: the upstream has become a replica, and they
    /// lead to it as well.
    pub fn discard_all(self) {
        self.place.shared.exclusives.prune(Duration::ZERO);
    }

    /// Gives the connection back, when all replies have been read. It is closed if it cannot be cleaned.
    pub fn give_back(self) {
        let Self { mut line, place, .. } = self;
        let settings = place.shared.settings();
        let now = Instant::now();
        if now < line.renew_at
            && line.endpoint.leads_where(&settings.endpoint)
            && let Some(owed) = line.clean()
        {
            place.shared.exclusives.lock().push(Idle { line, since: now, owed });
        }
    }
}
