//! What a client has sent: hands complete requests over and keeps what is not complete. Reads into a buffer that all
//! sessions of a thread share, so that a quiet session holds none of its own.

use std::{
    cell::RefCell,
    io,
    pin::{Pin, pin},
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use cluster::LentRoutes;
use pool::Burst;
use resp::{Decoded, Request, RequestDecoder, RequestError, RequestLimits};
use settings::SessionSettings;
use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    time::Instant,
};
use zeroize::Zeroize;

use crate::{
    client::gather::{Bounds, Stop, gather, noted},
    observe::{
        presence::Presence,
        sharing::input_memory::{Claim, Hold},
    },
};

/// Bytes of one read, and of what is kept of a client without being counted.
const READ_BYTES: usize = 64 * 1024;

/// Bytes of a begun request that are moved to where the rest is read.
const BEGUN_BYTES: usize = 4 * 1024;

/// How a TLS handshake begins, and no request: the type of the record, and the version's first half.
const TLS_HANDSHAKE: [u8; 2] = [0x16, 0x03];

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; BEGUN_BYTES + READ_BYTES]);
}

/// Whose input it is.
#[derive(Debug, Clone, Copy)]
// Open: a plain value.
pub(crate) struct Sender<'p> {
    pub(crate) presence: &'p Presence,
    /// The client has not logged in and has to.
    pub(crate) is_stranger: bool,
}

/// See the module's documentation. Its fields stand in memory as they do here: see [`Session`](crate::session::session).
#[repr(C)]
pub(crate) struct Input {
    decoder: RequestDecoder,
    /// Begins where a request begins.
    pending: BytesMut,
    /// Bytes known to be missing of the first request in `pending`, which has fewer than can be counted so.
    missing: u32,
    /// Bytes in front of `pending` that are dealt with and still take memory.
    spent: u32,
    /// What is counted of what is kept, if that is more than is free for each client.
    hold: Option<Box<Hold>>,
    /// The client sends no more; what is kept is still to be dealt with.
    ended: bool,
    /// How much is still to be read.
    rest: u32,
    /// Where what has been gathered goes, if there is a cluster.
    routes: Option<LentRoutes>,
}

/// There is no bound to what is read.
const WITHOUT_END: u32 = u32::MAX;

impl Input {
    pub(crate) fn new(limits: RequestLimits) -> Self {
        let (decoder, pending, hold, routes) = (RequestDecoder::new(limits), BytesMut::new(), None, None);
        Self { decoder, pending, missing: 0, spent: 0, hold, ended: false, rest: WITHOUT_END, routes }
    }

    /// Where what has been gathered goes, if that was noted.
    pub(crate) fn routes(&mut self) -> &mut Option<LentRoutes> {
        &mut self.routes
    }

    /// Until when it waits for room, if it does, where nobody waits longer than `patience`.
    pub(crate) fn waits_until(&self, patience: Duration) -> Option<Instant> {
        self.hold.as_ref().and_then(|hold| hold.waits_until(patience))
    }

    /// Whether it is to claim room once more now that it has waited; see [`Hold::insist`].
    pub(crate) fn insist(&mut self) -> bool {
        self.hold.as_mut().is_some_and(|hold| hold.insist())
    }

    /// Requests have other bounds than before.
    pub(crate) fn set_limits(&mut self, limits: RequestLimits) {
        self.decoder.set_limits(limits);
    }

    /// Whether there is a bound to what is still read.
    pub(crate) fn is_bounded(&self) -> bool {
        self.rest != WITHOUT_END
    }

    /// Has no more be read than `bytes`, give or take a read.
    pub(crate) fn read_last(&mut self, bytes: usize) {
        self.rest = self.rest.min(narrow(bytes));
    }

    /// Takes note that so many bytes were read.
    fn has_read(&mut self, bytes: usize, presence: &Presence) {
        presence.published().counts.bytes_read.add(bytes);
        if self.is_bounded() {
            self.rest = self.rest.saturating_sub(narrow(bytes));
        }
    }

    /// Counts `bytes` of requests that were taken off and are kept elsewhere.
    pub(crate) fn count_queued(&mut self, bytes: usize, presence: &Presence) {
        if bytes > 0 || self.hold.is_some() {
            self.hold(presence).kept_elsewhere = bytes;
        }
    }

    fn kept_elsewhere(&self) -> usize {
        self.hold.as_ref().map_or(0, |hold| hold.kept_elsewhere + hold.gathered)
    }

    /// Counts what has been gathered, beyond what is free, until there is another look at it: its place in the queue may
    /// be long in coming.
    fn note_gathered(&mut self, burst: &Burst, presence: &Presence) {
        let gathered = burst.requests.len().saturating_sub(READ_BYTES);
        if gathered > 0 || self.hold.is_some() {
            self.hold(presence).gathered = gathered;
        }
    }

    /// How many bytes have been read and not been dealt with.
    pub(crate) fn unread(&self) -> usize {
        self.pending.len()
    }

