//! How a session has gathered requests executed: by the pool's workers, or on the exclusive connection while it
//! borrows one. Afterwards there is a reply to each of them.

use std::time::{Duration, Instant};

use ::topology::Address;
use cluster::{Choice, Reads};
use pool::{Burst, JobError, Pieces, REPLY_FREE_BYTES, Spent};
use settings::{DEFAULT_USER, ReadSettings, Reads as Where};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::{Instrument, Span};

use crate::{
    client::{
        gather::Stop,
        link::{Link, recycle},
        outlet::Outlet,
    },
    command::{class::Class, errors, refusal::has_scripts},
    observe::{counts::Fault, spans, turned_away::Kind},
    session::session::Session,
};

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Has the gathered burst executed; afterwards the output has a reply to each of its requests. `stop` says why
    /// gathering stopped. False to close the session.
    pub(super) async fn execute(&mut self, stop: &mut Stop) -> bool {
        let due = self.burst.replies_due;
        if self.burst.read_only && self.link.is_deaf() && !self.exclusive.is_wanted() {
            // Its replies are for nobody, and it changes nothing.
            self.burst = Burst::default();
            return true;
        }
        if let Err(wait) = self.state.charge(due, &self.settings, self.exclusive.is_in_transaction()) {
            self.refuse_for_now(due, wait);
            return true;
        }
        if self.exclusive.takes(Class::Plain { read_only: false }, self.state.needs.protocol) {
            let burst = std::mem::take(&mut self.burst);
            // Kept, they would keep the nodes of a cluster as they are now.
            self.link.routes().take();
            let go_on = Box::pin(async { self.exchange().run_burst(burst).await }).await;
            self.note_write();
            self.publish();
            self.flush().await;
            return go_on;
        }
        if self.operator.cluster().is_some() {
            if self.prepare().await {
                let is_answered = if self.is_led() {
                    let result = self.caller.execute(&mut self.burst).await;
                    self.burst.begun.is_none() && self.is_back(result, false)
                } else {
                    false
                };
                if !is_answered {
                    // Boxed, so that only those who need it have the larger task.
                    Box::pin(self.execute_in()).await;
                }
                self.link.routes().take();
                self.flush().await;
                self.link.count_replies_by(None);
            }
            return true;
        }
        if let Some(reads) = self.state.limits(&self.settings).reads {
            Box::pin(self.execute_by(reads)).await;
            return true;
        }
        if self.burst.replies_due > 1 || *stop == Stop::Full {
            // The client pipelines. Boxed, so that one that does not costs no more.
            Box::pin(self.execute_ahead(stop)).await;
            return true;
        }
        if self.prepare().await {
            self.burst.pieces = pieces_of(&self.burst, &self.link, Pieces::Announced);
            let mut result = if spans::are_wanted() {
                Box::pin(self.execute_within_span()).await
            } else {
                self.caller.execute(&mut self.burst).await
            };
            if self.burst.begun.is_some() {
                // Boxed, because a large reply is rare.
                result = Box::pin(self.pass_on(result)).await;
            }
            if self.may_be_refused() {
                (result, _) = Box::pin(self.ask_again(result, &mut None)).await;
            }
            let spent = self.caller.spent();
            self.answered(due, spent, result.err());
            self.flush().await;
            self.link.count_replies_by(None);
        }
        true
    }

    /// Has the burst executed where the caller leads, within a span if anybody wants to see one.
    pub(super) async fn execute_here(&mut self) -> Result<(), JobError> {
        match spans::job(self.state.id, &self.burst) {
            None => self.caller.execute(&mut self.burst).await,
            Some(span) => spans::execute(&mut self.caller, &mut self.burst, span).await,
        }
    }

    /// The same for a burst whose large replies are passed on as they come.
    pub(super) async fn execute_within_span(&mut self) -> Result<(), JobError> {
        let span = spans::job(self.state.id, &self.burst);
        let result = self.execute_begun(span.as_ref()).await;
        let result = self.pass_on(result).await;
        if let Some(span) = span {
            spans::done(&span, self.caller.spent(), result.as_ref().err());
        }
        result
    }

    /// The same up to where a large reply begins, which is to be passed on.
    pub(super) async fn execute_begun(&mut self, span: Option<&Span>) -> Result<(), JobError> {
        let executed = self.caller.execute(&mut self.burst);
        match span {
            Some(span) => executed.instrument(span.clone()).await,
            None => executed.await,
        }
    }

    /// Passes a large reply on to the client as it comes, if one has begun to; otherwise the `result` stands.
    pub(super) async fn pass_on(&mut self, result: Result<(), JobError>) -> Result<(), JobError> {
        self.pass_on_seen(result, |_| ()).await
    }

    /// The same; all that is passed on is shown to `see`.
    pub(super) async fn pass_on_seen(
        &mut self,
        result: Result<(), JobError>,
        mut see: impl FnMut(&[u8]),
    ) -> Result<(), JobError> {
        let Some(begun) = self.burst.begun.take() else { return result };
        let (mut outlet, is_muted) = (Outlet::default(), self.state.is_muted());
        let Self { caller, burst, link, settings, .. } = self;
        let result = caller.go_on(burst, begun, |cx, out| {
            outlet.pass_on(cx, link, (settings, is_muted), |cx, into| {
                let from = into.len();
                let bytes = out.poll_replies(cx, into);
                see(&into[from..]);
                bytes
            });
        });
        let result = result.await;
        self.make_way().await;
        result
    }

    /// Writes what has come of a large reply before the rest of it takes its place.
    pub(super) async fn make_way(&mut self) {
        if self.burst.in_part && !self.burst.is_torn && self.burst.replies.len() > REPLY_FREE_BYTES {
            self.flush().await;
        }
    }

    /// Gets the gathered burst ready to be sent; false if there is no room for its replies, which it has been told.
    pub(super) async fn prepare(&mut self) -> bool {
        self.burst.needs = self.state.needs;
        let due = self.burst.replies_due;
        let expected = self.window.expected(due as usize);
        self.burst.expected = self.window.expects(expected);
        if expected > REPLY_FREE_BYTES {
            self.burst.room = self.link.room_for_replies(expected, &self.settings).await.map(Box::new);
            if self.burst.room.is_none() {
                self.refuse_burst(due);
                return false;
            }
        }
        true
    }

    /// Has the gathered burst executed by the nodes of a cluster, unless the one to which it went has begun to give a large
    /// reply: that is passed on.
    async fn execute_in(&mut self) {
        if self.burst.begun.is_some() && self.pass_on_led().await {
            return;
        }
        let Some(cluster) = self.operator.cluster().cloned() else { return };
        let due = self.burst.replies_due;
        let routes = self.link.routes().take();
        let Self { link, settings, state, caller, burst, .. } = self;
        let (upstream, by) = (&settings.upstream, state.limits(settings).reads);
        let (shards, id, wrote) = (&link.published().shards, state.id, state.wrote);
        let choose = |primary: &Address| match (by, shards.of(primary)) {
            (Some(by), Some(nodes)) => nodes.readers.known().choose(by, id, wrote, Instant::now()),
            (Some(ReadSettings { reads: Where::Replica, .. }), None) => Choice::Nobody,
            (_, None) | (None, _) => Choice::Primary,
        };
        let nobody = by.map(|by| errors::no_replica(by.lag_max)).unwrap_or_default();
        let reads = by.map(|by| Reads { choose: &choose, patience: by.lag_max, nobody: &nobody });
        let (text, started) = (|failure: &JobError| errors::job(failure, upstream), tokio::time::Instant::now());
        link.entry().goes_out(started.into_std());
        let executed = cluster.execute(caller, burst, routes, &text, reads, started).await;
        link.entry().is_back();
        if !executed.only_reads && !self.burst.read_only {
            self.note_write();
        }
        if executed.refused > 0 {
            self.caller.count_refused(&Burst { replies_due: executed.refused, read_only: true, ..Burst::default() });
        }
        for (failure, failed) in &executed.failed {
            self.link.published().failed(failure, *failed, self.link.entry().address());
        }
        self.learn(due, executed.failed.iter().map(|(failure, _)| failure));
        self.hand_over(due, executed.spent, None);
    }

    /// Learns from the burst, of which `due` replies were wanted, what such requests cost: nothing from what could not
    /// be executed. Else a crowd whose first requests waited in vain for large replies would be taken for clients of small
    /// ones, and have all that it asks for sent at once.
    fn learn<'f>(&mut self, due: u32, failures: impl IntoIterator<Item = &'f JobError>) {
        let settings = &self.settings;
        let mut cost = self.burst.taken_early + self.burst.replies.len();
        for failure in failures {
            match failure {
                // What they would have cost is not known, but that it was much.
                JobError::RepliesFull(_) | JobError::RepliesTooLarge(_) => cost = settings.batch_reply_bytes,
                _ => return self.window.grow(settings.batch_reply_bytes, settings.batch_max),
            }
        }
        self.window.learn(due as usize, cost, settings.batch_reply_bytes, settings.batch_max);
    }

    /// The same as [`hand_over`](Self::hand_over), after it has been learned from the burst.
    pub(super) fn answered(&mut self, due: u32, spent: Spent, failure: Option<JobError>) {
        self.learn(due, failure.as_ref());
        self.hand_over(due, spent, failure);
    }

    /// Puts the replies to the burst, of which `due` were wanted, into the output, and has the burst begin anew. Where
    /// the client has a part of a reply whose rest is lost, it is closed: it would take all that follows for that rest.
    fn hand_over(&mut self, due: u32, spent: Spent, failure: Option<JobError>) {
        let (burst, settings) = (&mut self.burst, &self.settings);
        if spent.total_us >= settings.slow_log.threshold_us {
            let (entry, slow_log) = (self.link.entry(), &self.link.published().slow_log);
            slow_log.add(entry, &burst.requests, due, spent, settings.slow_log);
        }
        let share = burst.room.take().filter(|_| burst.replies.len() > REPLY_FREE_BYTES);
        self.link.count_replies_by(share);
        if let Some(failure) = failure {
            let failed = due.saturating_sub(burst.replies_done);
            self.link.published().failed(&failure, failed, self.link.entry().address());
            if burst.is_torn && !self.state.is_muted() {
                self.link.break_off();
            }
            let text = errors::job(&failure, &settings.upstream);
            (burst.replies_done..due).for_each(|_| resp::write_error(&mut burst.replies, &text));
        }
        if self.state.is_muted() {
            burst.replies.clear();
        }
        self.link.take_replies(&mut burst.replies);
        recycle(&mut burst.requests);
        let (requests, replies) = (std::mem::take(&mut burst.requests), std::mem::take(&mut burst.replies));
        *burst = Burst { requests, replies, ..Burst::default() };
    }

    /// The client's user has sent too many requests, and is to wait so long.
    pub(super) fn refuse_for_now(&mut self, due: u32, wait: Duration) {
        let (published, address) = (self.link.published(), self.link.entry().address());
        let name = self.state.member().map_or(DEFAULT_USER, |member| member.name());
        published.turned_away.note_many(Kind::UserRequests, due, address, name);
        published.counts.refused.began(due);
        published.counts.refused.failed(due);
        let text = errors::user_requests_full(name, self.state.limits(&self.settings), wait);
        self.refuse_all(due, &text);
    }

    /// Replies wait for their clients to read them, and there is no room for more.
    fn refuse_burst(&mut self, due: u32) {
        self.caller.count_refused(&self.burst);
        self.link.published().fault(Fault::RepliesFull, self.link.entry().address(), "");
        self.refuse_all(due, &errors::replies_full(self.settings.replies_bytes_max));
    }

    /// Answers the gathered burst, of which `due` replies were wanted, with errors.
    pub(super) fn refuse_all(&mut self, due: u32, text: &str) {
        if !self.state.is_muted() {
            self.link.write_errors(due, text);
        }
        self.link.routes().take();
        self.burst = Burst::default();
    }
}

/// How a burst takes large replies: like that, but for scripts in a transaction where sentinels are followed. What a former
/// primary has refused of them stands within the reply to `EXEC`, and is asked again.
pub(super) fn pieces_of<S>(burst: &Burst, link: &Link<S>, like: Pieces) -> Pieces {
    let may_be_refused = burst.transaction && link.published().has_sentinels() && has_scripts(&burst.requests);
    if may_be_refused { Pieces::Never } else { like }
}
