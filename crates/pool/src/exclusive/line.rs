//! A connection beside the workers' with what has been read of it and the state that it is in. It is cleaned without a
//! task and without waiting: the requests that clean it are written at once, so that the upstream forgets what was
//! watched or queued, and whoever uses it next reads their replies.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use bytes::BytesMut;
use resp::{Protocol, ReplyKind, ReplyScanner};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::Instant,
};

use crate::{
    error::JobError,
    exclusive::preparation::{Preparation, Unprepared},
    queue::expected::BULKY_BYTES,
    settings::{
        endpoint::Endpoint,
        ours::{Ours, is_own_name},
        tenure::{End, Origin},
    },
    upstream::{
        facts::{Asked, Facts},
        needs::Needs,
        node::{Dialled, Node},
        stream::Stream,
    },
};

/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// Requests larger than this, in bytes, are not written together with what prepares the connection for them: they might
/// arrive in pieces, and be executed although that was refused.
const AT_ONCE_MAX: usize = 1024;

/// See the module's documentation.
pub(crate) struct Line {
    stream: Stream,
    endpoint: Box<Endpoint>,
    /// As its login found it.
    facts: Arc<Facts>,
    end: End,
    process: End,
    name: String,
    /// That of a borrower, by which it is to be known instead, and by which it is.
    borne: Option<Box<[u8]>>,
    bears: Option<Box<[u8]>>,
    /// As `CLIENT ID` of the upstream says it.
    upstream_id: Option<i64>,
    input: BytesMut,
    scanner: ReplyScanner,
    scanned: usize,
    renew_at: Instant,
    state: Needs,
    /// What brings it into the state that it is to be in, and the replies to that.
    preparation: Preparation,
    /// The words in which that was refused although it was sure to be accepted: it is of use to nobody else.
    refused: Option<Arc<str>>,
}

impl fmt::Debug for Line {
    /// Not what was read of it, which is a client's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("name", &self.name).field("upstream_id", &self.upstream_id).finish_non_exhaustive()
    }
}

/// A message that is not whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Midway {
    /// Bytes that have come and are not handed on.
    pub(crate) there: usize,
    /// Bytes that are known to follow.
    missing: usize,
    /// The first of those that have come.
    first: Option<u8>,
}

impl Midway {
    /// Bytes of it, as far as they are known.
    pub(crate) fn bytes(&self) -> usize {
        self.there.saturating_add(self.missing)
    }

    /// Whether it is an answer so large that others would wait for its end. Behind attributes an error may stand.
    pub(crate) fn is_bulky(&self) -> bool {
        self.bytes() > BULKY_BYTES && matches!(self.first, Some(b'$' | b'*' | b'%' | b'~' | b'='))
    }
}

/// Another node is the primary now.
fn left() -> io::Error {
    io::Error::other("another node is the primary now")
}

impl Line {
    /// Connects and logs in, under `name`.
    pub(crate) async fn open(node: &Node, name: String) -> Result<Self, JobError> {
        let settings = Arc::clone(&node.settings.borrow());
        let dialled = node.connect_soon(&name).await;
        let Dialled { stream, endpoint, facts, id, db } = dialled.map_err(|error| match node.is_turned_away() {
            true => JobError::LoginRefused(format!("{}: {error}", settings.endpoint).into()),
            false => JobError::UpstreamDown(error.to_string().into()),
        })?;
        Ok(Self {
            stream,
            end: endpoint.tenure.watch(),
            process: facts.process.watch(),
            endpoint: Box::new(endpoint),
            facts,
            name,
            borne: None,
            bears: None,
            upstream_id: id,
            input: BytesMut::new(),
            scanner: ReplyScanner::new(settings.reply_depth_max),
            scanned: 0,
            renew_at: Instant::now() + settings.lifetime.mul_f64(0.9 + fastrand::f64() / 5.0),
            state: Needs { db, protocol: Protocol::Resp2 },
            preparation: Preparation::default(),
            refused: None,
        })
    }

    /// The state that it is in.
    pub(crate) fn state(&self) -> Needs {
        self.state
    }

