//! An exchange over an exclusive connection: requests go there one by one, replies and pushes come back as they are.
//! A client that vanishes first has the connection closed. What serves the exchange is lent to it by the session.

use std::{io, sync::Arc, time::Duration};

use cluster::Cluster;
use pool::{Burst, Caller, JobError, ReplyKind, Spent, UnderWay, micros};
use settings::SessionSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::coop::consume_budget,
    time::Instant,
};

use crate::{
    client::{link::Link, state::ClientState},
    command::{errors, full_name::NO_COMMAND},
    exclusive::{
        change::Change,
        connection::ExclusiveConnection,
        incoming::{event::Event, message::Message, pieces::keep_head},
        nodes::{
            blocked::{end_of_stream, tell_of_deletion},
            bound::subscribed::{is_cut_off, is_of_former},
        },
        request::ExclusiveRequest,
        transaction::settle::silence,
    },
    observe::counts::Fault,
    pubsub::subscriptions::Subscriptions,
};

/// Enough of a reply to tell what it is.
pub(super) type ReplyHead = [u8; 12];

/// An exchange that ended before all replies were there.
pub(super) struct Broken {
    /// Replies that did not come.
    missing: u32,
    /// The session goes on all the same.
    go_on: bool,
}

impl Broken {
    pub(super) fn closing(missing: u32) -> Self {
        Self { missing, go_on: false }
    }
}