    /// Reads once and gathers what has become complete; no byte is lost if it is not called again.
    /// Fails when the connection broke.
    pub(crate) fn poll_read<S>(
        &mut self,
        stream: &mut S,
        cx: &mut TaskContext<'_>,
        burst: &mut Burst,
        bounds: Bounds<'_>,
        sender: Sender<'_>,
    ) -> Poll<io::Result<Stop>>
    where
        S: AsyncRead + Unpin,
    {
        if self.ended || self.rest == 0 {
            return Poll::Ready(Ok(Stop::End));
        }
        let is_large = self.missing as usize > READ_BYTES && self.pending.len() >= READ_BYTES;
        // As much again as is there, so that a length alone reserves nothing.
        let room = if is_large { self.pending.len().min(self.missing as usize) } else { READ_BYTES };
        self.note_gathered(burst, sender.presence);
        let mut claim = self.claim(room, bounds.unfinished(), sender);
        if claim == Claim::Waits {
            // Once more, now that it is woken, so that nothing is missed that was given back meanwhile.
            sender.presence.poll_asked(cx);
            claim = self.claim(room, bounds.unfinished(), sender);
        }
        match claim {
            Claim::Granted => {}
            Claim::Waits => return Poll::Pending,
            Claim::Refused => return Poll::Ready(Ok(Stop::OutOfMemory)),
        }
        let read = if is_large {
            self.poll_read_large(stream, cx, burst, (bounds, room), sender.presence)
        } else {
            self.poll_read_small(stream, cx, burst, bounds, sender.presence)
        };
        self.note_gathered(burst, sender.presence);
        self.settle(bounds.unfinished(), sender);
        read
    }

