//! A caller: one party that has at most one job in the pool at a time, which is what keeps its
//! requests in order on a shared queue. Owns the deadlines of its job and the decision to try again.

use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::{
    bounds::budget::Budget,
    error::{JobError, Sent},
    exclusive::{
        lent::Lent,
        standing::{Attempts, Standing},
    },
    queue::{
        branch::Entrances,
        job::{Answer, Burst, Job},
        progress::Progress,
        ticket::Ticket,
    },
    settings::settings::Settings,
    shared::Shared,
    stats::{
        class::BurstClass,
        totals::{Spent, Stats},
    },
    time::{alarm::Alarm, timestamp::Moment},
    upstream::{facts::Facts, needs::Needs},
};

/// A ticket that no job has is held by its caller and by those who look on.
const TICKET_HOLDERS: usize = 2;

/// When a borrower for whom no connection could be opened tries again, while a primary is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What one attempt goes by, read at its beginning.
#[derive(Debug, Clone, Copy)]
struct Limits {
    queue_timeout: Duration,
    reply_timeout: Duration,
    queue_bytes_max: usize,
}

impl Limits {
    fn of(settings: &Settings) -> Self {
        let Settings { queue_timeout, reply_timeout, queue_bytes_max, .. } = *settings;
        Self { queue_timeout, reply_timeout, queue_bytes_max }
    }
}

/// Sends bursts into the queue, one at a time. Cheap to make; a session has one of its own.
#[derive(Debug)]
pub struct Caller {
    pub(crate) entrances: Entrances,
    /// The one that is nearest.
    branch: usize,
    pub(crate) shared: Arc<Shared>,
    ticket: Arc<Ticket>,
    progress: Arc<Progress>,
    spent: Spent,
    alarm: Alarm,
    /// What the call at hand is counted as, until it is over.
    under_way: Option<(BurstClass, u32)>,
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

