//! An exclusive connection, lent by value: given back clean, and closed when it is dropped instead.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll, ready},
    time::Duration,
};

use resp::ReplyKind;
use tokio::time::timeout;

use crate::{
    bounds::{
        reply_memory::{Held, Room},
        share::Share,
    },
    error::{JobError, Sent},
    exclusive::{line::Line, permit::Place},
    settings::{ours::Ours, tenure::Origin},
    upstream::checks::is_of_replica,
};

/// Bytes of a large reply that are taken at once, about.
const PIECE_BYTES: usize = 64 * 1024;

/// An exclusive connection, lent. Dropping it closes it.
#[derive(Debug)]
pub struct Lent {
    line: Line,
    place: Place,
    held: Held,
    beside: usize,
}

impl Lent {
    pub(crate) fn new(line: Line, place: Place) -> Self {
        Self { line, place, held: Held::default(), beside: 0 }
    }

    /// Where its replies come from.
    pub fn origin(&self) -> Origin {
        self.line.origin()
    }

    /// The connections that this process has at upstreams.
    pub fn ours(&self) -> &Ours {
        self.line.ours()
    }

    /// Has the upstream know the connection by the borrower's own `name`, from the first request that is sent on it until
    /// the next borrower sends one. Nothing waits for that. Without a name, or where a right is needed for it, it has its own.
    pub fn bear(&mut self, name: &[u8]) {
        self.line.bear(name);
    }

    /// The [generation](crate::Facts::generation) of the upstream that it leads to.
    pub fn generation(&self) -> u64 {
        self.line.facts().generation()
    }

    /// As `CLIENT ID` of the upstream says it.
    pub fn upstream_id(&self) -> Option<i64> {
        self.line.upstream_id()
    }

