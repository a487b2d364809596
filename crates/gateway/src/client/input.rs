//! What a client has sent: hands complete requests over and keeps what is not complete. Reads into a buffer that all sessions of a thread share, so that a quiet session holds
//! none of its own.

use std::{
    cell::RefCell,
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

use crate::client::gather::{Bounds, Stop, gather};

/// Bytes of one read, and of what is held of unfinished input that no budget counts.
const READ_BYTES: usize = 64 * 1024;

/// Bytes of a begun request that are moved to where the rest is read.
const BEGUN_BYTES: usize = 4 * 1024;

/// How a TLS handshake begins, and no request: the type of the record, and the version's first half.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BEGUN_BYTES + READ_BYTES]);
}

pub(crate) struct Input {
    decoder: RequestDecoder,
    /// Begins where a request begins.
    pending: BytesMut,
    /// Bytes known to be missing of the first request in `pending`.
    missing: usize,
    /// Bytes in front of `pending` that are dealt with and still take memory.
    spent: u32,
    budget: Arc<Budget>,
    /// Boxed, since few sessions have one.
    share: Option<Box<Share>>,
    /// The client sends no more; what is kept is still to be dealt with.
    ended: bool,
}

impl Input {
    pub(crate) fn new(limits: RequestLimits, budget: Arc<Budget>) -> Self {
        let decoder = RequestDecoder::new(limits);
        Self { decoder, pending: BytesMut::new(), missing: 0, spent: 0, budget, share: None, ended: false }
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
            if scratch[..bytes].starts_with(&TLS_HANDSHAKE) {
                return Poll::Ready(Ok(Stop::Tls));
            }
            let (used, missing, stop) = gather(&scratch[..bytes], &mut self.decoder, burst, bounds);
            self.missing = missing;
            if begun > 0 {
                self.advance(begun);
            }
            self.decoder.shrink();
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
        let ended = SCRATCH.with_borrow_mut(|scratch| {
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
        });
        // What was counted for a read is given back if nothing came.
        self.charge(self.pending.len(), settings.input_bytes_max);
        ended
    }

    /// Gathers from what is kept, without reading.
    pub(crate) fn gather(&mut self, burst: &mut Burst, bounds: Bounds<'_>) -> Stop {
        let (used, missing, stop) = gather(&self.pending, &mut self.decoder, burst, bounds);
        self.missing = missing;
        self.advance(used);
        self.decoder.shrink();
        let counted = self.charge(self.pending.len(), bounds.unfinished);
        // What is whole is taken off soon; only what stays is refused.
        if stop == Stop::Incomplete && !counted { Stop::OutOfMemory } else { stop }
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
        self.spent = self.spent.saturating_add(u32::try_from(used).unwrap_or(u32::MAX));
        if self.pending.is_empty() {
            self.pending = BytesMut::new();
            self.spent = 0;
            self.decoder.shrink();
            self.share = None;
        } else if self.spent as usize >= self.pending.len().max(READ_BYTES) {
            // The memory of a large request does not stay for the beginning of a small one.
            self.pending = BytesMut::from(&self.pending[..]);
            self.spent = 0;
        }
    }

    fn keep(&mut self, bytes: &[u8], max: usize) -> bool {
        self.pending.extend_from_slice(bytes);
        self.charge(self.pending.len(), max)
    }

    /// Counts `bytes`, and what the decoder holds, beyond the first read; false when all sessions together would hold
    /// more than `max`.
    fn charge(&mut self, bytes: usize, max: usize) -> bool {
        let beyond = (bytes + self.decoder.held_bytes()).saturating_sub(READ_BYTES);
        match &mut self.share {
            _ if beyond == 0 => {
                self.share = None;
                true
            }
            Some(share) => {
                share.shrink(beyond);
                share.grow(beyond, max)
            }
            none => {
                *none = self.budget.try_take(beyond, max).map(Box::new);
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
