//! One client's connection: reads what it sends, has bursts of it executed by the pool, answers the
//! rest, writes replies in order. Owns the socket and everything that Redis would remember of a client.
//!
//! It waits for one thing at a time: for input (or to be asked to end, or its idle time-out), for the
//! answer to its one job (whose deadlines are the caller's), or for the client to take its replies
//! (with a time-out). While it waits for an answer it does not read: the client feels it through TCP.
//! A client that has gone away is noticed at the next read; what it had sent is executed before that.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
};

use pool::{Alarm, Burst, Caller, Share};
use resp::{Protocol, write_error, write_simple};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use crate::{
    answered_here::{self, After, Hello},
    command::Class,
    context::Context,
    error_text,
    input::{Bounds, Input, Stop},
    registry::{Asked, Entry},
    state::ClientState,
    window::Window,
};

/// Buffers up to this size, in bytes, are kept from one burst to the next; larger ones are given back,
/// so that a quiet session is small.
const KEEP_BYTES: usize = 1024;

pub(crate) struct Session<S> {
    stream: S,
    context: Arc<Context>,
    entry: Arc<Entry>,
    caller: Caller,
    state: ClientState,
    input: Input,
    /// What has been gathered and not been sent.
    burst: Burst,
    /// Replies not written yet.
    output: Vec<u8>,
    window: Window,
    alarm: Alarm,
    /// The client takes no replies any more; what it has sent is still executed.
    deaf: bool,
}