    /// What comes of small requests, or of the beginning of a large one, is kept only if it is not complete.
    fn poll_read_small<S>(
        &mut self,
        stream: &mut S,
        cx: &mut TaskContext<'_>,
        burst: &mut Burst,
        bounds: Bounds<'_>,
        presence: &Presence,
    ) -> Poll<io::Result<Stop>>
    where
        S: AsyncRead + Unpin,
    {
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
            self.has_read(bytes - begun, presence);
            if self.pending.len() > begun {
                self.pending.extend_from_slice(&scratch[..bytes]);
                return Poll::Ready(Ok(self.take_complete(burst, bounds, presence)));
            }
            if scratch[..bytes].starts_with(&TLS_HANDSHAKE) {
                return Poll::Ready(Ok(Stop::Tls));
            }
            let (names, routes) = (&presence.published().names, noted(&mut self.routes, burst, &bounds, presence));
            let from = &scratch[..bytes];
            let (used, missing, stop) = gather(from, &mut self.decoder, burst, (bounds, names), routes);
            self.missing = narrow(missing);
            self.routes = self.routes.take().filter(|_| burst.replies_due > 0);
            if begun > 0 {
                self.advance(begun);
            }
            self.decoder.shrink();
            self.pending.extend_from_slice(&scratch[used..bytes]);
            Poll::Ready(Ok(stop))
        })
    }

    /// A large argument goes straight to where it will stay.
    fn poll_read_large<S>(
        &mut self,
        stream: &mut S,
        cx: &mut TaskContext<'_>,
        burst: &mut Burst,
        (bounds, room): (Bounds<'_>, usize),
        presence: &Presence,
    ) -> Poll<io::Result<Stop>>
    where
        S: AsyncRead + Unpin,
    {
        self.pending.reserve(room);
        let bytes = ready!(pin!(stream.read_buf(&mut self.pending)).poll(cx))?;
        self.missing = self.missing.saturating_sub(narrow(bytes));
        self.has_read(bytes, presence);
        Poll::Ready(Ok(match bytes {
            0 => Stop::End,
            _ if self.missing > 0 => Stop::Incomplete,
            _ => self.take_complete(burst, bounds, presence),
        }))
    }

    /// Keeps what comes while replies wait to be read by a client that writes all before it reads, up to
    /// `backlog_bytes_max`, where there is room to spare. Ready only when nothing further can come.
    pub(crate) fn poll_backlog<S>(
        &mut self,
        stream: &mut S,
        cx: &mut TaskContext<'_>,
        settings: &SessionSettings,
        presence: &Presence,
    ) -> Poll<()>
    where
        S: AsyncRead + Unpin,
    {
        let ended = SCRATCH.with_borrow_mut(|scratch| {
            while !self.ended
                && self.rest > 0
                && self.pending.len() < settings.backlog_bytes_max
                && self.claim_spare(READ_BYTES, settings.input_bytes_max, presence)
            {
                let mut buffer = ReadBuf::new(&mut scratch[..READ_BYTES]);
                let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
                self.ended = read.is_err() || buffer.filled().is_empty();
                self.pending.extend_from_slice(buffer.filled());
                self.has_read(buffer.filled().len(), presence);
            }
            if self.ended { Poll::Ready(()) } else { Poll::Pending }
        });
        self.settle(settings.input_bytes_max, Sender { presence, is_stranger: false });
        ended
    }

    /// Gathers from what is kept, without reading.
    pub(crate) fn gather(&mut self, burst: &mut Burst, bounds: Bounds<'_>, sender: Sender<'_>) -> Stop {
        let stop = self.take_complete(burst, bounds, sender.presence);
        self.note_gathered(burst, sender.presence);
        self.settle(bounds.unfinished(), sender);
        stop
    }

    /// Whether there is room to read more into a burst that could go as it is.
    pub(crate) fn may_gather_on(&mut self, burst: &Burst, bounds: Bounds<'_>, presence: &Presence) -> bool {
        self.note_gathered(burst, presence);
        burst.requests.len() < READ_BYTES || self.claim_spare(READ_BYTES, bounds.unfinished(), presence)
    }

    fn take_complete(&mut self, burst: &mut Burst, bounds: Bounds<'_>, presence: &Presence) -> Stop {
        let (names, routes) = (&presence.published().names, noted(&mut self.routes, burst, &bounds, presence));
        let (used, missing, stop) = gather(&self.pending, &mut self.decoder, burst, (bounds, names), routes);
        self.missing = narrow(missing);
        self.routes = self.routes.take().filter(|_| burst.replies_due > 0);
        self.advance(used);
        self.decoder.shrink();
        stop
    }

    /// Hands the request at which gathering stopped to `answer` and takes it off the input. One that `holds_login` is
    /// wiped.
    pub(crate) fn take_other<T>(
        &mut self,
        holds_login: bool,
        answer: impl FnOnce(&Request<'_>) -> T,
    ) -> Result<Option<T>, RequestError> {
        match self.decoder.decode(&self.pending)? {
            Decoded::Request { len } => {
                let result = answer(&self.decoder.request(&self.pending));
                if holds_login {
                    // Read there first, and copied here.
                    SCRATCH.with_borrow_mut(|scratch| scratch.as_mut_slice().zeroize());
                    self.pending[..len].zeroize();
                }
                self.advance(len);
                Ok(Some(result))
            }
            Decoded::Incomplete { .. } | Decoded::Nothing { .. } => Ok(None),
        }
    }

    /// What `look` makes of the request at which gathering stopped, if there is one.
    pub(crate) fn look_at_other<T>(&mut self, look: impl FnOnce(&Request<'_>) -> T) -> Option<T> {
        let is_there = matches!(self.decoder.decode(&self.pending), Ok(Decoded::Request { .. }));
        is_there.then(|| look(&self.decoder.request(&self.pending)))
    }

    fn advance(&mut self, used: usize) {
        self.pending.advance(used);
        self.spent = self.spent.saturating_add(narrow(used));
        if self.pending.is_empty() {
            self.pending = BytesMut::new();
            self.spent = 0;
            self.decoder.shrink();
        } else if self.spent as usize >= self.pending.len().max(READ_BYTES) {
            // The memory of a large request does not stay for the beginning of a small one.
            self.pending = BytesMut::from(&self.pending[..]);
            self.spent = 0;
        }
    }

    /// Bytes of memory that are held of what the client has sent.
    fn held_bytes(&self) -> usize {
        self.pending.len() + self.spent as usize + self.decoder.held_bytes() + self.kept_elsewhere()
    }

    /// Nothing is kept or counted. What the decoder has of requests that are dealt with is little, and is not looked at.
    fn keeps_nothing(&self) -> bool {
        self.pending.is_empty() && self.hold.is_none()
    }

    /// What of that and of `more` is counted. A read is free as long as nothing has to be counted before it.
    fn counted(&self, more: usize) -> usize {
        match self.held_bytes() {
            _ if self.keeps_nothing() => 0,
            held if held <= READ_BYTES && self.hold.is_none() => 0,
            held => (held + more).saturating_sub(READ_BYTES),
        }
    }

    /// Has the client hold `more`.
    fn claim(&mut self, more: usize, max: usize, sender: Sender<'_>) -> Claim {
        match self.counted(more) {
            0 => Claim::Granted,
            bytes => self.hold(sender.presence).claim(bytes, max, sender.is_stranger),
        }
    }

    /// The same for what need not be read now.
    fn claim_spare(&mut self, more: usize, max: usize, presence: &Presence) -> bool {
        let bytes = self.counted(more);
        bytes == 0 || self.hold(presence).claim_spare(bytes, max)
    }

    /// Counts what is held as it is. What has been read is never refused: it is the next read that waits for room.
    fn settle(&mut self, max: usize, sender: Sender<'_>) {
        match self.held_bytes().saturating_sub(READ_BYTES) {
            _ if self.keeps_nothing() => {}
            0 if self.kept_elsewhere() == 0 => self.hold = None,
            bytes => self.hold(sender.presence).settle(bytes, max, sender.is_stranger),
        }
    }

    fn hold(&mut self, presence: &Presence) -> &mut Hold {
        let (memory, entry) = (&presence.published().input, presence.shared());
        self.hold.get_or_insert_with(|| Box::new(Hold::new(memory, entry)))
    }
}

/// As much of it as is counted, since a session holds several such numbers.
fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
