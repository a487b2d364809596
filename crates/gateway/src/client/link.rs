//! The wire to a client: its stream, what it has sent, and the replies that it has not taken yet. Whoever serves the
//! client writes to it here, and is told here when the client has gone or has to go.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use cluster::LentRoutes;
use pool::{Alarm, Budget, Burst, JobError, REPLY_FREE_BYTES, Share};
use resp::{Request, RequestError, RequestLimits, write_error};
use settings::SessionSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout},
};

use crate::{
    client::{
        gather::{Bounds, Stop},
        input::{Input, Sender},
    },
    command::errors,
    observe::{
        presence::Presence,
        published::Published,
        registry::{Asked, Entry},
    },
};

/// Buffers up to this size, in bytes, are kept from one burst to the next; larger ones are given back,
/// so that a quiet session is small.
const KEEP_BYTES: usize = 1024;

/// Replies beyond this, in bytes, are written before the next request is looked at.
const OUTPUT_BYTES: usize = 64 * 1024;

/// See the module's documentation. Its fields stand in memory as they do here: see [`Session`](crate::session::session).
#[repr(C)]
pub(crate) struct Link<S> {
    /// How many bytes wait in the system to be read of the stream.
    bytes_waiting: fn(&S) -> usize,
    /// The memory for replies of all clients.
    pub(super) reply_memory: Arc<Budget>,
    pub(super) alarm: Alarm,
    input: Input,
    pub(super) stream: S,
    pub(super) presence: Presence,
    /// Replies that are not written yet.
    pub(super) output: Vec<u8>,
    /// What the replies have of the memory for replies.
    pub(super) share: Option<Box<Share>>,
    /// Until when the client has to have logged in, if it still has to.
    login_until: Option<Box<Instant>>,
    /// The client takes no replies any more; what it has sent is still executed.
    pub(super) deaf: bool,
    /// Nobody has asked for what is not written yet.
    pub(super) unasked: bool,
}

impl<S> Link<S> {
    /// Takes note of whether what is to be written is nothing but what nobody has asked for: messages, and what is shown to
    /// a monitor. A drain does not wait for a client to take that.
    pub(crate) fn set_unasked(&mut self, unasked: bool) {
        self.unasked = unasked;
    }

    /// The replies to come, to be appended to.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// How many bytes the client has sent that are not dealt with.
    pub(crate) fn unread(&self) -> usize {
        self.input.unread()
    }