/// See the module's documentation.
// Open: the session puts together what it lends.
pub(crate) struct Exchange<'x, S> {
    pub(crate) exclusive: &'x mut ExclusiveConnection,
    pub(crate) link: &'x mut Link<S>,
    pub(crate) state: &'x mut ClientState,
    pub(crate) caller: &'x mut Caller,
    pub(crate) cluster: Option<&'x Cluster>,
    /// Messages of shared pub/sub come meanwhile.
    pub(crate) subscriptions: &'x mut Subscriptions,
    pub(crate) settings: &'x SessionSettings,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has one request executed, on a connection that is borrowed for it if need be; false to close the session.
    pub(crate) async fn run(&mut self, mut request: ExclusiveRequest) -> bool {
        if let Some(cluster) = self.cluster {
            return Box::pin(self.run_in(cluster, request)).await;
        }
        if !self.exclusive.is_lent() && !self.borrow(&mut request).await {
            return true;
        }
        let mut go_on = self.run_here(&mut request).await;
        if self.exclusive.lending.as_ref().is_some_and(|lending| lending.refused) {
            go_on = Box::pin(self.ask_another(&mut request)).await;
        }
        if go_on {
            self.exclusive.end_if_over();
        }
        go_on
    }

    /// Has it executed on the connection that the session borrows.
    pub(super) async fn run_here(&mut self, request: &mut ExclusiveRequest) -> bool {
        if request.waits()
            && let Some(at) = self.exclusive.lending.as_ref().and_then(|lending| lending.at())
        {
            self.link.entry().blocked().begin(at);
        }
        if let Some(redirect) = request.redirect.take() {
            if let Err(failure) = Box::pin(self.translate(request, &redirect)).await {
                return self.cannot_redirect(request, &failure).await;
            }
            request.redirect = Some(redirect);
        }
        if let Some(lending) = self.exclusive.lending.as_mut().filter(|lending| lending.is_in_transaction()) {
            lending.queued.expect(request.noted());
        }
        let mut head = ReplyHead::default();
        let go_on = self.exchange_shown(request, &mut head).await;
        let asked_to_unblock = self.link.entry().blocked().end();
        if let Some(lending) = &mut self.exclusive.lending {
            if asked_to_unblock {
                lending.mark();
            }
            if let Some(db) = lending.apply(request.change, &head) {
                self.state.needs.db = db;
            }
            lending.end_redirections();
            if request.marks {
                lending.mark();
            }
            lending.teaches |= request.teaches && head[0] == b'+';
            if lending.teaches && !lending.is_in_transaction() {
                lending.teaches = false;
                // Before the client knows: what it asks next may depend on it.
                Box::pin(lending.lent.learn_again()).await;
                self.link.published().remembered.forget();
            }
        }
        match request.change {
            Change::Tracking { .. } | Change::Manner(..) | Change::Caching if head[0] == b'+' => {
                return go_on && self.spread(request).await;
            }
            Change::Watch if head[0] == b'+' => self.state.transaction.watched(request.hash()),
            Change::Watch if self.is_refused_by_cluster(&head) => self.refuse_watch(request),
            Change::Unwatch if head[0] == b'+' => self.state.transaction.unwatched(),
            _ => {}
        }
        go_on
    }

    /// There is no connection for the client to which `request` redirects.
    async fn cannot_redirect(&mut self, request: &ExclusiveRequest, failure: &JobError) -> bool {
        if self.exclusive.is_in_transaction() {
            self.link.published().failed(failure, 1, self.link.entry().address());
            return self.abort_transaction(&errors::job(failure, &self.settings.upstream)).await;
        }
        self.fail_replies(request.errors(), failure);
        self.exclusive.end_if_over();
        true
    }

    /// Has gathered requests executed on the connection that the session already borrows.
    pub(crate) async fn run_burst(&mut self, burst: Burst) -> bool {
        let request = ExclusiveRequest::burst(burst);
        self.exchange_shown(&request, &mut ReplyHead::default()).await
    }

    /// The same as `exchange`. Others see what the client has sent, from before it is executed: it may take long.
    async fn exchange_shown(&mut self, request: &ExclusiveRequest, head: &mut ReplyHead) -> bool {
        let show = |link: &Link<S>, command: &str| link.entry().update(|details| details.command = command.into());
        let Some(command) = &request.command else { return self.exchange(request, head).await };
        show(self.link, command);
        let go_on = self.exchange(request, head).await;
        if head.starts_with(b"-ERR unknown") && !command.contains('|') {
            show(self.link, NO_COMMAND);
        }
        go_on
    }

    /// Has requests executed and counts what became of them; false to close the session.
    pub(super) async fn exchange(&mut self, request: &ExclusiveRequest, head: &mut ReplyHead) -> bool {
        let Some(reason) = self.exclusive.reason() else { return false };
        let (published, began) = (Arc::clone(self.link.published()), Instant::now());
        let tally = published.counts.exclusive(reason);
        let under_way = UnderWay::begin(tally, request.counted);
        self.link.entry().goes_out(began.into_std());
        let ended = self.send_and_receive(request, head).await;
        self.link.entry().is_back();
        let failed = ended.as_ref().map_or_else(|broken| broken.missing.min(request.counted), |()| 0);
        under_way.end(failed);
        let (queue_us, rest_us) = (micros(request.waited), micros(began.elapsed()));
        if failed == 0 && request.counted > 0 {
            tally.took(queue_us, rest_us);
        }
        let spent = Spent { queue_us, total_us: queue_us.saturating_add(rest_us) };
        if spent.total_us >= self.settings.slow_log.threshold_us && !request.waits() {
            let entry = self.link.entry();
            published.slow_log.add(entry, &request.requests, request.due, spent, self.settings.slow_log);
        }
        ended.map_or_else(|broken| broken.go_on, |()| true)
    }

    /// Sends requests and passes on what comes until they are answered, keeping the beginning of the last
    /// reply in `head`.
    async fn send_and_receive(&mut self, request: &ExclusiveRequest, head: &mut ReplyHead) -> Result<(), Broken> {
        let Some(lending) = &mut self.exclusive.lending else { return Err(Broken::closing(request.due)) };
        lending.expect(request.change, request.due, request.errors());
        lending.end_caching(request.command.as_deref());
        if let Err(error) = lending.lent.send(&lending.queued.sent_with(request)).await {
            lending.refused = request.may_go_elsewhere(&error);
            return if lending.refused { Ok(()) } else { Err(self.lost(&error, request)) };
        }
        let reply_timeout = self.settings.reply_timeout;
        let mut deadline = request.blocks_for.map(|time| Instant::now() + time + reply_timeout);
        let (mut swallow, mut blocks, in_pieces) = (request.swallow, request.waits(), self.may_go_in_pieces(request));
        while self.exclusive.lending.as_ref().is_some_and(|lending| lending.is_waiting()) {
            match self.next_event(deadline, (request.waits(), blocks), in_pieces && swallow == 0).await {
                Event::Begun(at) => {
                    let took = Box::pin(self.pass_on_pieces(at, request, head)).await?;
                    deadline = deadline.map(|deadline| deadline + took);
                }
                Event::Message(at, kind) => {
                    // Others have their turns, however many replies one request has.
                    consume_budget().await;
                    let unblocked = request.waits() && !blocks;
                    let ends_at_node = self.cluster.is_some() && request.change == Change::EndMulti;
                    if kind == ReplyKind::Error || ends_at_node {
                        Box::pin(self.must_be_primary((at, kind), request)).await?;
                    }
                    self.take_message(at, kind, request, unblocked, &mut swallow, head).await?;
                }
                Event::Flush => {
                    let (link, subscriptions) = (&mut self.link, &self.subscriptions);
                    link.flush(self.settings, || subscriptions.is_overrun()).await;
                }
                Event::Lost(error) => return Err(self.lost(&error, request)),
                Event::Gone => return Err(self.gone()),
                Event::Drain => {
                    blocks = false;
                    if !self.unblock().await {
                        return Err(self.gone());
                    }
                }
                Event::TimedOut => return Err(self.timed_out(request, reply_timeout)),
            }
        }
        if request.change == Change::Monitor || request.counted == 0 {
            return Ok(());
        }
        let Self { exclusive, link, state, .. } = self;
        if exclusive.take_rest(state, link.output()).await { Ok(()) } else { Err(Broken::closing(0)) }
    }

    /// Takes in a message that begins at `at` in the output. `unblocked`: the upstream has been asked to end the
    /// request.
    async fn take_message(
        &mut self,
        at: usize,
        kind: ReplyKind,
        request: &ExclusiveRequest,
        unblocked: bool,
        swallow: &mut u32,
        head: &mut ReplyHead,
    ) -> Result<(), Broken> {
        let Some(lending) = &mut self.exclusive.lending else { return Err(Broken::closing(request.due)) };
        let out = self.link.output();
        if unblocked && out[at..].starts_with(b"-UNBLOCKED") {
            // The session closes without a reply, as with a Redis that is shut down.
            out.truncate(at);
            return Err(Broken::closing(lending.missing()));
        }
        if self.cluster.is_some_and(|cluster| is_of_former(lending, &out[at..], (request, cluster, self.state))) {
            out.truncate(at);
            return Ok(());
        }
        let seen = lending.saw(&out[at..], kind, self.state.needs.protocol);
        if seen != Message::Reply && is_cut_off(lending, &out[at..], request.command.as_deref()) {
            out.truncate(at);
            return Err(Broken::closing(lending.missing()));
        }
        let monitors = lending.is_monitor();
        if request.change == Change::EndMulti && !lending.queued.gather(out, at, seen, monitors) {
            lending.expect(request.change, 1, request.errors());
            return Ok(());
        }
        if matches!(seen, Message::Push | Message::Monitored) {
            lending.pass_on(seen, self.state, out, at);
            return Ok(());
        }
        if request.change == Change::ShowTracking {
            lending.translate(out, at, self.state.id);
        }
        keep_head(&out[at..], head);
        lending.refused = request.is_refused(&out[at..]);
        let tracks = lending.only_tracks();
        let goes_on = |cluster| lending.at_node.is_sent_elsewhere(&out[at..], request, (cluster, tracks));
        if lending.refused || self.cluster.is_some_and(goes_on) {
            *swallow = swallow.saturating_sub(1);
            out.truncate(at);
            return Ok(());
        }
        tell_of_deletion(out, at, request);
        lending.at_node.tell_of_offset(out, at, request, *swallow > 0);
        if *swallow > 0 && request.waits() {
            lending.at_node.ends.extend(end_of_stream(&out[at..]));
        }
        let (muted, mut settled) = (self.state.is_muted(), None);
        if lending.is_in_transaction() && request.change != Change::EndMulti {
            lending.queued.saw(&out[at..]);
        } else if lending.is_in_transaction() {
            Box::pin(self.execute_at_others(at)).await;
            settled = self.settle(at).await;
        }
        if *swallow > 0 || (muted && seen == Message::Reply && settled.is_none()) {
            *swallow = swallow.saturating_sub(1);
            silence(self.link.output(), at);
        }
        if settled.unwrap_or(true) { Ok(()) } else { Err(Broken::closing(0)) }
    }

    /// No reply came in time, and what comes yet is nobody's: the connection is closed. So is a session with state on it.
    pub(super) fn timed_out(&mut self, request: &ExclusiveRequest, reply_timeout: Duration) -> Broken {
        let failure = JobError::ReplyTimeout(reply_timeout);
        self.caller.count_failure(&failure);
        let Some(lending) = self.exclusive.lending.take() else { return Broken::closing(0) };
        let tally = self.link.published().counts.exclusive(lending.reason());
        tally.took(micros(request.waited), micros(reply_timeout));
        self.fail_replies(lending.missing(), &failure);
        Broken { missing: lending.missing(), go_on: !lending.is_needed() && !lending.is_changing() }
    }

    /// The client has gone, or has to go, and its replies may still come.
    pub(super) fn gone(&self) -> Broken {
        self.link.published().counts.fault(Fault::ClientGone);
        Broken::closing(self.exclusive.lending.as_ref().map_or(0, |lending| lending.missing()))
    }

    /// The exclusive connection broke. A session with state on it ends, as it would with Redis; others go on, and one
    /// that was to begin there.
    pub(super) fn lost(&mut self, error: &io::Error, request: &ExclusiveRequest) -> Broken {
        let Some(lending) = self.exclusive.lending.take() else { return Broken::closing(0) };
        if request.is_ended_by(error) {
            return Broken::closing(lending.missing());
        }
        let (failure, mut go_on) = self.loss(error, request);
        self.caller.count_failure(&failure);
        self.fail_replies(lending.missing(), &failure);
        let (client, reason) = (self.link.entry().id(), lending.reason().name());
        tracing::debug!(client, reason, %error, "exclusive connection lost");
        go_on |= !lending.is_needed() && !lending.is_changing();
        Broken { missing: lending.missing(), go_on }
    }
}
