//! One client's connection: owns the socket and everything that Redis would remember of a client.
//!
//! It waits for one thing at a time: input (or messages, or to be asked to end, or its idle time-out), the
//! answer to its one job, an exclusive connection, a subscription, or the client's taking of its replies;
//! each has its time-out. While it waits for an answer it does not read: the client feels it through TCP.
//! A client that has gone is noticed at the next read; what it had sent is executed before that.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use pool::{Alarm, Burst, Caller, JobError, REPLY_FREE_BYTES, Share};
use resp::{RequestLimits, write_error};
use settings::SessionSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    client::{
        input::{Bounds, Input, Stop},
        state::{ClientState, Doomed, Replies},
    },
    config::in_force::InForce,
    exclusive::lending::Lending,
    listener::threads::Seat,
    observe::{
        counts::Fault,
        registry::{Asked, Entry},
        spans,
    },
    pubsub::subscriber::Subscriber,
    session::{burst_size::Window, context::Context},
    wording::errors,
};

/// Buffers up to this size, in bytes, are kept from one burst to the next; larger ones are given back,
/// so that a quiet session is small.
const KEEP_BYTES: usize = 1024;

/// Replies beyond this, in bytes, are written before the next request is looked at.
const OUTPUT_BYTES: usize = 64 * 1024;

/// How long a new client may take to its first request before a drain closes it.
const FIRST_REQUEST: Duration = Duration::from_millis(200);

