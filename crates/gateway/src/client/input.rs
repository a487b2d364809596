//! What a client has sent: gathers complete requests into the next burst and keeps what is not
//! complete. Reads into a buffer that all sessions of a thread share, so that a quiet session holds
//! none of its own.

use std::{
    cell::RefCell,
    collections::HashSet,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll, ready},
};

use bytes::{Buf, BytesMut};
use pool::{Budget, Burst, Share};
use resp::{Decoded, Request, RequestDecoder, RequestError, RequestLimits};
use settings::SessionSettings;
use tokio::io::{AsyncRead, ReadBuf};

use crate::command::{
    class::{Class, classify, is_listed},
    errors,
};

/// Bytes of one read, and of unfinished input that no budget counts.
const READ_BYTES: usize = 64 * 1024;

/// Bytes of a begun request that are moved to where the rest is read.
const BEGUN_BYTES: usize = 4 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BEGUN_BYTES + READ_BYTES]);
}

/// Why gathering stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// What is left is no whole request.
    Incomplete,
    /// The burst has as much as it may have; what is left has not been looked at.
    Full,
    /// The next request does not go with the burst; see [`Input::take_other`].
    Other(Class),
    /// What is left cannot be framed.
    Malformed(RequestError),
    /// Unfinished requests of all sessions fill the memory they may have.
    OutOfMemory,
    /// The client sends no more.
    End,
}

/// What may go into one burst.
// Open: a plain value, made by the session for each look at the input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'c> {
    pub(crate) requests: usize,
    pub(crate) bytes: usize,
    /// Requests of a transaction, which is not cut.
    pub(crate) transaction: usize,
    pub(crate) embedded: bool,
    /// The session has an exclusive connection: a transaction is no block to be kept together here.
    pub(crate) lent: bool,
    /// Every request is looked at by itself: before a login, in a transaction that was refused, or while
    /// one reply is to be left out.
    pub(crate) singly: bool,
    /// Bytes of unfinished requests of all sessions together.
    pub(crate) unfinished: usize,
    pub(crate) denied: &'c HashSet<Vec<u8>>,
}

pub(crate) struct Input {
    decoder: RequestDecoder,
    /// Begins where a request begins.
    pending: BytesMut,
    /// Bytes known to be missing of the first request in `pending`.
    missing: usize,
    budget: Arc<Budget>,
    share: Option<Share>,
    /// The client sends no more; what is kept is still to be dealt with.
    ended: bool,
}

impl Input {
    pub(crate) fn new(limits: RequestLimits, budget: Arc<Budget>) -> Self {
        let decoder = RequestDecoder::new(limits);
        Self { decoder, pending: BytesMut::new(), missing: 0, budget, share: None, ended: false }
    }

    /// Requests have other bounds than before.
    pub(crate) fn set_limits(&mut self, limits: RequestLimits) {
        self.decoder.set_limits(limits);
    }

