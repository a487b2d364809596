//! One party that sends bursts: what it holds, and the beginning and the end of each call.

use std::{future::poll_fn, sync::Arc, task::Context, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    bounds::budget::Budget,
    caller::further::{Further, Out},
    error::JobError,
    queue::{
        branch::Entrances,
        job::{Answer, Begun, Burst, Outcome},
        progress::Progress,
        ticket::Ticket,
    },
    settings::{login::Login, settings::Settings},
    shared::Shared,
    stats::{
        class::BurstClass,
        totals::{Spent, Stats},
    },
    time::{alarm::Alarm, timestamp::Moment},
    upstream::{facts::Facts, needs::Needs},
};

/// What one attempt goes by, read at its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) queue_timeout: Duration,
    pub(super) reply_timeout: Duration,
    pub(super) queue_bytes_max: usize,
}

impl Limits {
    fn of(settings: &Settings) -> Self {
        let Settings { queue_timeout, reply_timeout, queue_bytes_max, .. } = *settings;
        Self { queue_timeout, reply_timeout, queue_bytes_max }
    }

    /// Those in force, and whether nothing keeps an attempt from being made: no pause, no loss of the upstream, no wait
    /// for a primary.
    pub(super) fn now(shared: &Shared) -> (Self, bool) {
        let settings = shared.settings.borrow();
        (Self::of(&settings), settings.endpoint.held.is_none() && shared.node.health.is_open())
    }
}

/// Sends bursts into the queue, one at a time. Cheap to make; a session has one of its own.
#[derive(Debug)]
pub struct Caller {
    pub(crate) entrances: Entrances,
    /// The one that is nearest.
    pub(super) branch: usize,
    pub(crate) shared: Arc<Shared>,
    pub(super) ticket: Arc<Ticket>,
    pub(super) progress: Arc<Progress>,
    spent: Spent,
    pub(super) alarm: Alarm,
    /// What the call at hand is counted as, until it is over, and the state that its burst needs.
    pub(super) under_way: Option<(BurstClass, u32, Needs)>,
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.call_was_dropped();
    }
}

impl Clone for Caller {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.entrances), self.branch, Arc::clone(&self.shared))
    }
}

impl Caller {
    pub(crate) fn new(entrances: Entrances, branch: usize, shared: Arc<Shared>) -> Self {
        let ticket = Arc::new(Ticket::new());
        let progress = Arc::new(Progress::new(Arc::clone(&ticket)));
        let (alarm, spent) = (Alarm::default(), Spent::default());
        Self { entrances, branch, shared, ticket, progress, spent, alarm, under_way: None }
    }

    /// What the upstream said about itself at the last login.
    pub fn facts(&self) -> Arc<Facts> {
        self.shared.node.facts()
    }

    /// When a worker connected last, as [`Access::connected_at`](crate::Access::connected_at) says it.
    pub fn connected_at(&self) -> std::time::Instant {
        self.shared.node.health.connected_at().instant().into_std()
    }

    /// Bytes of one argument; the upstream refuses longer ones and closes the connection.
    pub fn bulk_max(&self) -> usize {
        self.shared.node.bulk_max()
    }

    /// Bytes of a request; the upstream may close the connection of a larger one, which is to be on a borrowed one.
    pub fn alone_from(&self) -> usize {
        self.shared.node.alone_from()
    }

    /// Something that came speaks against what is known of the upstream: it is asked what it is, now and then.
    pub fn doubt(&self) {
        self.shared.node.look();
    }

    /// The runtime that this caller runs on, of those that its pool was started on.
    pub fn runtime(&self) -> usize {
        self.branch
    }

    /// Whether the upstream has refused the login with which the pool's connections are made, when that was last tried.
    /// Only of pools of further logins; one load.
    pub fn is_turned_away(&self) -> bool {
        self.shared.node.is_turned_away()
    }

    /// Whether it leads to a pool of a further login.
    pub fn is_guest(&self) -> bool {
        self.shared.login != Login::Configured
    }

