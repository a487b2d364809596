//! A connection beside the workers' with what has been read of it. It is cleaned without a task and without waiting:
//! the requests that clean it are written at once, so that the upstream forgets what was watched or queued, and
//! whoever uses it next reads their replies.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;
use resp::{Protocol, ReplyKind, ReplyScanner, write_request};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::Instant,
};

use crate::{
    error::{JobError, Sent},
    settings::{endpoint::Endpoint, settings::Settings, tenure::End},
    upstream::{facts::Facts, login::login, needs::Needs, stream::Stream},
};

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// A connection with what has been read of it.
pub(crate) struct Line {
    stream: Stream,
    endpoint: Box<Endpoint>,
    end: End,
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

/// Another node is the primary now.
fn left() -> io::Error {
    io::Error::other("another node is the primary now")
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
    /// Connects and logs in, under `name`.
    pub(crate) async fn open(settings: &Settings, name: String) -> Result<(Self, Facts), JobError> {
        match login(&settings.endpoint, &name, settings.connect_timeout).await {
            Ok((stream, facts)) => {
                let line = Self {
                    stream,
                    endpoint: Box::new(settings.endpoint.clone()),
                    end: settings.endpoint.tenure.watch(),
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

    /// As `CLIENT ID` of the upstream says it.
    pub(crate) fn upstream_id(&self) -> Option<i64> {
        self.upstream_id
    }

    /// It has lived as long as a connection may.
    pub(crate) fn is_over_age(&self, now: Instant) -> bool {
        now >= self.renew_at
    }

    /// Whether it may serve another borrower, who wants to go to `endpoint`.
    pub(crate) fn is_good_for(&self, endpoint: &Endpoint, now: Instant) -> bool {
        !self.is_over_age(now) && self.endpoint.leads_where(endpoint)
    }

    /// Writes requests, unless the node there is not the primary any more.
    pub(crate) async fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        if self.endpoint.tenure.is_over() {
            return Err(left());
        }
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
    pub(crate) fn poll_message_within(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
        mut room: impl FnMut(&mut Context<'_>, usize) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<ReplyKind>> {
        if self.end.poll(cx).is_ready() {
            return Poll::Ready(Err(left()));
        }
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
    pub(crate) fn clean(&mut self) -> Option<u32> {
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

pub(crate) fn lost(error: &io::Error) -> JobError {
    JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::No }
}