    fn stats(&self) -> &Stats {
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
    /// `queue_timeout`, then for the replies at most `reply_timeout`. What was certainly not sent is tried again
    /// until `queue_timeout`; a read-only burst once more even if it was.
    ///
    /// # Errors
    /// Says why replies are missing; those that came are in the burst. It is empty if it is still under way.
    ///
    /// # Cancel safety
    /// Dropping the future does not take back what was queued: it is executed, and its replies dropped; `burst`
    /// is empty then, and as it was if it had not been queued. The next call of this caller may overtake it.
    pub async fn execute(&mut self, burst: &mut Burst) -> Result<(), JobError> {
        let mut started = Instant::now();
        self.waits(started.into());
        self.call_was_dropped();
        let (class, due) = (burst.class(), burst.replies_due);
        self.stats().began(class, due, burst.requests.len());
        self.under_way = Some((class, due));
        let result = self.execute_until_answered(burst, &mut started).await;
        self.under_way = None;
        let stats = self.stats();
        match &result {
            Ok(()) => {
                let spent = Spent::since(started.into(), self.ticket.taken_at());
                stats.replied(class, burst.replies_done, burst.replies.len(), spent);
                self.spent = spent;
            }
            Err(failure) => {
                stats.failed(class, due, burst.replies_done, failure, started.into());
                self.spent = Spent::without_reply(started.into(), self.ticket.taken_at(), failure);
            }
        }
        self.progress.ended();
        result
    }

    /// Requests of a call whose future was dropped will never get a reply.
    fn call_was_dropped(&mut self) {
        if let Some((class, due)) = self.under_way.take() {
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

    /// Others see this caller waiting, until its progress has ended.
    fn waits(&self, since: Moment) {
        self.ticket.reset();
        self.progress.began(since);
    }

    /// Borrows an exclusive connection that is in the state that `needs` says when the first requests sent on it are
    /// executed, waiting at most `queue_timeout` for one to be free.
    ///
    /// # Errors
    /// None came free, or the upstream cannot be reached or refuses the state.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in line and closes what was being prepared.
    pub async fn lend(&self, needs: Needs) -> Result<Lent, JobError> {
        self.lend_if(Some(needs)).await
    }

    /// The same in any state, for requests that do not depend on it and have to overtake what others wait for: the
    /// upstream executes nothing before them that it may refuse because it is busy.
    ///
    /// # Errors
    /// As with [`lend`](Self::lend), but no state is refused.
    ///
    /// # Cancel safety
    /// As with [`lend`](Self::lend).
    pub async fn lend_as_is(&self) -> Result<Lent, JobError> {
        self.lend_if(None).await
    }

    async fn lend_if(&self, needs: Option<Needs>) -> Result<Lent, JobError> {
        let mut started = Instant::now();
        self.waits(started.into());
        let lent = self.lend_since(&mut started, needs).await;
        self.progress.ended();
        lent.inspect_err(|failure| self.stats().failure(failure))
    }

    async fn lend_since(&self, started: &mut Instant, needs: Option<Needs>) -> Result<Lent, JobError> {
        loop {
            if !self.limits().1 {
                Box::pin(self.held_back(started)).await?;
            }
            let lent = self.shared.exclusives.lend(*started, needs).await;
            let waits = started.elapsed() < self.failover_wait();
            match lent {
                // The primary has just been lost: the next one is waited for.
                Err(JobError::UpstreamDown(_) | JobError::ConnectionLost { sent: Sent::No, .. }) if waits => {}
                lent => return lent,
            }
            Box::pin(sleep(LOOK_AGAIN)).await;
        }
    }

    /// Opens a connection that the upstream knows as `name`, in RESP3 if the upstream speaks it, after a pause
    /// that grows with the attempts that failed before.
    ///
    /// # Errors
    /// The upstream cannot be reached or refused the login.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was being opened.
    pub async fn open_standing(&self, name: &str, attempts: &mut Attempts) -> Result<Standing, JobError> {
        if self.shared.settings.borrow().endpoint.held.is_some() {
            Box::pin(self.held_back(&mut Instant::now())).await?;
        }
        let (node, traffic) = (Arc::clone(&self.shared.node), Arc::clone(&self.shared.traffic));
        Standing::open(node, traffic, name, attempts).await
    }

    async fn execute_until_answered(&mut self, burst: &mut Burst, started: &mut Instant) -> Result<(), JobError> {
        let mut repeated = false;
        loop {
            let (mut limits, may_send) = self.limits();
            if !may_send {
                Box::pin(self.held_back(started)).await?;
                (limits, _) = self.limits();
            }
            let result = self.attempt(burst, *started, limits).await;
            let again = match &result {
                Err(JobError::ConnectionLost { sent: Sent::No, .. }) => true,
                // The next primary is waited for above.
                Err(JobError::UpstreamDown(_)) => !self.failover_wait().is_zero(),
                Err(JobError::ConnectionLost { sent: Sent::Maybe, .. }) => {
                    burst.read_only && !std::mem::replace(&mut repeated, true)
                }
                _ => false,
            };
            if !again || started.elapsed() >= limits.queue_timeout {
                return result;
            }
            Stats::count(&self.stats().retried);
            burst.replies.clear();
            burst.replies_done = 0;
        }
    }

    /// What an attempt goes by, and whether nothing keeps it from being made: no pause, no loss of the upstream, no
    /// wait for a primary.
    fn limits(&self) -> (Limits, bool) {
        let settings = self.shared.settings.borrow();
        (Limits::of(&settings), settings.endpoint.held.is_none() && self.shared.node.health.is_open())
    }

    /// How long a job may wait for a primary.
    fn failover_wait(&self) -> Duration {
        let settings = self.shared.settings.borrow();
        settings.failover_wait.min(settings.queue_timeout)
    }

    /// Waits out a pause, which does not count as waiting for a worker, and then for a primary as long as it may; tells
    /// if there is none.
    async fn held_back(&self, started: &mut Instant) -> Result<(), JobError> {
        let health = &self.shared.node.health;
        if health.is_paused() {
            let limit = self.shared.settings.borrow().pause_timeout;
            timeout(limit, health.resumed()).await.map_err(|_| JobError::PauseTimeout(limit))?;
            *started = Instant::now();
        }
        let (mut settings, mut upstream) = (self.shared.settings.clone(), health.watch());
        loop {
            let (held, waited) = {
                let settings = settings.borrow_and_update();
                (settings.endpoint.held.clone(), settings.failover_wait.min(settings.queue_timeout))
            };
            upstream.borrow_and_update();
            let Some(reason) = held.or_else(|| health.down_reason()) else { return Ok(()) };
            if waited.is_zero() {
                return Err(JobError::UpstreamDown(reason));
            }
            let news = async {
                tokio::select! { news = settings.changed() => news, news = upstream.changed() => news }
            };
            // Nobody changes them any more once the pool itself is gone.
            let over = |_| JobError::FailoverTimeout { waited, reason };
            timeout_at(*started + waited, news).await.map_err(over)?.map_err(|_| JobError::Closed)?;
        }
    }

    async fn attempt(&mut self, burst: &mut Burst, started: Instant, limits: Limits) -> Result<(), JobError> {
        let Limits { queue_timeout, queue_bytes_max: bytes_max, .. } = limits;
        let deadline = started + queue_timeout;
        let (budget, bytes) = (&self.shared.queued_bytes, burst.requests.len());
        let share = match budget.try_take(bytes, bytes_max) {
            Some(share) => share,
            // Boxed, like the other wait below: rare, and large.
            None => match Box::pin(timeout_at(deadline, budget.take(bytes, bytes_max))).await {
                Ok(share) => share,
                Err(_) => return Err(JobError::QueueTimeout(queue_timeout)),
            },
        };
        let (sender, receiver) = oneshot::channel();
        if Arc::strong_count(&self.ticket) > TICKET_HOLDERS {
            // A job of a call that was dropped is still on its way, and keeps the ticket.
            self.ticket = Arc::new(Ticket::new());
            self.progress.follows(Arc::clone(&self.ticket));
        } else {
            self.ticket.reset();
        }
        let job = Job::new(std::mem::take(burst), Arc::clone(&self.ticket), sender, share);
        let (branches, entrances) = (&self.shared.branches, &self.entrances);
        if let Some(job) = branches.try_send(entrances, self.branch, job) {
            let sent = Box::pin(timeout_at(deadline, branches.send(entrances, self.branch, job))).await;
            sent.map_err(|_| JobError::QueueTimeout(queue_timeout))?;
        }
        let answer = self.wait(receiver, started, limits).await?;
        *burst = answer.burst;
        answer.failure.map_or(Ok(()), Err)
    }

    async fn wait(
        &mut self,
        mut receiver: oneshot::Receiver<Answer>,
        started: Instant,
        limits: Limits,
    ) -> Result<Answer, JobError> {
        let Limits { queue_timeout, reply_timeout, .. } = limits;
        let queue_deadline = started + queue_timeout;
        let mut check = queue_deadline.min(started + reply_timeout);
        let failure = loop {
            let answer = poll_fn(|cx| match Pin::new(&mut receiver).poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => self.alarm.poll_until(cx, check).map(|()| None),
            });
            match answer.await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(_)) => break JobError::WorkerGone(Sent::Maybe),
                None => {}
            }
            let now = Instant::now();
            match self.ticket.taken_at().map(Moment::instant) {
                Some(taken) if now >= taken + reply_timeout => break JobError::ReplyTimeout(reply_timeout),
                Some(taken) => check = taken + reply_timeout,
                None if now < queue_deadline => {
                    // A job taken between two looks is noticed well before its own deadline.
                    check = queue_deadline.min(now + (reply_timeout / 8).max(Duration::from_millis(1)));
                }
                None if self.ticket.expire() => break JobError::QueueTimeout(queue_timeout),
                None => {}
            }
        };
        // The job may lie in the queue or in flight for long: it keeps the ticket, we get a new one.
        self.ticket = Arc::new(Ticket::new());
        self.progress.follows(Arc::clone(&self.ticket));
        Err(failure)
    }
}
