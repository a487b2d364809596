//! One client's connection: its parts, and the way of what the client sends through them.
//!
//! It waits for one thing at a time: input (or messages, or to be asked to end, or its idle time-out), the answer to
//! its job, an exclusive connection, a subscription, or the client's taking of its replies; each has its time-out. While
//! it waits for an answer it does not read, and the client feels it through TCP, unless that pipelines (see `ahead`). A
//! client that has gone is noticed at the next read; what it had sent is executed before that.

use std::{
    future::poll_fn,
    io,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use pool::{Burst, Caller};
use resp::write_error;
use settings::{DEFAULT_USER, SessionSettings};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    client::{
        gather::{Bounds, Stop},
        link::Link,
        state::{ClientState, Replies, Transaction},
    },
    command::{class::Class, errors},
    config::{live_settings::LiveSettings, operator::Operator},
    exclusive::{connection::ExclusiveConnection, exchange::Exchange, tracking::invalidation},
    observe::{counts::Fault, presence::Presence, registry::Asked, sharing::account::Member, turned_away::Kind},
    pubsub::subscriptions::Subscriptions,
    session::{burst_size::Window, rules},
};

/// How long a new client may take to its first request before a drain closes it.
const FIRST_REQUEST: Duration = Duration::from_millis(200);

/// See the module's documentation.
///
/// Its fields stand in memory as they do here, as do those of its larger parts. What every request touches stands together,
/// and what few touch is at either end: where there are many clients, each request finds its session out of the cache.
#[repr(C)]
pub(crate) struct Session<S> {
    pub(super) link: Link<S>,
    /// What has been gathered and not been sent.
    pub(super) burst: Burst,
    pub(super) window: Window,
    pub(super) exclusive: ExclusiveConnection,
    pub(super) subscriptions: Subscriptions,
    pub(super) settings: LiveSettings,
    pub(super) operator: Arc<Operator>,
    pub(super) caller: Caller,
    pub(super) state: ClientState,
    /// Something has come of the client.
    has_come: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn new(
        stream: S,
        bytes_waiting: fn(&S) -> usize,
        presence: Presence,
        caller: Caller,
        operator: Arc<Operator>,
        subscriptions: Subscriptions,
    ) -> Self {
        let settings = operator.follow();
        let authenticated = !settings.users.are_required();
        let mut session = Self {
            state: ClientState::new(presence.id(), settings.db, authenticated),
            link: Link::new(stream, bytes_waiting, settings.limits, Arc::clone(caller.reply_bytes()), presence),
            caller,
            exclusive: ExclusiveConnection::default(),
            subscriptions,
            settings,
            operator,
            burst: Burst::default(),
            window: Window::new(),
            has_come: false,
        };
        session.demand_login(session.connected());
        session
    }

    /// Before it has said a word, the client counts as this user's and, if it `is_named`, has proved to be that user.
    pub(super) fn join(&mut self, member: Member, is_named: bool) {
        self.state.join(member, is_named, &self.settings);
        self.link.entry().update(|details| details.user = self.state.user().cloned());
        self.admit();
    }

    /// As `CLIENT ID` says it.
    pub(crate) fn id(&self) -> u64 {
        self.state.id
    }