    /// As its login found the upstream.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::new(self.endpoint.tenure.clone())
    }

    pub(crate) fn ours(&self) -> &Ours {
        &self.endpoint.ours
    }

    /// As `CLIENT ID` of the upstream says it.
    pub(crate) fn upstream_id(&self) -> Option<i64> {
        self.upstream_id
    }

    /// Whether it is young enough and leads where the upstream is.
    pub(crate) fn is_good(&self, node: &Node, now: Instant) -> bool {
        now < self.renew_at && self.leads_to(node)
    }

    /// Whether it leads where the upstream is.
    pub(crate) fn leads_to(&self, node: &Node) -> bool {
        node.is_current(&self.endpoint, self.facts.generation())
    }

    /// Has it be in the state needed when the next requests are executed. What is sure to be accepted is written
    /// together with them.
    pub(crate) async fn prepare(&mut self, needs: Needs, node: &Node) -> Result<(), Unprepared> {
        let generation = self.facts.generation();
        if needs.protocol != self.state.protocol {
            self.preparation.hello(needs.protocol);
            self.state.protocol = needs.protocol;
        }
        if needs.db != self.state.db {
            self.preparation.select(needs.db);
            if !node.databases.has(generation, needs.db) {
                let settled = self.settle().await;
                match &settled {
                    Ok(()) => node.databases.selected(generation, needs.db),
                    Err(Unprepared::Refused(_)) => node.databases.refused(generation, needs.db),
                    Err(Unprepared::Io(_)) => {}
                }
                settled?;
            }
            self.state.db = needs.db;
        }
        Ok(())
    }

    /// Waits until all that cleaned it has been answered, and looks whether it still lives.
    pub(crate) async fn wake(&mut self) -> Result<(), Unprepared> {
        self.settle().await?;
        // Whatever else there is to read now is the news of its end.
        match self.poll_fill(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(()),
            Poll::Ready(_) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }

    /// Writes what prepares it and waits for the replies.
    async fn settle(&mut self) -> Result<(), Unprepared> {
        let requests = self.preparation.take_requests();
        self.stream.write_all(&requests).await?;
        let mut unused = Vec::new();
        poll_fn(|cx| self.poll_prepared(cx, &mut unused)).await
    }

    /// Ready when the replies to what prepares it have been read.
    fn poll_prepared(&mut self, cx: &mut Context<'_>, reply: &mut Vec<u8>) -> Poll<Result<(), Unprepared>> {
        while self.preparation.is_owed() {
            reply.clear();
            if let Some(kind) = ready!(self.poll_scanned(cx, reply, |_, _| Poll::Ready(Ok(true))))? {
                self.preparation.answered(kind, reply)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes requests, behind what prepares the connection for them, unless the upstream is another node by now: that is
    /// `NotConnected`, and nothing was written.
    pub(crate) async fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        if self.endpoint.tenure.is_left() || self.facts.process.is_left() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, left()));
        }
        if self.borne != self.bears {
            self.rename();
        }
        let mut first = self.preparation.take_requests();
        if first.is_empty() {
            return self.stream.write_all(requests).await;
        }
        if requests.len() > AT_ONCE_MAX {
            self.stream.write_all(&first).await?;
            if self.preparation.decides() {
                let mut unused = Vec::new();
                poll_fn(|cx| self.poll_prepared(cx, &mut unused)).await?;
            }
            return self.stream.write_all(requests).await;
        }
        first.extend_from_slice(requests);
        self.stream.write_all(&first).await
    }

    /// Appends the next whole message.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<ReplyKind>> {
        loop {
            if let Some(kind) = ready!(self.poll_part(cx, out, |_, _| Poll::Ready(Ok(true))))? {
                return Poll::Ready(Ok(kind));
            }
        }
    }

    /// Appends the next message up to its end, or what has come of it once `goes_on`, which is asked before more is read, says
    /// no; nothing is its kind then. Where the state was refused behind which requests were written, only an error that they got
    /// is their reply.
    pub(crate) fn poll_part(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
        goes_on: impl FnMut(&mut Context<'_>, Midway) -> Poll<io::Result<bool>>,
    ) -> Poll<io::Result<Option<ReplyKind>>> {
        while self.preparation.is_owed() {
            match ready!(self.poll_prepared(cx, &mut Vec::new())) {
                Err(Unprepared::Refused(words)) => self.refused = Some(words),
                prepared => prepared.map_err(io::Error::from)?,
            }
        }
        let before = out.len();
        let kind = ready!(self.poll_scanned(cx, out, goes_on))?;
        match &self.refused {
            Some(words) if kind != Some(ReplyKind::Error) => {
                out.truncate(before);
                Poll::Ready(Err(Unprepared::Refused(Arc::clone(words)).into()))
            }
            _ => Poll::Ready(Ok(kind)),
        }
    }

    /// Whether this node is to answer what it was asked although another one is the upstream now.
    pub(crate) fn is_still_to_answer(&self) -> bool {
        self.endpoint.tenure.is_ending()
    }

    /// Ready once the upstream is another node, and nothing of a message has come from this one.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (end, process) = (self.end.poll_left(cx), self.process.poll_left(cx));
        if (end.is_ready() || process.is_ready()) && self.is_between_messages() {
            Poll::Ready(left())
        } else {
            Poll::Pending
        }
    }

    fn poll_scanned(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
        mut goes_on: impl FnMut(&mut Context<'_>, Midway) -> Poll<io::Result<bool>>,
    ) -> Poll<io::Result<Option<ReplyKind>>> {
        if self.end.poll(cx).is_ready() {
            return Poll::Ready(Err(left()));
        }
        if self.endpoint.tenure.is_doubted() {
            return Poll::Pending;
        }
        loop {
            match self.scanner.scan(&self.input[self.scanned..]) {
                Ok(progress) => {
                    self.scanned += progress.consumed;
                    if let Some(kind) = progress.complete {
                        out.extend_from_slice(&self.input.split_to(self.scanned));
                        if self.scanned > READ_BYTES {
                            // The memory of a large reply does not stay with the connection.
                            self.input = BytesMut::from(&self.input[..]);
                        }
                        self.scanned = 0;
                        return Poll::Ready(Ok(Some(kind)));
                    }
                }
                Err(error) => return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error))),
            }
            let midway = Midway {
                there: self.input.len(),
                missing: self.scanner.bulk_left(),
                first: self.input.first().copied(),
            };
            if !ready!(goes_on(cx, midway))? {
                out.extend_from_slice(&self.input);
                self.input.clear();
                if self.scanned > READ_BYTES {
                    self.input = BytesMut::new();
                }
                self.scanned = 0;
                return Poll::Ready(Ok(None));
            }
            if ready!(self.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        self.input.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Whether nothing has come of a message that is not whole.
    fn is_between_messages(&self) -> bool {
        self.input.is_empty() && !self.scanner.is_midway()
    }

    /// Whether nothing is under way that belongs to whoever had it.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_between_messages() && !self.preparation.is_owed() && self.refused.is_none()
    }

    /// Has it known by another name when the next requests are executed. Not by one as the gateway's own begin, and not where
    /// that needs a right, which may be refused.
    pub(crate) fn bear(&mut self, name: &[u8]) {
        let may_bear = self.facts.told.named_by_hello && !name.is_empty() && !is_own_name(name);
        self.borne = may_bear.then(|| name.into());
    }

    fn rename(&mut self) {
        let version = self.state.protocol.version().to_string();
        let name = self.borne.as_deref().unwrap_or(self.name.as_bytes());
        self.preparation.name(&[b"HELLO", version.as_bytes(), b"SETNAME", name]);
        self.bears.clone_from(&self.borne);
    }

    /// Takes it back as it is; false if it is of no further use.
    pub(crate) fn leave(&mut self) -> bool {
        self.borne = None;
        self.is_at_rest()
    }

    /// Writes what cleans the connection; false if it cannot be cleaned.
    pub(crate) fn clean(&mut self) -> bool {
        if !self.facts.can_reset() || !self.is_at_rest() {
            return false;
        }
        let login = self.endpoint.login();
        self.preparation = Preparation::reset(login.as_deref());
        match self.facts.told {
            told if told.named_by_hello => self.preparation.name(&["HELLO", "2", "SETNAME", &self.name]),
            told if told.name != Asked::Refused => self.preparation.name(&["CLIENT", "SETNAME", &self.name]),
            _ => {}
        }
        (self.state, self.borne, self.bears) = (Needs::default(), None, None);
        let requests = self.preparation.take_requests();
        let mut cx = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut self.stream).poll_write(&mut cx, &requests);
        matches!(written, Poll::Ready(Ok(bytes)) if bytes == requests.len())
    }
}