    /// How far this caller's jobs come.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// What callers hold of replies, each beyond [`REPLY_FREE_BYTES`](crate::REPLY_FREE_BYTES); bounded by
    /// `replies_bytes_max`.
    pub fn reply_bytes(&self) -> &Arc<Budget> {
        &self.shared.reply_bytes
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn stats(&self) -> &Stats {
        &self.shared.branches[self.branch].stats
    }

    /// The time that the last call took, a pause not counted.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// When a worker took the last job from the queue, to the microsecond; nothing if none did.
    pub fn taken_at(&self) -> Option<Instant> {
        self.ticket.taken_at().map(Moment::instant)
    }

    /// Executes a burst and returns it with its replies; otherwise as [`execute`](Self::execute).
    ///
    /// # Errors
    /// The answer says why replies are missing; those that came are in the burst.
    ///
    /// # Cancel safety
    /// As with [`execute`](Self::execute).
    pub async fn call(&mut self, mut burst: Burst) -> Answer {
        let failure = self.execute(&mut burst).await.err();
        Answer { burst, failure }
    }

    /// Executes a burst, which has its replies then. Waits for a place in the queue and for a worker at most
    /// `queue_timeout` from when it is first polled, then for the replies at most `reply_timeout`. What was certainly not
    /// sent is tried again until `queue_timeout`; a read-only burst once more even if it was.
    ///
    /// # Errors
    /// Says why replies are missing; those that came are in the burst. It is empty if it is still under way.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back what was queued: it is executed, and its replies dropped; `burst`
    /// is empty then, and as it was if it had not been queued. The next call of this caller may overtake it.
    pub fn execute(&mut self, burst: &mut Burst) -> impl Future<Output = Result<(), JobError>> {
        self.execute_meanwhile(burst, None, |_, _| ())
    }

    /// The same, while something is done `meanwhile`: called with what is out whenever the caller is woken and the last
    /// reply is not there yet. It may take replies as they come, which are not in `burst` later, and have a further
    /// burst follow. What it had follow during one call is `further` of the next: `burst` is empty then.
    ///
    /// # Errors
    /// As with [`execute`](Self::execute). Replies that were taken early count as those that came.
    ///
    /// # Cancel safety
    /// As with [`execute`](Self::execute).
    pub fn execute_meanwhile(
        &mut self,
        burst: &mut Burst,
        further: Option<Further>,
        meanwhile: impl FnMut(&mut Context<'_>, Out<'_>),
    ) -> impl Future<Output = Result<(), JobError>> {
        let (started, receiver) = further.map(|further| self.goes_on_with(further)).unzip();
        self.execute_from(burst, started, receiver, meanwhile)
    }

    /// Has a burst executed that began at `started` or, with nothing, begins now; or waits for it where there is a
    /// `receiver`.
    #[allow(clippy::manual_async_fn, reason = "an async fn would hold what it is given twice")]
    pub(super) fn execute_from(
        &mut self,
        burst: &mut Burst,
        started: impl Into<Option<Moment>>,
        mut receiver: Option<oneshot::Receiver<Outcome>>,
        mut meanwhile: impl FnMut(&mut Context<'_>, Out<'_>),
    ) -> impl Future<Output = Result<(), JobError>> {
        let begun = started.into();
        async move {
            let started = begun.unwrap_or_else(|| self.begin(burst));
            let mut attempt = self.attempt_at_once(burst, (started, begun.is_none()), &mut receiver);
            // Not taken out of where it is, and its beginning is not kept beside it: every session would have room for it
            // twice.
            let (mut started, failed) = if let Some(attempt) = &mut attempt {
                let answer = poll_fn(|cx| self.poll_answer(cx, attempt, &mut meanwhile)).await;
                match self.answered(burst, answer) {
                    Ok(()) => {
                        if burst.begun.is_none() {
                            self.call_has_ended(burst, attempt.started(), None);
                        }
                        return Ok(());
                    }
                    Err(failure) => (attempt.started(), Some((failure, attempt.limits()))),
                }
            } else {
                (started, None)
            };
            // Boxed, because it is rare and large.
            let further = self.execute_until_answered(burst, &mut started, failed, receiver, &mut meanwhile);
            let result = Box::pin(further).await;
            if burst.begun.is_none() {
                self.call_has_ended(burst, started, result.as_ref().err());
            }
            result
        }
    }

    /// Goes on with a call that has ended because a large reply has begun to come, which is taken `meanwhile` as
    /// [`execute_meanwhile`](Self::execute_meanwhile) says it.
    ///
    /// # Errors
    /// As with [`execute`](Self::execute). Where `burst` [is torn](Burst::is_torn) then, the client has a part of a reply
    /// and will not get the rest.
    ///
    /// # Cancel safety
    /// As with [`execute`](Self::execute).
    pub async fn go_on(
        &mut self,
        burst: &mut Burst,
        begun: Begun,
        mut meanwhile: impl FnMut(&mut Context<'_>, Out<'_>),
    ) -> Result<(), JobError> {
        let mut started = self.ticket.began_at().unwrap_or_else(Moment::now);
        let result = self.execute_until_answered(burst, &mut started, None, Some(*begun.0), &mut meanwhile).await;
        self.call_has_ended(burst, started, result.as_ref().err());
        result
    }

    /// The call of a burst that has been sent.
    fn goes_on_with(&mut self, further: Further) -> (Moment, oneshot::Receiver<Outcome>) {
        self.call_was_dropped();
        let begun = (further.started(), self.takes_over(further));
        self.ticket.began(begun.0);
        begun
    }

    /// A call begins now.
    fn begin(&mut self, burst: &Burst) -> Moment {
        let now = Moment::now();
        self.begin_at(now, burst);
        now
    }

    /// A call begins with a burst that has not been sent.
    pub(super) fn begin_at(&mut self, now: Moment, burst: &Burst) {
        self.call_was_dropped();
        self.stats().began(burst.class(), burst.replies_due, burst.requests.len());
        self.under_way = Some((burst.class(), burst.replies_due, burst.needs));
        self.ticket.began(now);
    }

    fn call_has_ended(&mut self, burst: &Burst, started: Moment, failure: Option<&JobError>) {
        let Some(failure) = failure else { return self.call_has_succeeded(burst, started, Moment::now()) };
        let Some((class, due, _)) = self.under_way.take() else { return };
        self.stats().failed(class, due, burst.replies_done, failure, started);
        self.spent = Spent::without_reply(started, self.ticket.taken_at(), failure);
        self.ticket.ended();
    }

    /// All replies to the call were there `now`.
    pub(super) fn call_has_succeeded(&mut self, burst: &Burst, started: Moment, now: Moment) {
        let Some((class, ..)) = self.under_way.take() else { return };
        let spent = Spent::since(started, self.ticket.taken_at(), now);
        self.stats().replied(class, burst.replies_done, burst.taken_early + burst.replies.len(), spent);
        self.spent = spent;
        self.ticket.ended();
    }

    /// Requests of a call whose future was dropped will never get a reply.
    pub(crate) fn call_was_dropped(&mut self) {
        if let Some((class, due, _)) = self.under_way.take() {
            self.stats().class(class).failed(due);
        }
    }

    /// Counts a burst to which its owner makes up an error instead of calling.
    pub fn count_refused(&self, burst: &Burst) {
        let tally = self.stats().class(burst.class());
        tally.began(burst.replies_due);
        tally.failed(burst.replies_due);
    }

    /// Counts a failure of what was borrowed; jobs and borrowing itself are counted anyway.
    pub fn count_failure(&self, failure: &JobError) {
        self.stats().failure(failure);
    }

    /// Others see this caller waiting, until it waits no more.
    pub(super) fn waits(&self, since: Moment) {
        self.ticket.reset();
        self.ticket.began(since);
    }

    pub(super) fn waits_no_more(&self) {
        self.ticket.ended();
    }

    /// See [`Limits::now`].
    pub(super) fn limits(&self) -> (Limits, bool) {
        Limits::now(&self.shared)
    }

    /// How long a job may wait for a primary.
    pub fn failover_wait(&self) -> Duration {
        self.primary_wait().0
    }

    /// The same, and by which key.
    pub fn primary_wait(&self) -> (Duration, &'static str) {
        self.shared.settings.borrow().primary_wait()
    }

    /// Waits out a pause, which does not count as waiting for a worker, and then for a primary as long as it may; tells
    /// if there is none.
    pub(super) async fn held_back(&self, started: &mut Moment) -> Result<(), JobError> {
        let health = &self.shared.node.health;
        if health.is_paused() {
            let limit = self.shared.settings.borrow().pause_timeout;
            timeout(limit, health.resumed()).await.map_err(|_| JobError::PauseTimeout(limit))?;
            *started = Moment::now();
        }
        let (mut settings, mut upstream) = (self.shared.settings.clone(), health.watch());
        loop {
            let (held, (waited, key)) = {
                let settings = settings.borrow_and_update();
                (settings.endpoint.held.clone(), settings.primary_wait())
            };
            upstream.borrow_and_update();
            let Some(reason) = held.or_else(|| health.down_reason()) else { return Ok(()) };
            if waited.is_zero() || self.is_turned_away() {
                return Err(self.shared.node.is_down_for(reason));
            }
            let news = async {
                tokio::select! { news = settings.changed() => news, news = upstream.changed() => news }
            };
            // Nobody changes them any more once the pool itself is gone.
            let over = |_| JobError::FailoverTimeout { waited, key, reason };
            timeout_at(started.after(waited).instant(), news).await.map_err(over)?.map_err(|_| JobError::Closed)?;
        }
    }
}