    /// Serves the client until it, or the gateway, ends; `held` is dropped then. A client that is to be closed at once
    /// is closed whatever its session waits for.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn would hold the session twice, and a client cost as much more"
    )]
    pub(crate) fn run(mut self, held: impl Send) -> impl Future<Output = ()> {
        async move {
            let is_served = {
                let entry = Arc::clone(self.link.entry());
                let mut serving = pin!(self.serve());
                poll_fn(move |cx| match serving.as_mut().poll(cx) {
                    Poll::Pending if entry.poll_asked(cx) == Asked::Kill => Poll::Ready(false),
                    served => served.map(|()| true),
                })
                .await
            };
            if self.link.is_login_over() {
                self.link.published().turned_away.note(Kind::LoginTimeout, self.link.entry().address(), "");
            }
            self.exclusive.end();
            self.subscriptions.end();
            self.link.entry().inbox().close();
            if is_served {
                self.flush().await;
                self.link.shutdown(self.settings.write_timeout).await;
            }
            drop(held);
        }
    }

    /// The way of all that the client sends: what goes to the upstream is gathered and executed together; the request
    /// at which gathering stopped is served by itself; the replies go out before more is waited for.
    async fn serve(&mut self) {
        loop {
            // A connection that broke has nobody left to tell. The condition of a `while` would be kept through all waits.
            let Ok(mut stop) = self.gather().await else { break };
            self.has_come = true;
            if self.burst.replies_due > 0 && !self.execute(&mut stop).await {
                break;
            }
            let go_on = match stop {
                Stop::Incomplete | Stop::Full => true,
                // Boxed, so that the rare paths do not make every session's task larger.
                Stop::Other(_) | Stop::Nothing => {
                    let is_login = matches!(stop, Stop::Other(class) if rules::holds_login(class));
                    rules::wiped(is_login, Box::pin(self.serve_alone(stop)).await)
                }
                Stop::Malformed(error) if error.is_of_strangers() && Box::pin(self.stays_nobody()).await => true,
                Stop::Malformed(error) => self.refuse(Fault::Protocol, &errors::request(&error)),
                Stop::OutOfMemory => {
                    self.refuse(Fault::InputFull, errors::input_full(self.settings.input_bytes_max).as_bytes())
                }
                Stop::Tls => {
                    self.link.published().counts.fault(Fault::Protocol);
                    self.link.published().turned_away.note(Kind::TlsToPlain, self.link.entry().address(), "");
                    false
                }
                Stop::End if self.link.is_login_over() => Box::pin(self.stays_nobody()).await,
                Stop::End => false,
            };
            if !go_on {
                break;
            }
        }
    }

    fn bounds<'c>(&self, settings: &'c SessionSettings) -> Bounds<'c> {
        Bounds {
            settings,
            limits: self.state.limits(settings),
            requests: self.window.requests(settings.batch_max),
            alone: self.caller.alone_from(),
            lent: self.exclusive.is_wanted() || matches!(self.state.transaction, Transaction::Unwatched(_)),
            singly: self.is_looked_at_singly(),
        }
    }

    /// Whether each request is looked at by itself; see [`Bounds`].
    pub(super) fn is_looked_at_singly(&self) -> bool {
        !self.state.authenticated
            || self.subscriptions.restrict(self.state.needs.protocol)
            || self.state.transaction == Transaction::Aborted
            || self.state.select_failed.is_some()
            || (self.operator.cluster().is_some() && self.exclusive.is_at_one_node())
            || self.exclusive.restricts(Class::Multi, self.state.needs.protocol)
            || self.state.replies == Replies::SkipNext
            || self.exclusive.is_caching()
    }

    /// Gathers a burst from what is there already or, once the replies are out, from what comes.
    async fn gather(&mut self) -> io::Result<Stop> {
        if self.link.is_full() {
            // Replies to what is answered here gather while there is more of it.
            self.flush().await;
        }
        if let Some(stop) = self.gather_kept() {
            self.link.set_unasked(false);
            return Ok(stop);
        }
        self.flush().await;
        let (settings, deadline) = (self.settings.shared(), self.deadline());
        let bounds = self.bounds(&settings);
        poll_fn(|cx| self.poll_input(cx, bounds, deadline)).await
    }

    /// Gathers from what is there already; nothing if more has to come first.
    fn gather_kept(&mut self) -> Option<Stop> {
        let asked = self.link.entry().asked();
        if asked.ends() || self.link.is_login_over() || self.is_turned_away() {
            return Some(if asked == Asked::MakeRoom { Stop::OutOfMemory } else { Stop::End });
        }
        if self.has_come
            && asked == Asked::Drain
            && let Some(until) = self.link.published().registry.reads_until()
        {
            // A client that sends without pause would hold the end up.
            self.link.read_last(until);
        }
        if self.settings.is_outdated() && !self.refresh() {
            return Some(Stop::End);
        }
        // The upstream may bear something else by now.
        self.admit();
        self.link.count_queued(self.kept_bytes());
        if self.link.unread() == 0 {
            return (self.burst.replies_due > 0).then_some(Stop::Incomplete);
        }
        let settings = self.settings.shared();
        let bounds = self.bounds(&settings);
        let stop = self.link.gather(&mut self.burst, bounds);
        (stop != Stop::Incomplete || self.burst.replies_due > 0).then_some(stop)
    }

    /// What comes next: requests, a push for the client, or a reason to end.
    fn poll_input(
        &mut self,
        cx: &mut Context<'_>,
        bounds: Bounds<'_>,
        deadline: Option<Instant>,
    ) -> Poll<io::Result<Stop>> {
        let asked = self.link.entry().asked();
        if asked.ends() {
            return Poll::Ready(Ok(if asked == Asked::MakeRoom { Stop::OutOfMemory } else { Stop::End }));
        }
        // Before it drains, a session takes what has already come.
        if let Poll::Ready(read) = self.link.poll_requests(cx, &mut self.burst, bounds) {
            return Poll::Ready(read);
        }
        if let Poll::Ready(pushed) = self.poll_pushes(cx) {
            self.link.set_unasked(true);
            // What is left of the input is looked at again after the pushes are out.
            return Poll::Ready(pushed.map(|()| Stop::Incomplete));
        }
        if self.link.is_deaf() {
            // It takes no replies any more, and all that it had sent is executed.
            return Poll::Ready(Ok(Stop::End));
        }
        if self.link.poll_asked(cx) != Asked::Nothing {
            // Whoever has only just come has a request on its way.
            if !self.has_come {
                ready!(self.link.poll_until(cx, self.connected() + FIRST_REQUEST));
            }
            return Poll::Ready(Ok(Stop::End));
        }
        if self.settings.is_outdated() || self.is_turned_away() {
            return Poll::Ready(Ok(Stop::Incomplete));
        }
        let room = self.link.waits_for_room_until(self.settings.queue_timeout);
        match (room, deadline) {
            (Some(room), _) if deadline.is_none_or(|deadline| room < deadline) => {
                ready!(self.link.poll_until(cx, room));
                let goes_on = self.link.insist_on_room();
                Poll::Ready(Ok(if goes_on { Stop::Incomplete } else { Stop::OutOfMemory }))
            }
            (_, Some(deadline)) => {
                ready!(self.link.poll_until(cx, deadline));
                if self.is_idle_in_transaction() {
                    let published = self.link.published();
                    published.turned_away.note(Kind::IdleTransaction, self.link.entry().address(), "");
                }
                Poll::Ready(Ok(Stop::End))
            }
            (_, None) => Poll::Pending,
        }
    }

    /// Passes on what comes without having been asked for, as far as it is there; an error when the session is to be
    /// closed.
    fn poll_pushes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.link.unwritten();
        self.subscriptions.take_messages(cx, &mut self.link, self.state.needs.protocol)?;
        let is_subscribed = self.subscriptions.exist() || self.exclusive.is_subscribed();
        invalidation::deliver(cx, &mut self.link, self.state.needs.protocol, is_subscribed);
        if self.link.unwritten() > before {
            return Poll::Ready(Ok(()));
        }
        if self.exclusive.poll_pushes(cx, &self.state, self.link.output())?.is_pending() {
            self.exclusive.take_answered_here(&mut self.link, &self.state);
        }
        if self.link.unwritten() > before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Goes by new settings; false if they do not know the client's user any more.
    fn refresh(&mut self) -> bool {
        self.settings.refresh();
        let stays = self.state.user().is_none_or(|user| self.settings.users.keep(user));
        if !self.settings.users.are_required() {
            let member = self.link.published().accounts.keep(DEFAULT_USER, &self.settings.of_users);
            self.state.join(member, false, &self.settings);
            self.link.entry().update(|details| details.user = None);
        }
        self.state.look_up_limits(&self.settings);
        // Whether it is another login than before, it is the one to go by.
        let has_login = self.settings.users.are_known_upstream() || self.caller.is_guest();
        let stays = stays && (!has_login || self.look_up_login());
        self.admit();
        stays
    }

    /// The upstream does not take the client's user any more, of which it decides.
    fn is_turned_away(&self) -> bool {
        self.caller.is_turned_away() && self.settings.users.elsewhere
    }

    /// Bytes of memory for what is kept of requests that have been answered.
    pub(super) fn kept_bytes(&self) -> usize {
        self.exclusive.kept_bytes() + self.subscriptions.bytes()
    }

    fn connected(&self) -> Instant {
        Instant::from_std(self.link.entry().since())
    }

    /// Whether the client, as long as it sends nothing, has the time of a transaction and not that of others.
    fn is_idle_in_transaction(&self) -> bool {
        let limits = (self.settings.transaction_idle, self.settings.idle_timeout);
        let is_shorter = limits.0.is_some_and(|limit| limits.1.is_none_or(|idle| limit < idle));
        is_shorter && (self.exclusive.is_in_transaction() || self.exclusive.is_watching())
    }

    /// When a client that sends nothing is closed, if ever. Subscribers only listen, as in Redis.
    fn deadline(&self) -> Option<Instant> {
        if let Some(until) = self.link.login_until() {
            return Some(until);
        }
        let timeout = if self.is_idle_in_transaction() {
            self.settings.transaction_idle
        } else {
            let listens = self.subscriptions.exist() || self.exclusive.is_listened_to();
            self.settings.idle_timeout.filter(|_| !listens)
        };
        timeout.map(|timeout| Instant::now() + timeout)
    }

    /// What an exchange over the exclusive connection needs of the session.
    pub(super) fn exchange(&mut self) -> Exchange<'_, S> {
        let Self { exclusive, link, state, caller, operator, subscriptions, settings, .. } = self;
        Exchange { exclusive, link, state, caller, cluster: operator.cluster(), subscriptions, settings }
    }

    /// Writes all replies; see [`Link::flush`].
    pub(super) fn flush(&mut self) -> impl Future<Output = ()> {
        let Self { link, settings, subscriptions, .. } = self;
        link.flush(settings, || subscriptions.is_overrun())
    }

    /// Says why, to a client that wants replies, and closes.
    fn refuse(&mut self, fault: Fault, text: &[u8]) -> bool {
        self.link.published().fault(fault, self.link.entry().address(), &String::from_utf8_lossy(text));
        if !self.state.is_muted() {
            write_error(self.link.output(), text);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;
    use tracing::Instrument;

    use super::*;

    /// Bytes of a session's task, of which a gateway has as many as clients.
    const TASK_BYTES_MAX: usize = 1080;

    fn size_of_future<F: Future>(_: impl Fn(Session<TcpStream>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_task_is_no_larger_than_it_may_be() {
        let size = size_of_future(|session| session.run((0_usize, Arc::new(()))).instrument(tracing::Span::none()));
        assert!(size <= TASK_BYTES_MAX, "{size} bytes");
    }
}
