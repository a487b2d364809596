//! How replies go out to a client, and what becomes of one that does not take them.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pool::Share;
use settings::SessionSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    client::link::{Link, recycle},
    observe::{counts::Fault, registry::Asked},
};

/// Replies that the client does not take at once. Few clients have any, and all have room for them.
struct Stuck {
    /// Bytes that it has taken.
    written: usize,
    /// What they have of the memory for replies.
    _kept: Share,
    /// When it has taken nothing for too long.
    until: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Link<S> {
    /// Writes all replies. Meanwhile it keeps what the client sends, up to a bound, because the client may
    /// read only when it has sent all. A client that takes nothing in time is not written to again, nor is one
    /// that `is_overrun`, nor one that has had its time to log in.
    #[allow(clippy::manual_async_fn, reason = "an async fn would hold what it is given twice")]
    pub(crate) fn flush(
        &mut self,
        settings: &SessionSettings,
        is_overrun: impl Fn() -> bool,
    ) -> impl Future<Output = ()> {
        async move {
            if self.output.is_empty() {
                return;
            }
            let mut stuck = None;
            if !self.deaf
                && let Err(error) = poll_fn(|cx| self.poll_out(cx, &mut stuck, settings, &is_overrun)).await
            {
                self.deaf = true;
                if error.kind() == io::ErrorKind::TimedOut {
                    self.give_up();
                }
            }
            recycle(&mut self.output);
            self.unasked = false;
        }
    }

    /// Writes what the stream takes of the replies now; ready once there is nothing left to be written. A client whose
    /// connection broke is not written to again.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.deaf && !self.output.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.output)) {
                Ok(bytes) if bytes > 0 => {
                    self.presence.published().counts.bytes_written.add(bytes);
                    self.output.drain(..bytes);
                }
                Ok(_) | Err(_) => self.deaf = true,
            }
        }
        self.output.clear();
        if !self.deaf && ready!(Pin::new(&mut self.stream).poll_flush(cx)).is_err() {
            self.deaf = true;
        }
        Poll::Ready(())
    }

    /// Writes the replies; `stuck` as long as the client does not take them.
    fn poll_out(
        &mut self,
        cx: &mut Context<'_>,
        stuck: &mut Option<Box<Stuck>>,
        settings: &SessionSettings,
        is_overrun: &impl Fn() -> bool,
    ) -> Poll<io::Result<()>> {
        let mut written = stuck.as_ref().map_or(0, |stuck| stuck.written);
        loop {
            let stream = Pin::new(&mut self.stream);
            let is_out = written == self.output.len();
            // A stream by TLS may have encrypted what the system did not take yet.
            let progress = if is_out {
                stream.poll_flush(cx).map_ok(|()| 0)
            } else {
                stream.poll_write(cx, &self.output[written..])
            };
            match progress {
                Poll::Ready(Ok(_)) if is_out => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(bytes)) => {
                    self.presence.published().counts.bytes_written.add(bytes);
                    written += bytes;
                    if let Some(stuck) = stuck {
                        (stuck.written, stuck.until) = (written, None);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    let stuck = stuck.get_or_insert_with(|| {
                        let counted = self.share.as_ref().map_or(0, |share| share.bytes());
                        let kept = self.reply_memory.charge(self.output.capacity().saturating_sub(counted));
                        Box::new(Stuck { written, _kept: kept, until: None })
                    });
                    let asked = self.presence.poll_asked(cx);
                    if asked.ends() || is_overrun() {
                        return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
                    }
                    // Ends with the connection's last byte; the write will tell whether it broke.
                    let _ = self.poll_gone(cx, settings);
                    let until = *stuck.until.get_or_insert_with(|| Instant::now() + settings.write_timeout);
                    let until = self.login_until().map_or(until, |login| login.min(until));
                    let drains = asked == Asked::Drain && self.unasked;
                    let ends = drains.then(|| self.published().registry.reads_until()).flatten();
                    let (until, why) = match ends {
                        Some(ends) if ends < until => (ends, io::ErrorKind::ConnectionAborted),
                        _ => (until, io::ErrorKind::TimedOut),
                    };
                    ready!(self.alarm.poll_until(cx, until));
                    return Poll::Ready(Err(why.into()));
                }
            }
        }
    }

    /// The client is there and takes nothing: what it still asks for is not fetched either.
    pub(crate) fn give_up(&mut self) {
        self.published().fault(Fault::ClientStuck, self.entry().address(), "");
        self.break_off();
    }

    /// What is written from now on is thrown away.
    pub(crate) fn stop_writing(&mut self) {
        self.deaf = true;
    }

    /// Nothing further is written, and the client is closed at once.
    pub(crate) fn break_off(&mut self) {
        self.stop_writing();
        self.presence.ask(Asked::Kill);
    }

    /// Closes the stream. Where that takes a word to the client, as with TLS, it has as long as for a reply, unless the
    /// client takes nothing any more.
    pub(crate) async fn shutdown(&mut self, limit: Duration) {
        if self.deaf {
            return;
        }
        let deadline = Instant::now() + limit;
        poll_fn(|cx| match Pin::new(&mut self.stream).poll_shutdown(cx) {
            // The client may be gone already.
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.alarm.poll_until(cx, deadline),
        })
        .await;
    }
}