    /// How many bytes of replies wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.output.len()
    }

    /// Whether replies are to be written before there are more.
    pub(crate) fn is_full(&self) -> bool {
        self.output.len() > OUTPUT_BYTES
    }

    /// Moves the replies to a burst into the output, and makes their buffer ready for the next burst.
    pub(crate) fn take_replies(&mut self, replies: &mut Vec<u8>) {
        if self.output.is_empty() {
            std::mem::swap(&mut self.output, replies);
        } else {
            self.output.extend_from_slice(replies);
        }
        recycle(replies);
    }

    /// Says why each of `due` requests has failed, here and in the log.
    pub(crate) fn fail(&mut self, failure: &JobError, due: u32, upstream: &str) {
        self.published().failed(failure, due, self.entry().address());
        self.write_errors(due, &errors::job(failure, upstream));
    }

    /// The same error as the reply to each of `due` requests.
    pub(crate) fn write_errors(&mut self, due: u32, text: &str) {
        (0..due).for_each(|_| write_error(&mut self.output, text));
    }

    /// Has replies counted by `share` until it is replaced.
    pub(crate) fn count_replies_by(&mut self, share: Option<Box<Share>>) {
        self.share = share;
    }

    /// Waits until there is room for replies of `bytes` that clients have to read; `None` when that takes too long.
    pub(crate) fn room_for_replies(
        &self,
        bytes: usize,
        settings: &SessionSettings,
    ) -> impl Future<Output = Option<Share>> + use<S> {
        let (memory, max, patience) = (&self.reply_memory, settings.replies_bytes_max, settings.queue_timeout);
        let beyond = bytes.saturating_sub(REPLY_FREE_BYTES);
        let at_once = if beyond == 0 { Some(memory.charge(0)) } else { memory.try_take(beyond, max) };
        let wait = at_once.is_none().then(|| {
            let memory = Arc::clone(memory);
            Box::pin(async move { timeout(patience, memory.take(beyond, max)).await.ok() })
        });
        async move {
            match wait {
                Some(wait) => wait.await,
                None => at_once,
            }
        }
    }

    /// The client as others see it.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        self.presence.shared()
    }

    /// Where those look who look on.
    pub(crate) fn published(&self) -> &Arc<Published> {
        self.presence.published()
    }

    /// What the client's session is asked to do. Its task is woken when that changes.
    pub(crate) fn poll_asked(&self, cx: &mut Context<'_>) -> Asked {
        self.presence.poll_asked(cx)
    }

    /// Until when the client waits for room for what it sends, if it does; see [`Input::waits_until`].
    pub(crate) fn waits_for_room_until(&self, patience: Duration) -> Option<Instant> {
        self.input.waits_until(patience)
    }

    /// Whether the client is to claim room once more now that it has waited.
    pub(crate) fn insist_on_room(&mut self) -> bool {
        self.input.insist()
    }

    /// Ready once `deadline` has passed.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        self.alarm.poll_until(cx, deadline)
    }

    /// Whether the client takes no replies any more.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// The client has logged in, or need not, and its requests have these bounds.
    pub(crate) fn admit(&mut self, limits: RequestLimits) {
        self.login_until = None;
        self.input.set_limits(limits);
    }

    /// The client has to log in until `until`. Before that its requests are small, and none is read ahead.
    pub(crate) fn restrict(&mut self, limits: RequestLimits, until: Instant) {
        self.login_until = Some(Box::new(until));
        self.input.set_limits(RequestLimits { unauthenticated: true, ..limits });
    }

    /// The client has not logged in, and its time for that is over.
    pub(crate) fn is_login_over(&self) -> bool {
        self.login_until().is_some_and(|until| Instant::now() >= until)
    }

    /// Until when the client has to have logged in, if it still has to.
    pub(crate) fn login_until(&self) -> Option<Instant> {
        self.login_until.as_deref().copied()
    }

    /// Has only that be read which waits in the system at the first call, and nothing after `until`.
    pub(crate) fn read_last(&mut self, until: Instant) {
        if Instant::now() >= until {
            self.input.read_last(0);
        } else if !self.input.is_bounded() {
            self.input.read_last((self.bytes_waiting)(&self.stream));
        }
    }

    /// Counts `bytes` of requests that have been read and wait for the end of their transaction.
    pub(crate) fn count_queued(&mut self, bytes: usize) {
        self.input.count_queued(bytes, &self.presence);
    }

    /// Gathers what is there of a request that has been begun; otherwise see [`Input::gather`].
    pub(crate) fn gather(&mut self, burst: &mut Burst, bounds: Bounds<'_>) -> Stop {
        if self.unread() == 0 {
            return Stop::Incomplete;
        }
        let sender = Sender { presence: &self.presence, is_stranger: self.login_until.is_some() };
        self.input.gather(burst, bounds, sender)
    }

    /// See [`Input::routes`].
    pub(crate) fn routes(&mut self) -> &mut Option<LentRoutes> {
        self.input.routes()
    }

    /// Whether there is room to read more into a burst that could go as it is.
    pub(crate) fn may_gather_on(&mut self, burst: &Burst, bounds: Bounds<'_>) -> bool {
        self.input.may_gather_on(burst, bounds, &self.presence)
    }

    /// See [`Input::look_at_other`].
    pub(crate) fn look_at_request<T>(&mut self, look: impl FnOnce(&Request<'_>) -> T) -> Option<T> {
        self.input.look_at_other(look)
    }

    /// Hands the request at which gathering stopped to `read`, which may reply to it, and takes it off the input.
    /// `None` if there is none. One that `holds_login` is wiped then.
    pub(crate) fn take_request<T>(
        &mut self,
        holds_login: bool,
        read: impl FnOnce(&Request<'_>, &Entry, &mut Vec<u8>) -> T,
    ) -> Result<Option<T>, RequestError> {
        let Self { input, output, presence, .. } = self;
        input.take_other(holds_login, |request| read(request, presence, output))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// A client at the other end of `stream`; `bytes_waiting` says how much waits in the system to be read of it.
    pub(crate) fn new(
        stream: S,
        bytes_waiting: fn(&S) -> usize,
        limits: RequestLimits,
        reply_memory: Arc<Budget>,
        presence: Presence,
    ) -> Self {
        let input = Input::new(limits);
        Self {
            stream,
            bytes_waiting,
            input,
            output: Vec::new(),
            share: None,
            reply_memory,
            presence,
            alarm: Alarm::default(),
            deaf: false,
            unasked: false,
            login_until: None,
        }
    }

    /// Reads once and gathers; see [`Input::poll_read`].
    pub(crate) fn poll_requests(
        &mut self,
        cx: &mut Context<'_>,
        burst: &mut Burst,
        bounds: Bounds<'_>,
    ) -> Poll<io::Result<Stop>> {
        let sender = Sender { presence: &self.presence, is_stranger: self.login_until.is_some() };
        self.input.poll_read(&mut self.stream, cx, burst, bounds, sender)
    }

    /// Keeps what the client sends while it is not served. Ready once the client has gone.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>, settings: &SessionSettings) -> Poll<()> {
        if self.login_until.is_some() {
            return Poll::Pending;
        }
        self.input.poll_backlog(&mut self.stream, cx, settings, &self.presence)
    }
}

/// Makes a buffer ready for the next burst.
pub(crate) fn recycle(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEEP_BYTES {
        *buffer = Vec::new();
    }
}