    /// A request has been begun and is not complete.
    pub(crate) fn is_midway(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Reads once and gathers what has become complete; no byte is lost if it is not called again.
    /// Fails when the connection broke.
    pub(crate) fn poll_read<S>(
        &mut self,
        stream: &mut S,
        cx: &mut TaskContext<'_>,
        burst: &mut Burst,
        bounds: Bounds<'_>,
    ) -> Poll<io::Result<Stop>>
    where
        S: AsyncRead + Unpin,
    {
        if self.ended {
            return Poll::Ready(Ok(Stop::End));
        }
        if self.missing > READ_BYTES && self.pending.len() >= READ_BYTES {
            return self.poll_read_large(stream, cx, burst, bounds);
        }
        SCRATCH.with_borrow_mut(|scratch| {
            // A short beginning goes in front of what comes, so that the session needs no buffer for both.
            let begun = if self.pending.len() <= BEGUN_BYTES { self.pending.len() } else { 0 };
            scratch[..begun].copy_from_slice(&self.pending[..begun]);
            let mut buffer = ReadBuf::new(&mut scratch[begun..begun + READ_BYTES]);
            ready!(Pin::new(stream).poll_read(cx, &mut buffer))?;
            let bytes = begun + buffer.filled().len();
            if bytes == begun {
                return Poll::Ready(Ok(Stop::End));
            }
            if self.pending.len() > begun {
                let kept = self.keep(&scratch[..bytes], bounds.unfinished);
                return Poll::Ready(Ok(if kept { self.gather(burst, bounds) } else { Stop::OutOfMemory }));
            }
            let (used, missing, stop) = gather(&scratch[..bytes], &mut self.decoder, burst, bounds);
            self.missing = missing;
            if begun > 0 {
                self.advance(begun);
            }
            let kept = self.keep(&scratch[used..bytes], bounds.unfinished);
            Poll::Ready(Ok(if kept { stop } else { Stop::OutOfMemory }))
        })
    }

    /// A large argument goes straight to where it will stay.
    fn poll_read_large<S>(
        &mut self,
        stream: &mut S,
        cx: &mut TaskContext<'_>,
        burst: &mut Burst,
        bounds: Bounds<'_>,
    ) -> Poll<io::Result<Stop>>
    where
        S: AsyncRead + Unpin,
    {
        // As much again as is there, so that a length alone reserves nothing.
        let room = self.missing.min(self.pending.len());
        if !self.charge(self.pending.len() + room, bounds.unfinished) {
            return Poll::Ready(Ok(Stop::OutOfMemory));
        }
        self.pending.reserve(room);
        let read = tokio_read_buf(stream, cx, &mut self.pending);
        let bytes = ready!(read)?;
        self.missing = self.missing.saturating_sub(bytes);
        Poll::Ready(Ok(match bytes {
            0 => Stop::End,
            _ if self.missing > 0 => Stop::Incomplete,
            _ => self.gather(burst, bounds),
        }))
    }

    /// Keeps what comes while replies wait to be read by a client that writes all before it reads, up to
    /// `backlog_bytes_max`. Ready only when nothing further can come.
    pub(crate) fn poll_backlog<S>(
        &mut self,
        stream: &mut S,
        cx: &mut TaskContext<'_>,
        settings: &SessionSettings,
    ) -> Poll<()>
    where
        S: AsyncRead + Unpin,
    {
        SCRATCH.with_borrow_mut(|scratch| {
            while !self.ended
                && self.pending.len() < settings.backlog_bytes_max
                && self.charge(self.pending.len() + READ_BYTES, settings.input_bytes_max)
            {
                let mut buffer = ReadBuf::new(&mut scratch[..READ_BYTES]);
                let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
                self.ended = read.is_err() || buffer.filled().is_empty();
                self.pending.extend_from_slice(buffer.filled());
            }
            if self.ended { Poll::Ready(()) } else { Poll::Pending }
        })
    }

    /// Gathers from what is kept, without reading.
    pub(crate) fn gather(&mut self, burst: &mut Burst, bounds: Bounds<'_>) -> Stop {
        let (used, missing, stop) = gather(&self.pending, &mut self.decoder, burst, bounds);
        self.missing = missing;
        self.advance(used);
        stop
    }

    /// Hands the request at which gathering stopped to `answer` and takes it off the input.
    pub(crate) fn take_other<T>(&mut self, answer: impl FnOnce(&Request<'_>) -> T) -> Result<Option<T>, RequestError> {
        match self.decoder.decode(&self.pending)? {
            Decoded::Request { len } => {
                let result = answer(&self.decoder.request(&self.pending));
                self.advance(len);
                Ok(Some(result))
            }
            Decoded::Incomplete { .. } | Decoded::Nothing { .. } => Ok(None),
        }
    }

    fn advance(&mut self, used: usize) {
        self.pending.advance(used);
        if self.pending.is_empty() {
            self.pending = BytesMut::new();
            self.share = None;
        }
    }

    fn keep(&mut self, bytes: &[u8], max: usize) -> bool {
        self.pending.extend_from_slice(bytes);
        self.charge(self.pending.len(), max)
    }

    /// Counts what is held beyond the first read; false when all sessions together would hold more than `max`.
    fn charge(&mut self, bytes: usize, max: usize) -> bool {
        let Some(beyond) = bytes.checked_sub(2 * READ_BYTES).filter(|beyond| *beyond > 0) else { return true };
        match &mut self.share {
            Some(share) => share.grow(beyond, max),
            none => {
                *none = self.budget.try_take(beyond, max);
                none.is_some()
            }
        }
    }
}

fn tokio_read_buf<S>(stream: &mut S, cx: &mut TaskContext<'_>, into: &mut BytesMut) -> Poll<io::Result<usize>>
where
    S: AsyncRead + Unpin,
{
    use tokio::io::AsyncReadExt;
    let read = stream.read_buf(into);
    tokio::pin!(read);
    read.poll(cx)
}

/// Moves complete requests from the beginning of `bytes` into `burst`. Returns how many bytes are
/// dealt with, how many are missing of the next request, and why it stopped.
fn gather(bytes: &[u8], decoder: &mut RequestDecoder, burst: &mut Burst, bounds: Bounds<'_>) -> (usize, usize, Stop) {
    let mut used = 0;
    let mut transaction: Option<Mark> = None;
    let (missing, stop) = loop {
        let open = transaction.is_some();
        let requests_max = if open { bounds.transaction } else { bounds.requests };
        if burst.replies_due as usize >= requests_max || burst.requests.len() >= bounds.bytes {
            break (0, Stop::Full);
        }
        match decoder.decode(&bytes[used..]) {
            Err(error) => break (0, Stop::Malformed(error)),
            Ok(Decoded::Incomplete { missing }) => break (missing, Stop::Incomplete),
            Ok(Decoded::Nothing { len }) => used += len,
            Ok(Decoded::Request { len }) => {
                let request = decoder.request(&bytes[used..]);
                let mut class = classify(&request, bounds.embedded);
                if !bounds.denied.is_empty() && is_listed(&request, bounds.denied) {
                    class = Class::Refused(errors::DENIED);
                }
                let read_only = match class {
                    Class::Plain { .. } | Class::Multi if bounds.singly => break (0, Stop::Other(class)),
                    Class::Multi if bounds.lent => break (0, Stop::Other(class)),
                    Class::Plain { read_only } => read_only && !open,
                    Class::Multi if !open => {
                        transaction = Some(Mark::new(used, burst));
                        false
                    }
                    // Nested; the upstream has the words for it.
                    Class::Multi => false,
                    Class::Exec if open => {
                        transaction = None;
                        burst.transaction = true;
                        false
                    }
                    Class::Local(_) | Class::Exec | Class::Exclusive(_) | Class::Refused(_) | Class::Attack => {
                        break (0, Stop::Other(class));
                    }
                };
                if burst.requests.is_empty() {
                    // Once for all that go along, if they are like the first: growing step by step costs as
                    // much as the framing.
                    let alike = len.saturating_mul(bounds.requests).min(bounds.bytes);
                    burst.requests.reserve(len.max(alike.min(bytes.len() - used)));
                }
                burst.read_only = read_only && (burst.replies_due == 0 || burst.read_only);
                request.write(&mut burst.requests);
                burst.replies_due += 1;
                used += len;
            }
        }
    };
    match transaction {
        None => (used, missing, stop),
        // Its EXEC is not here: what came before goes first, then MULTI is looked at by itself.
        Some(mark) => {
            mark.restore(burst);
            *decoder = decoder.restarted();
            let stop = if burst.replies_due > 0 { Stop::Full } else { Stop::Other(Class::Multi) };
            (mark.used, 0, stop)
        }
    }
}

/// Where a transaction began, to go back to.
struct Mark {
    used: usize,
    requests: usize,
    replies_due: u32,
    read_only: bool,
}

impl Mark {
    fn new(used: usize, burst: &Burst) -> Self {
        Self { used, requests: burst.requests.len(), replies_due: burst.replies_due, read_only: burst.read_only }
    }

    fn restore(&self, burst: &mut Burst) {
        burst.requests.truncate(self.requests);
        burst.replies_due = self.replies_due;
        burst.read_only = self.read_only;
    }
}