    /// Writes requests, within `reply_timeout`. While requests are held it waits first, at most for `failover_wait`.
    ///
    /// # Errors
    /// The connection broke, the upstream takes nothing, or another node is the primary now; drop it. In that last case,
    /// which is `NotConnected`, nothing was written.
    pub async fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        let (deadline, held) = {
            let settings = self.place.set.node.settings.borrow();
            (settings.reply_timeout, settings.endpoint.held.is_some())
        };
        if held {
            Box::pin(self.held_back()).await?;
        }
        timeout(deadline, self.line.send(requests)).await??;
        self.place.set.traffic.sent(requests.len());
        Ok(())
    }

    /// Sends a request and appends what comes next, which is its reply where nothing else comes of its own accord.
    ///
    /// # Errors
    /// There was none within `limit`, or otherwise as [`send`](Self::send) and [`poll_message`](Self::poll_message); drop it.
    pub async fn ask(&mut self, request: &[u8], limit: Duration, reply: &mut Vec<u8>) -> Result<(), JobError> {
        let asked = async {
            self.send(request).await?;
            poll_fn(|cx| self.poll_message(cx, reply)).await
        };
        match timeout(limit, asked).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(JobError::ConnectionLost { reason: error.to_string().into(), sent: Sent::No }),
            Err(_) => Err(JobError::ReplyTimeout(limit)),
        }
    }

    async fn held_back(&self) -> io::Result<()> {
        let mut settings = self.place.set.node.settings.clone();
        let limit = settings.borrow().failover_wait;
        let released = timeout(limit, settings.wait_for(|settings| settings.endpoint.held.is_none())).await;
        // Nobody holds anything any more once the pool itself is gone.
        released.map(drop).map_err(|_| io::Error::other("no primary within failover_wait_ms"))
    }

    /// Appends the next whole reply or push message to `out`.
    ///
    /// # Errors
    /// The connection broke, or the message is larger than `reply_bytes_max` or than what is left of
    /// `replies_bytes_max`; drop it.
    pub fn poll_message(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<ReplyKind>> {
        loop {
            if let Some(kind) = ready!(self.poll_reply(cx, out, false))? {
                return Poll::Ready(Ok(kind));
            }
        }
    }

    /// The same. Of a large reply that may go `in_pieces` it appends what has come, with nothing for its kind: the rest is to
    /// be read by [`poll_piece`](Self::poll_piece), and needs nothing of `replies_bytes_max`.
    ///
    /// # Errors
    /// As [`poll_message`](Self::poll_message).
    pub fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
        in_pieces: bool,
    ) -> Poll<io::Result<Option<ReplyKind>>> {
        let Self { line, place, held, beside } = self;
        let set = &place.set;
        let before = out.len();
        let others = before + *beside;
        let part = ready!(line.poll_part(cx, out, |cx, midway| {
            let room = || Room::new(&set.node.settings.borrow(), &set.reply_bytes);
            let within = if in_pieces && midway.is_bulky() {
                Poll::Ready(room().takes(midway.bytes()).map(|()| false))
            } else {
                held.poll(cx, midway.bytes(), others, room).map_ok(|()| true)
            };
            within.map_err(io::Error::other)
        }))?;
        set.traffic.received(out.len() - before);
        let Some(kind) = part else { return Poll::Ready(Ok(None)) };
        set.traffic.replied(kind, &out[before..]);
        if kind == ReplyKind::Error && is_of_replica(&out[before..]) {
            set.node.checks.doubted();
        }
        Poll::Ready(Ok(Some(kind)))
    }

    /// Appends what has come of a reply of which a part was appended before; with its kind, if that is the end of it.
    ///
    /// # Errors
    /// The connection broke; drop it.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<Option<ReplyKind>>> {
        let Self { line, place, .. } = self;
        let before = out.len();
        let mut end = None;
        while end.is_none() && out.len() - before < PIECE_BYTES {
            match line.poll_part(cx, out, |_, midway| Poll::Ready(Ok(midway.there == 0))) {
                Poll::Ready(part) => end = part?,
                Poll::Pending if out.len() == before => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        place.set.traffic.received(out.len() - before);
        Poll::Ready(Ok(end))
    }

    /// The same where nothing is waited for that was asked of this node alone, and is executed in any case.
    ///
    /// # Errors
    /// Also that another node is the upstream now, once all is read that has come of this one.
    pub fn poll_unasked(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<ReplyKind>> {
        match self.poll_message(cx, out) {
            Poll::Pending => self.line.poll_left(cx).map(Err),
            message => message,
        }
    }

    /// Has so many bytes count as if they were held of its replies; see [`Burst::beside`](crate::Burst::beside).
    pub fn count_beside(&mut self, bytes: usize) {
        self.beside = bytes;
    }

    /// What its last replies have of `replies_bytes_max`, to be kept as long as they are.
    pub fn take_room(&mut self) -> Option<Share> {
        self.held.take()
    }

    /// As `poll_reply` where something is waited for that only this node can bring about, and may never. A node that has
    /// become a replica ends it: it has as long for that as for all that it was sent.
    ///
    /// # Errors
    /// As [`poll_unasked`](Self::poll_unasked).
    pub fn poll_blocked(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Vec<u8>,
        in_pieces: bool,
    ) -> Poll<io::Result<Option<ReplyKind>>> {
        match self.poll_reply(cx, out, in_pieces) {
            Poll::Pending if !self.line.is_still_to_answer() => self.line.poll_left(cx).map(Err),
            reply => reply,
        }
    }

    /// What was executed on it may have changed what the upstream says of itself: it is asked again, by a connection that
    /// is closed then.
    ///
    /// # Cancel safety
    /// Dropping the future gives up asking.
    pub async fn learn_again(&self) {
        self.place.set.node.probe().await;
    }

    /// Gives the connection back, when all replies have been read. It is closed if it cannot be cleaned.
    pub fn give_back(self) {
        let Self { line, place, .. } = self;
        place.set.take_back(line, false);
    }

    /// The same where nothing that was sent has changed the state of the connection: it is not cleaned.
    pub fn give_back_unchanged(self) {
        let Self { line, place, .. } = self;
        place.set.take_back(line, true);
    }
}