pub(crate) struct Session<S> {
    pub(crate) stream: S,
    pub(crate) context: Arc<Context>,
    pub(crate) settings: InForce,
    pub(crate) entry: Arc<Entry>,
    pub(crate) caller: Caller,
    pub(crate) state: ClientState,
    pub(crate) input: Input,
    /// What has been gathered and not been sent.
    pub(crate) burst: Burst,
    /// Replies not written yet.
    pub(crate) output: Vec<u8>,
    /// What they have of the memory for replies.
    room: Option<Share>,
    /// The exclusive connection, while there is one.
    pub(crate) lending: Option<Box<Lending>>,
    /// Its part in shared pub/sub, while it has one.
    pub(crate) subscriber: Option<Box<Subscriber>>,
    pub(crate) alarm: Alarm,
    window: Window,
    connected: Instant,
    /// Something has come of the client.
    has_come: bool,
    /// The client takes no replies any more; what it has sent is still executed.
    deaf: bool,
    _seat: Seat,
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        self.context.registry.leave(&self.entry);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) fn new(stream: S, context: Arc<Context>, entry: Arc<Entry>, caller: Caller, seat: Seat) -> Self {
        let settings = context.operator.follow();
        let authenticated = !settings.users.are_required();
        let state = ClientState::new(entry.id, settings.db, authenticated);
        let limits = RequestLimits { unauthenticated: !authenticated, ..settings.limits };
        let input = Input::new(limits, Arc::clone(&context.input_bytes), settings.input_bytes_max);
        Self {
            stream,
            entry,
            caller,
            state,
            input,
            burst: Burst::default(),
            output: Vec::new(),
            room: None,
            lending: None,
            subscriber: None,
            alarm: Alarm::default(),
            window: Window::new(),
            connected: Instant::now(),
            has_come: false,
            deaf: false,
            _seat: seat,
            settings,
            context,
        }
    }

    /// Serves the client until it, or the gateway, ends.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn would hold the session twice, and a client cost as much more"
    )]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> {
        async move { self.serve().await }
    }

    async fn serve(&mut self) {
        // A connection that broke has nobody left to tell.
        while let Ok(stop) = self.next_input().await {
            self.has_come = true;
            if self.burst.replies_due > 0 && !self.execute().await {
                break;
            }
            let go_on = match stop {
                Stop::Incomplete | Stop::Full => true,
                // Boxed, so that the rare paths do not make every session's task larger.
                Stop::Other(class) => Box::pin(self.other(class)).await,
                Stop::Malformed(error) => self.refuse(Fault::Protocol, &errors::request(&error)),
                Stop::OutOfMemory => {
                    let text = errors::input_full(self.settings.input_bytes_max);
                    self.refuse(Fault::InputFull, text.as_bytes())
                }
                Stop::End => false,
            };
            if !go_on {
                break;
            }
        }
        self.end_lending();
        self.subscriber = None;
        self.flush().await;
        // The client may be gone already.
        let _ = self.stream.shutdown().await;
    }

    fn bounds<'c>(&self, settings: &'c SessionSettings) -> Bounds<'c> {
        Bounds {
            requests: self.window.requests(settings.batch_max),
            bytes: settings.batch_bytes_max,
            transaction: settings.batch_max,
            embedded: settings.embedded,
            lent: self.lending.is_some(),
            singly: !self.state.authenticated
                || self.is_restricted()
                || self.state.doomed == Doomed::Yes
                || self.state.replies == Replies::SkipNext,
            denied: &settings.denied,
        }
    }

    /// Gathers a burst from what is there already or, once the replies are out, from what comes.
    async fn next_input(&mut self) -> io::Result<Stop> {
        if self.output.len() > OUTPUT_BYTES {
            // Replies to what is answered here gather while there is more of it.
            self.flush().await;
        }
        if self.entry.asked() == Asked::Kill {
            return Ok(Stop::End);
        }
        if self.settings.is_outdated() && !self.refresh() {
            return Ok(Stop::End);
        }
        let settings = self.settings.shared();
        let bounds = self.bounds(&settings);
        if self.input.is_midway() {
            let stop = self.input.gather(&mut self.burst, bounds);
            if stop != Stop::Incomplete || self.burst.replies_due > 0 {
                return Ok(stop);
            }
        }
        self.flush().await;
        let deadline = self.deadline();
        poll_fn(|cx| {
            if self.entry.asked() == Asked::Kill {
                return Poll::Ready(Ok(Stop::End));
            }
            // Before it drains, a session takes what has already come.
            if let Poll::Ready(read) = self.input.poll_read(&mut self.stream, cx, &mut self.burst, bounds) {
                return Poll::Ready(read);
            }
            if let Poll::Ready(pushed) = self.poll_pushes(cx) {
                // What is left of the input is looked at again after the pushes are out.
                return Poll::Ready(pushed.map(|()| Stop::Incomplete));
            }
            if self.deaf {
                // It takes no replies any more, and all that it had sent is executed.
                return Poll::Ready(Ok(Stop::End));
            }
            if self.entry.poll_asked(cx) != Asked::Nothing {
                // Whoever has only just come has a request on its way.
                if !self.has_come {
                    ready!(self.alarm.poll_until(cx, self.connected + FIRST_REQUEST));
                }
                return Poll::Ready(Ok(Stop::End));
            }
            if self.settings.is_outdated() {
                return Poll::Ready(Ok(Stop::Incomplete));
            }
            match deadline {
                Some(deadline) => self.alarm.poll_until(cx, deadline).map(|()| Ok(Stop::End)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Goes by new settings; false if they do not know the client's user any more.
    fn refresh(&mut self) -> bool {
        self.settings.refresh();
        self.input.set_bytes_max(self.settings.input_bytes_max);
        if self.state.authenticated {
            self.input.set_limits(self.settings.limits);
        }
        self.state.user.as_ref().is_none_or(|user| self.settings.users.has(user))
    }

    /// When a client that sends nothing is closed, if ever. Subscribers only listen, as in Redis.
    fn deadline(&self) -> Option<Instant> {
        let settings = &self.settings;
        if !self.state.authenticated {
            return Some(self.connected + settings.login_timeout);
        }
        let listens = self.is_subscribed_shared()
            || self.lending.as_ref().is_some_and(|lending| lending.is_subscribed() || lending.is_monitor());
        settings.idle_timeout.filter(|_| !listens).map(|timeout| Instant::now() + timeout)
    }

    /// Has the gathered burst executed; afterwards `output` has a reply to each of its requests. False to
    /// close the session.
    pub(crate) async fn execute(&mut self) -> bool {
        if self.lending.is_some() {
            let burst = std::mem::take(&mut self.burst);
            let go_on = Box::pin(self.run_burst_exclusively(burst)).await;
            self.flush().await;
            return go_on;
        }
        self.burst.needs = self.state.needs;
        let due = self.burst.replies_due;
        let expected = self.window.expected(due as usize);
        if expected > REPLY_FREE_BYTES {
            self.burst.room = self.room_for_replies(expected - REPLY_FREE_BYTES).await;
            if self.burst.room.is_none() {
                self.caller.count_refused(&self.burst);
                self.context.counts.fault(Fault::RepliesFull);
                let text = errors::replies_full(&self.settings);
                (0..due).for_each(|_| write_error(&mut self.output, &text));
                self.burst = Burst::default();
                return true;
            }
        }
        let result = match spans::job(self.entry.id, &self.burst) {
            None => self.caller.execute(&mut self.burst).await,
            Some(span) => Box::pin(spans::execute(&mut self.caller, &mut self.burst, span)).await,
        };
        self.answered(due, result.err());
        self.flush().await;
        self.room = None;
        true
    }

    /// Puts the replies to the burst, of which `due` were wanted, into `output`, and has the burst begin anew.
    fn answered(&mut self, due: u32, failure: Option<JobError>) {
        if self.caller.spent().total_us >= self.settings.slow_log.threshold_us {
            self.note_slow(&self.burst.requests, due, self.caller.spent());
        }
        let (burst, settings) = (&mut self.burst, &self.settings);
        let cost = match failure {
            // What they would have cost is not known, but that it was much.
            Some(JobError::RepliesFull(_)) => settings.batch_reply_bytes,
            _ => burst.replies.len(),
        };
        self.window.learn(due as usize, cost, settings.batch_reply_bytes, settings.batch_max);
        self.room = burst.room.take().filter(|_| burst.replies.len() > REPLY_FREE_BYTES);
        if let Some(failure) = failure {
            let text = errors::job(&failure, settings);
            (burst.replies_done..due).for_each(|_| write_error(&mut burst.replies, &text));
        }
        if self.state.is_muted() {
            burst.replies.clear();
        } else if self.output.is_empty() {
            std::mem::swap(&mut self.output, &mut burst.replies);
        } else {
            self.output.extend_from_slice(&burst.replies);
        }
        recycle(&mut burst.requests);
        recycle(&mut burst.replies);
        let (requests, replies) = (std::mem::take(&mut burst.requests), std::mem::take(&mut burst.replies));
        *burst = Burst { requests, replies, ..Burst::default() };
    }

    /// Waits until there is room for replies of `bytes` that clients have to read; `None` when that takes too
    /// long.
    async fn room_for_replies(&self, bytes: usize) -> Option<Share> {
        let (budget, settings) = (self.caller.reply_bytes(), &self.settings);
        match budget.try_take(bytes, settings.replies_bytes_max) {
            Some(share) => Some(share),
            None => {
                let share = budget.take(bytes, settings.replies_bytes_max);
                Box::pin(timeout(settings.queue_timeout, share)).await.ok()
            }
        }
    }

    /// Says why, to a client that wants replies, and closes.
    fn refuse(&mut self, fault: Fault, text: &[u8]) -> bool {
        self.context.counts.fault(fault);
        if !self.state.is_muted() {
            write_error(&mut self.output, text);
        }
        false
    }

    /// Writes all replies. Meanwhile it keeps what the client sends, up to a bound, because the client may
    /// read only when it has sent all. A client that takes nothing in time is not written to again.
    pub(crate) async fn flush(&mut self) {
        if self.output.is_empty() {
            return;
        }
        if !self.deaf
            && let Err(error) = self.write_output().await
        {
            self.deaf = true;
            if error.kind() == io::ErrorKind::TimedOut {
                self.context.counts.fault(Fault::ClientStuck);
                // It is there and takes nothing: what it still asks for is not fetched either.
                self.entry.ask(Asked::Kill);
            }
        }
        self.output.clear();
        recycle(&mut self.output);
    }

    async fn write_output(&mut self) -> io::Result<()> {
        let (mut written, mut share): (usize, Option<Share>) = (0, None);
        let settings = &self.settings;
        let mut deadline = None;
        poll_fn(|cx| {
            while written < self.output.len() {
                match Pin::new(&mut self.stream).poll_write(cx, &self.output[written..]) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(bytes)) => {
                        written += bytes;
                        deadline = None;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        share.get_or_insert_with(|| {
                            let counted = self.room.as_ref().map_or(0, Share::bytes);
                            self.caller.reply_bytes().charge(self.output.capacity().saturating_sub(counted))
                        });
                        let overrun = self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_overrun());
                        if self.entry.poll_asked(cx) == Asked::Kill || overrun {
                            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                        }
                        // Ends with the connection's last byte; the write will tell whether it broke.
                        let _ = self.input.poll_backlog(&mut self.stream, cx, settings.backlog_bytes_max);
                        let deadline = *deadline.get_or_insert_with(|| Instant::now() + settings.write_timeout);
                        ready!(self.alarm.poll_until(cx, deadline));
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// Makes a buffer ready for the next burst.
fn recycle(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEEP_BYTES {
        *buffer = Vec::new();
    }
}
