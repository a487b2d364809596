//! A large reply on an exclusive connection: its client gets it as it comes. No more of it is read while the client takes
//! none, which holds up nobody else. Where the rest is lost the client is closed, because half a reply cannot become an
//! error. What has to be looked at as a whole comes as a whole. Called by `exchange`.

use std::{
    future::poll_fn,
    task::{Context, Poll},
    time::Duration,
};

use resp::Protocol;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    client::outlet::Outlet,
    command::refusal::has_scripts,
    exclusive::{
        change::Change,
        exchange::{Broken, Exchange, ReplyHead},
        incoming::event::Event,
        request::ExclusiveRequest,
    },
};

/// Bytes by which a reply has come on: a byte now and then is no sign of life.
const ENOUGH_BYTES: usize = 16 * 1024;

/// A large reply on its way.
struct Course {
    outlet: Outlet,
    /// When it last came on, or had to wait for its client.
    last: Instant,
    /// Bytes that have come since.
    bytes: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Whether a large reply to `request` goes to its client as it comes: nobody has to see all of it before, and nothing
    /// that is pushed may look like it.
    pub(in crate::exclusive) fn may_go_in_pieces(&self, request: &ExclusiveRequest) -> bool {
        let Some(lending) = &self.exclusive.lending else { return false };
        // What a node of a cluster has refused stands within the reply to EXEC, if scripts are in it.
        let may_be_refused = || self.cluster.is_some() && lending.at_node.logged().is_some_and(has_scripts);
        let is_its_own = match request.change {
            Change::None => !lending.is_in_transaction(),
            Change::EndMulti => lending.queued.is_as_it_is() && !may_be_refused(),
            _ => false,
        };
        let protocol = self.state.needs.protocol;
        // Of a client that wants no replies: what is pushed within one is passed on.
        let is_searched = self.state.is_muted() && protocol == Protocol::Resp3;
        is_its_own && !is_searched && !lending.is_restricted(protocol) && !lending.is_monitor()
    }

    /// Passes on the reply that begins at `at` in the output, and keeps its beginning in `head`. How long that took.
    pub(in crate::exclusive) async fn pass_on_pieces(
        &mut self,
        at: usize,
        request: &ExclusiveRequest,
        head: &mut ReplyHead,
    ) -> Result<Duration, Broken> {
        let (began, is_muted) = (Instant::now(), self.state.is_muted());
        keep_head(&self.link.output()[at..], head);
        if is_muted {
            self.link.output().truncate(at);
        }
        let mut course = Course { outlet: Outlet::default(), last: began, bytes: 0 };
        let event = poll_fn(|cx| self.poll_pieces(cx, &mut course, is_muted)).await;
        let is_lost = matches!(event, Event::Lost(_) | Event::TimedOut);
        if is_lost && !is_muted {
            self.link.break_off();
        }
        match event {
            Event::Message(_, kind) => {
                if let Some(lending) = &mut self.exclusive.lending {
                    lending.saw(head, kind, self.state.needs.protocol);
                    lending.refused = false;
                    if request.change == Change::EndMulti {
                        lending.queued = Default::default();
                    }
                }
                Ok(began.elapsed())
            }
            Event::Lost(error) => Err(self.lost(&error, request)),
            Event::TimedOut => Err(self.timed_out(request, self.settings.reply_timeout)),
            Event::Begun(_) | Event::Flush | Event::Gone | Event::Drain => Err(self.gone()),
        }
    }

    fn poll_pieces(&mut self, cx: &mut Context<'_>, course: &mut Course, is_muted: bool) -> Poll<Event> {
        let Self { exclusive, link, subscriptions, settings, .. } = self;
        let Some(lending) = &mut exclusive.lending else { return Poll::Ready(Event::Gone) };
        let Course { outlet, last, bytes } = course;
        let mut end = None;
        outlet.pass_on(cx, link, (settings, is_muted), |cx, out| {
            let from = out.len();
            if end.is_none() {
                end = match lending.lent.poll_piece(cx, out) {
                    Poll::Ready(Ok(kind)) => kind.map(|kind| Event::Message(from, kind)),
                    Poll::Ready(Err(error)) => Some(Event::Lost(error)),
                    Poll::Pending => None,
                };
            }
            *bytes += out.len() - from;
            out.len() - from
        });
        if let Some(end) = end {
            return Poll::Ready(end);
        }
        if link.poll_asked(cx).ends() || (outlet.is_stuck() && subscriptions.is_overrun()) {
            link.stop_writing();
            return Poll::Ready(Event::Gone);
        }
        if outlet.is_stuck() || *bytes >= ENOUGH_BYTES {
            (*last, *bytes) = (Instant::now(), 0);
        }
        if outlet.is_stuck() {
            return Poll::Pending;
        }
        link.poll_until(cx, *last + settings.reply_timeout).map(|()| Event::TimedOut)
    }
}

/// Keeps the beginning of a reply.
pub(in crate::exclusive) fn keep_head(reply: &[u8], head: &mut ReplyHead) {
    let length = head.len().min(reply.len());
    head.fill(0);
    head[..length].copy_from_slice(&reply[..length]);
}
