//! How a session serves a client that pipelines while its burst is out: it hands on the replies as they come, and
//! gathers what the client sends meanwhile as a further burst, which follows the first into the same connection.
//!
//! Two bursts are out at most, on one connection, which cannot swap them; the room `caller` of the pool sees to that.
//! A further burst that may not follow waits until the first has its replies. What does not go with a burst (a request
//! that the gateway answers, or that needs an exclusive connection) waits until all bursts have theirs.

use std::task::{Context, Poll};

use pool::{Burst, Further, Out, Pieces, REPLY_FREE_BYTES};
use settings::SessionSettings;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::Span;

use crate::{
    client::{
        gather::{Bounds, Stop},
        link::Link,
        outlet::Outlet,
        state::{ClientState, Transaction},
    },
    config::live_settings::LiveSettings,
    observe::{registry::Asked, spans},
    session::{burst::pieces_of, burst_size::Window, session::Session},
};

/// What is done while a burst is out. Nothing is read ahead while replies wait for the client to take them, nor of a
/// client that has to log in, listens for messages, or is asked to end; nor once other settings are in force.
struct Ahead<'s, S> {
    link: &'s mut Link<S>,
    state: &'s ClientState,
    settings: &'s LiveSettings,
    window: Window,
    /// Nothing but plain requests is to be expected, whatever the client sends.
    may_read: bool,
    outlet: Outlet,
    /// What has been gathered and has not followed.
    gathered: &'s mut Burst,
    /// Why gathering stopped.
    stop: &'s mut Stop,
    followed: Option<(Further, Option<Span>)>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Ahead<'_, S> {
    fn poll(&mut self, cx: &mut Context<'_>, out: &Out<'_>) {
        let Self { outlet, link, state, settings, .. } = self;
        outlet.pass_on(cx, link, (settings, state.is_muted()), |cx, into| out.poll_replies(cx, into));
        if self.followed.is_some() || !out.may_pass() {
            return;
        }
        self.gather(cx, out);
        if self.gathered.replies_due > 0 && self.costs_little() {
            let span = spans::job(self.state.id, self.gathered);
            self.gathered.needs = self.state.needs;
            let expected = self.window.expected(self.gathered.replies_due as usize);
            self.gathered.expected = self.window.expects(expected);
            self.gathered.pieces = pieces_of(self.gathered, self.link, Pieces::AsTheyCome);
            self.followed = out.follow(self.gathered).map(|further| (further, span));
        }
    }

    /// Gathers what has come, as long as there may be more that goes with it.
    fn gather(&mut self, cx: &mut Context<'_>, out: &Out<'_>) {
        let goes_on = self.link.entry().asked() == Asked::Nothing && !self.settings.is_outdated();
        let is_taking = !self.link.is_deaf() && !self.link.is_full();
        if !self.may_read || !goes_on || !is_taking || !matches!(self.stop, Stop::Incomplete | Stop::Full) {
            return;
        }
        let settings: &SessionSettings = self.settings;
        let bounds = Bounds {
            settings,
            limits: self.state.limits(settings),
            requests: self.window.requests(settings.batch_max),
            alone: out.alone_from(),
            lent: matches!(self.state.transaction, Transaction::Unwatched(_)),
            singly: false,
        };
        if *self.stop == Stop::Full {
            *self.stop = self.link.gather(self.gathered, bounds);
        }
        while *self.stop == Stop::Incomplete && self.link.may_gather_on(self.gathered, bounds) {
            match self.link.poll_requests(cx, self.gathered, bounds) {
                Poll::Ready(read) => *self.stop = read.unwrap_or(Stop::End),
                Poll::Pending => break,
            }
        }
    }

    /// Whether the replies to what has been gathered need no room of the memory for replies.
    fn costs_little(&self) -> bool {
        self.window.expected(self.gathered.replies_due as usize) <= REPLY_FREE_BYTES
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Has the gathered burst executed and all that comes while it is out; `stop` says why gathering stopped, and is
    /// why in the end.
    pub(super) async fn execute_ahead(&mut self, stop: &mut Stop) {
        let (mut gathered, mut further) = (Burst::default(), None::<(Further, Option<Span>)>);
        let mut is_counted = true;
        loop {
            let (due, span, further_job) = match further.take() {
                Some((job, span)) => (job.replies_due(), span, Some(job)),
                None if !self.prepare().await => return,
                None => (self.burst.replies_due, spans::job(self.state.id, &self.burst), None),
            };
            if !std::mem::take(&mut is_counted) {
                // What is due is counted and never refused.
                let _ = self.state.charge(due, &self.settings, true);
            }
            // Where requests a second are bounded, each burst is looked at before it goes.
            let is_bounded = self.state.limits(&self.settings).requests_per_second.is_some();
            let may_read = !is_bounded && !self.is_looked_at_singly() && !self.subscriptions.exist();
            let Self { caller, burst, link, state, settings, window, .. } = self;
            burst.pieces = pieces_of(burst, link, Pieces::AsTheyCome);
            let mut ahead = Ahead {
                link,
                state,
                settings,
                window: *window,
                may_read,
                outlet: Outlet::default(),
                gathered: &mut gathered,
                stop,
                followed: None,
            };
            let mut result = caller.execute_meanwhile(burst, further_job, |cx, out| ahead.poll(cx, &out)).await;
            further = ahead.followed;
            if let Some(span) = span {
                spans::done(&span, caller.spent(), result.as_ref().err());
            }
            let mut due = due;
            if self.may_be_refused() {
                let (mut job, span) = further.take().unzip();
                let (asked, added) = Box::pin(self.ask_again(result, &mut job)).await;
                (result, due) = (asked, due + added);
                match job {
                    Some(job) => further = Some((job, span.flatten())),
                    None => {
                        if let Some(span) = span.flatten() {
                            spans::done(&span, self.caller.spent(), result.as_ref().err());
                        }
                    }
                }
            }
            let spent = self.caller.spent();
            self.make_way().await;
            self.answered(due, spent, result.err());
            self.flush().await;
            self.link.count_replies_by(None);
            if further.is_none() {
                if gathered.replies_due == 0 {
                    return;
                }
                std::mem::swap(&mut self.burst, &mut gathered);
            }
        }
    }
}
