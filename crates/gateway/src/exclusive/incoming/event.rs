//! What a session that waits on an exclusive connection wakes up to. What else comes for its client meanwhile stands behind
//! the replies that are there. Asked for by `exchange`.

use std::{
    future::poll_fn,
    io,
    task::{Context, Poll},
};

use pool::{Lent, ReplyKind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    exclusive::{exchange::Exchange, tracking::invalidation},
    observe::registry::Asked,
};

/// See the module's documentation.
pub(in crate::exclusive) enum Event {
    /// A whole message, which begins there in the output.
    Message(usize, ReplyKind),
    /// The beginning of a large reply, the rest of which is to be passed on as it comes.
    Begun(usize),
    Lost(io::Error),
    /// There are replies that the client can have now.
    Flush,
    /// The client has gone, or is to go.
    Gone,
    /// The gateway drains, and what the session waits for may never come.
    Drain,
    TimedOut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// The next message, or what ends the waiting for it. The client's end is one only while it blocks: what is
    /// sent without waiting is executed even if the client has gone. Cancel-safe.
    pub(in crate::exclusive) async fn next_event(
        &mut self,
        deadline: Option<Instant>,
        (waits, blocks): (bool, bool),
        in_pieces: bool,
    ) -> Event {
        poll_fn(|cx| self.poll_event(cx, deadline, (waits, blocks), in_pieces)).await
    }

    fn poll_event(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
        (waits, blocks): (bool, bool),
        in_pieces: bool,
    ) -> Poll<Event> {
        let Self { exclusive, link, state, subscriptions, settings, .. } = self;
        let Some(lending) = &mut exclusive.lending else { return Poll::Ready(Event::Gone) };
        let (at, is_joining) = (link.unwritten(), lending.confirming);
        let poll = if waits { Lent::poll_blocked } else { Lent::poll_reply };
        match poll(&mut lending.lent, cx, link.output(), in_pieces) {
            Poll::Ready(Ok(Some(kind))) => return Poll::Ready(Event::Message(at, kind)),
            Poll::Ready(Ok(None)) => return Poll::Ready(Event::Begun(at)),
            Poll::Ready(Err(error)) => return Poll::Ready(Event::Lost(error)),
            Poll::Pending if at > 0 => return Poll::Ready(Event::Flush),
            Poll::Pending => {}
        }
        let heard = exclusive.take_heard(cx, state, link.output());
        // Events of what is subscribed wait until all of that is confirmed.
        if heard.is_err() || (!is_joining && subscriptions.take_messages(cx, link, state.needs.protocol).is_err()) {
            return Poll::Ready(Event::Gone);
        }
        let is_subscribed = subscriptions.exist() || exclusive.is_subscribed();
        invalidation::deliver(cx, link, state.needs.protocol, is_subscribed);
        exclusive.take_answered_here(link, state);
        if link.unwritten() > 0 {
            return Poll::Ready(Event::Flush);
        }
        let asked = link.poll_asked(cx);
        let gone = link.poll_gone(cx, settings).is_ready();
        if asked.ends() || (gone && waits) {
            return Poll::Ready(Event::Gone);
        }
        if asked == Asked::Drain && blocks {
            return Poll::Ready(Event::Drain);
        }
        match deadline {
            Some(deadline) => link.poll_until(cx, deadline).map(|()| Event::TimedOut),
            None => Poll::Pending,
        }
    }
}