impl<S> Drop for Session<S> {
    fn drop(&mut self) {
        self.context.registry.leave(&self.entry);
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(crate) fn new(stream: S, context: Arc<Context>, entry: Arc<Entry>, caller: Caller) -> Self {
        let settings = &context.settings;
        let state = ClientState::new(entry.id, settings.db);
        let input = Input::new(settings.limits, Arc::clone(&context.input_bytes), settings.input_bytes_max);
        Self {
            stream,
            entry,
            caller,
            state,
            input,
            burst: Burst::default(),
            output: Vec::new(),
            window: Window::new(),
            alarm: Alarm::default(),
            deaf: false,
            context,
        }
    }

    /// Serves the client until it, or the gateway, ends.
    pub(crate) async fn run(mut self) {
        // A connection that broke has nobody left to tell.
        while let Ok(stop) = self.next_input().await {
            if self.burst.replies_due > 0 {
                self.execute().await;
            }
            let go_on = match stop {
                Stop::Incomplete | Stop::Full => true,
                Stop::Other(class) => self.other(class).await,
                Stop::Malformed(error) => self.refuse(&error_text::request(&error)),
                Stop::OutOfMemory => self.refuse(&error_text::input_full(self.context.settings.input_bytes_max)),
                Stop::End => false,
            };
            if !go_on {
                break;
            }
        }
        self.flush().await;
        // The client may be gone already.
        let _ = self.stream.shutdown().await;
    }

    fn bounds(&self) -> Bounds {
        let settings = &self.context.settings;
        Bounds {
            requests: self.window.requests(settings.batch_max),
            bytes: settings.batch_bytes_max,
            transaction: settings.batch_max,
            embedded: self.context.embedded,
        }
    }

    /// Gathers a burst from what is there already or, once the replies are out, from what comes.
    async fn next_input(&mut self) -> io::Result<Stop> {
        let bounds = self.bounds();
        if self.input.is_midway() {
            let stop = self.input.gather(&mut self.burst, bounds);
            if stop != Stop::Incomplete || self.burst.replies_due > 0 {
                return Ok(stop);
            }
        }
        self.flush().await;
        let idle_deadline = self.context.settings.idle_timeout.map(|timeout| Instant::now() + timeout);
        poll_fn(|cx| {
            if self.entry.asked() == Asked::Kill {
                return Poll::Ready(Ok(Stop::End));
            }
            // Before it drains, a session takes what has already come.
            if let Poll::Ready(read) = self.input.poll_read(&mut self.stream, cx, &mut self.burst, bounds) {
                return Poll::Ready(read);
            }
            if self.entry.poll_asked(cx) != Asked::Nothing {
                return Poll::Ready(Ok(Stop::End));
            }
            match idle_deadline {
                Some(deadline) => self.alarm.poll_until(cx, deadline).map(|()| Ok(Stop::End)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Has the gathered burst executed; afterwards `output` has a reply to each of its requests.
    async fn execute(&mut self) {
        let mut burst = std::mem::take(&mut self.burst);
        burst.needs = self.state.needs;
        let due = burst.replies_due;
        if !self.room_for_replies().await {
            let text = error_text::replies_full(&self.context);
            (0..due).for_each(|_| write_error(&mut self.output, &text));
            return;
        }
        let answer = self.caller.call(burst).await;
        let mut burst = answer.burst;
        let settings = &self.context.settings;
        self.window.learn(due as usize, burst.replies.len(), settings.batch_reply_bytes, settings.batch_max);
        if let Some(failure) = answer.failure {
            let text = error_text::job(&failure, &self.context);
            (burst.replies_done..due).for_each(|_| write_error(&mut burst.replies, &text));
        }
        if self.output.is_empty() {
            std::mem::swap(&mut self.output, &mut burst.replies);
        } else {
            self.output.extend_from_slice(&burst.replies);
        }
        recycle(&mut burst.requests);
        recycle(&mut burst.replies);
        self.burst = Burst { requests: burst.requests, replies: burst.replies, ..Burst::default() };
        self.flush().await;
    }

    /// Waits while clients have too many replies to read; false when that takes too long.
    async fn room_for_replies(&self) -> bool {
        let (budget, settings) = (&self.context.reply_bytes, &self.context.settings);
        budget.used() <= settings.replies_bytes_max
            || timeout(settings.queue_timeout, budget.take(0, settings.replies_bytes_max)).await.is_ok()
    }

    /// Deals with the request that did not go with the burst; false to close.
    async fn other(&mut self, class: Class) -> bool {
        let (state, output) = (&mut self.state, &mut self.output);
        let taken = self.input.take_other(|request| match class {
            Class::Here(here) => answered_here::answer(here, request, state, output),
            Class::Exec => {
                write_error(output, "ERR EXEC without MULTI");
                After::Answered
            }
            Class::Multi | Class::Exclusive(_) => {
                write_error(
                    output,
                    &error_text::refused("this command needs an exclusive connection, which is not supported yet"),
                );
                After::Answered
            }
            Class::Refused(reason) => {
                write_error(output, &error_text::refused(reason));
                After::Answered
            }
            Class::Attack | Class::Plain { .. } => After::Close,
        });
        match taken {
            Ok(Some(After::Answered)) => true,
            Ok(Some(After::Select(db))) => self.select(db).await,
            Ok(Some(After::Hello(hello))) => self.hello(hello).await,
            Ok(Some(After::Close) | None) | Err(_) => false,
        }
    }

    /// Enters a database once the upstream has said that it exists.
    async fn select(&mut self, db: u32) -> bool {
        let mut burst = Burst { needs: self.state.needs, ..Burst::default() };
        burst.needs.db = db;
        match self.caller.call(burst).await.failure {
            None => {
                self.state.needs.db = db;
                write_simple(&mut self.output, "OK");
            }
            Some(failure) => write_error(&mut self.output, &error_text::job(&failure, &self.context)),
        }
        true
    }

    /// Answers `HELLO` as the upstream answered it, with the client's own id.
    async fn hello(&mut self, hello: Hello) -> bool {
        if self.caller.facts().hello(Protocol::Resp2, 0).is_none() {
            // Nobody has logged in yet, unless the upstream knows no HELLO: an empty job waits for that.
            let burst = Burst { needs: self.state.needs, ..Burst::default() };
            if let Some(failure) = self.caller.call(burst).await.failure {
                write_error(&mut self.output, &error_text::job(&failure, &self.context));
                return true;
            }
        }
        let facts = self.caller.facts();
        let protocol = hello.protocol.unwrap_or(self.state.needs.protocol);
        if !facts.speaks(protocol) {
            write_error(&mut self.output, "NOPROTO unsupported protocol version");
            return true;
        }
        self.state.needs.protocol = protocol;
        if let Some(name) = hello.name {
            self.state.name = name;
        }
        match facts.hello(protocol, self.state.id) {
            Some(reply) => self.output.extend_from_slice(&reply),
            None => answered_here::plain_hello(self.state.id, &mut self.output),
        }
        true
    }

    /// Says why and closes.
    fn refuse(&mut self, text: &str) -> bool {
        write_error(&mut self.output, text);
        false
    }

    /// Writes all replies. Meanwhile it keeps what the client sends, up to a bound, because the client may
    /// read only when it has sent all. A client that takes nothing in time is not written to again.
    async fn flush(&mut self) {
        if self.output.is_empty() {
            return;
        }
        if !self.deaf && self.write_output().await.is_err() {
            self.deaf = true;
        }
        self.output.clear();
        recycle(&mut self.output);
    }

    async fn write_output(&mut self) -> io::Result<()> {
        let (mut written, mut share): (usize, Option<Share>) = (0, None);
        let settings = &self.context.settings;
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
                        share.get_or_insert_with(|| self.context.reply_bytes.charge(self.output.capacity()));
                        if self.entry.poll_asked(cx) == Asked::Kill {
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
