//! A worker: draws jobs from the queue and serves them on a connection that it owns by value.
//!
//! It waits on four things at once: its connection, the queue (while it has its turn and room), its
//! alarm (sign of life, silence, lifetime), and new settings. It ends when the queue is closed and
//! empty, or when the settings ask for fewer workers; on the way out it finishes what it has.
//! While the upstream is down one worker probes and refuses what is queued; the others wait.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

use crate::{
    error::{JobError, Sent},
    queue::{
        branch::{Branch, Serving},
        job::Job,
    },
    settings::settings::Settings,
    shared::Shared,
    stats::{gauge::Gauge, totals::Stats},
    time::{alarm::Alarm, timestamp::Moment},
    upstream::{backoff::Backoff, health::Upstream, login::login},
    worker::connection::{Connection, Lost},
};

/// A connection that does not live this long counts as a failed attempt.
const SHORT_LIFE: Duration = Duration::from_millis(100);

/// A batch of fewer jobs than the first is worth a look at what else has come before it is written, one of
/// fewer than the second as long as the upstream has more to do than lies here. The look is no wait, but
/// costs a system call, which larger batches do not earn back.
const GATHER_BELOW: (usize, usize) = (24, 128);

/// A worker whose connection is silent lets others have its turn at least so often until it gives the connection up.
const YIELDS_MIN: u32 = 32;

pub(crate) struct Worker {
    index: usize,
    branch: usize,
    shared: Arc<Shared>,
    settings: watch::Receiver<Arc<Settings>>,
    turn: Option<OwnedSemaphorePermit>,
    /// Set while its connection is silent with requests in flight: when it last let others have its turn. It does
    /// not serve its branch then, does not wait for the turn, and takes it only where nobody else wants it.
    silent: Option<Instant>,
    backoff: Backoff,
    alarm: Alarm,
    gauge: Arc<Gauge>,
    /// While it draws, or will once it has its turn.
    serving: Option<Serving>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.shared.workers.leave(self.index + 1, &self.gauge);
    }
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Self {
        let branch = shared.branches.of_worker(index);
        let settings = shared.settings.clone();
        let gauge = shared.workers.enter(index + 1);
        let (backoff, alarm) = (Backoff::default(), Alarm::default());
        Self { index, branch, shared, settings, turn: None, silent: None, backoff, alarm, gauge, serving: None }
    }

    /// Works until the queue or this worker's place is gone.
    pub(crate) async fn run(mut self) {
        while let Some(mut connection) = self.connect().await {
            let shared = Arc::clone(&self.shared);
            let connected = shared.health.connected();
            let opened = Instant::now();
            self.gauge.connected(Some(opened));
            self.serving = Some(Serving::new(Arc::clone(&shared.branches), self.branch));
            let end = self.serve(&mut connection).await;
            self.gauge.connected(None);
            // Others go on drawing, and callers learn of it, before the answers are out.
            self.turn = None;
            self.silent = None;
            drop(connected);
            self.serving = None;
            if opened.elapsed() < SHORT_LIFE {
                self.backoff.failed();
            } else {
                self.backoff.reset();
            }
            let lost = match end {
                Ok(()) => {
                    Stats::count(&self.branch().stats.retired);
                    continue;
                }
                Err(lost) => lost,
            };
            if matches!(lost, Lost::Left) {
                Stats::count(&self.branch().stats.retired);
                self.backoff.reset();
                connection.fail(&lost);
                continue;
            }
            Stats::count(&self.branch().stats.lost);
            if connection.is_idle() {
                Stats::count(&self.branch().stats.lost_idle);
                tracing::debug!(worker = self.index + 1, reason = %lost, "idle connection ended");
            } else {
                tracing::warn!(worker = self.index + 1, reason = %lost, "connection lost");
            }
            connection.fail(&lost);
        }
    }

    fn branch(&self) -> &Branch {
        &self.shared.branches[self.branch]
    }

    fn is_retired(&self) -> bool {
        self.index >= self.settings.borrow().workers
    }

    fn is_over(&self) -> bool {
        self.is_retired() || (self.branch().jobs.is_closed() && self.branch().jobs.is_empty())
    }

    /// A new connection, or `None` when the worker is to end.
    async fn connect(&mut self) -> Option<Connection> {
        let shared = Arc::clone(&self.shared);
        let mut health = shared.health.watch();
        // Kept from one attempt to the next, so that the pauses grow with all of them.
        let mut probe = None;
        let mut tried: Option<Arc<Settings>> = None;
        loop {
            if self.is_over() {
                return None;
            }
            if shared.health.is_down() && probe.is_none() {
                tokio::select! {
                    permit = shared.probe.acquire() => probe = permit.ok(),
                    _ = health.wait_for(|state| !matches!(state, Upstream::Down(_))) => {}
                    () = changed(&mut self.settings) => continue,
                }
            }
            let settings = Arc::clone(&self.settings.borrow_and_update());
            let mut news = self.settings.clone();
            if settings.endpoint.is_unknown() {
                self.wait_for_place(&mut news).await;
                continue;
            }
            if tried.is_some_and(|tried| !tried.endpoint.leads_where(&settings.endpoint)) {
                // What failed elsewhere says nothing of this one.
                self.backoff.reset();
            }
            tried = Some(Arc::clone(&settings));
            let chance = fastrand::f64();
            let pause = self.backoff.pause(settings.reconnect_delay_min, settings.reconnect_delay_max, chance);
            tokio::select! {
                () = changed(&mut news) => continue,
                () = self.wait_out(pause) => {}
            }
            let name = format!("respool-worker-{}", self.index + 1);
            tokio::select! {
                // Another upstream, perhaps.
                () = changed(&mut news) => {}
                result = login(&settings.endpoint, &name, settings.connect_timeout) => match result {
                    Ok((stream, facts)) => {
                        Stats::count(&self.branch().stats.opened);
                        let facts = shared.publish(facts);
                        tracing::debug!(worker = self.index + 1, upstream = %settings.endpoint, "connected");
                        let (replies, writes) = (&shared.reply_bytes, Arc::clone(&self.branch().stats.writes));
                        let chance = fastrand::f64();
                        return Some(Connection::new(stream, &facts, &settings, replies, chance, writes));
                    }
                    Err(error) => {
                        Stats::count(&self.branch().stats.attempts_failed);
                        self.backoff.failed();
                        if shared.health.failed(&format!("{}: {error}", settings.endpoint)) {
                            self.refuse_queued();
                        }
                    }
                },
                () = self.refuse_while_down() => {}
            }
        }
    }

    /// Waits until somebody knows where the upstream is, or the queue is closed.
    async fn wait_for_place(&self, news: &mut watch::Receiver<Arc<Settings>>) {
        tokio::select! {
            () = changed(news) => {}
            // Its caller waits with it, and sends it again.
            job = self.branch().jobs.recv() => job.into_iter().for_each(|job| self.refuse(job)),
        }
    }

    /// Pauses before an attempt; while the upstream is down, jobs that come meanwhile fail at once.
    async fn wait_out(&self, pause: Duration) {
        if pause.is_zero() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.refuse_while_down() => {}
        }
    }

    /// Fails jobs as they come. Returns when the queue is closed; never while the upstream is not down.
    async fn refuse_while_down(&self) {
        if !self.shared.health.is_down() {
            return std::future::pending().await;
        }
        while let Ok(job) = self.branch().jobs.recv().await {
            self.refuse(job);
        }
    }

    fn refuse_queued(&self) {
        for branch in self.shared.branches.iter() {
            while let Ok(job) = branch.jobs.try_recv() {
                self.refuse(job);
            }
        }
    }

    fn refuse(&self, job: Job) {
        let reason = self.shared.health.down_reason().unwrap_or_else(|| "no worker is connected".into());
        if job.take(Moment::now()) {
            job.fail(JobError::UpstreamDown(reason));
        }
    }

    /// Serves jobs until the worker or its connection is to end (`Ok`) or the connection is lost.
    async fn serve(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        loop {
            self.end_silence(connection);
            // Before anything further is drawn: on a replica, say, it would only fail.
            if connection.is_stale() || Instant::now() >= connection.renew_at || self.is_over() {
                connection.leaving = true;
            }
            if connection.leaving {
                self.serving = None;
            }
            self.draw(connection);
            self.gather(connection).await;
            if connection.leaving && connection.is_idle() {
                return Ok(());
            }
            self.gauge.update(connection.in_flight(), connection.leaving);
            let has_room = connection.has_room();
            if !has_room || connection.is_switching() {
                // Whoever else has nothing to wait for goes first.
                self.turn = None;
            }
            let may_draw = has_room && (self.silent.is_none() || self.turn.is_some());
            let deadline = self.deadline(connection);
            tokio::select! {
                biased;
                driven = connection.drive() => driven?,
                job = next_job(&self.shared.branches[self.branch], &mut self.turn), if may_draw => {
                    if let Some(job) = job {
                        self.submit(connection, job, Instant::now());
                    } else {
                        connection.leaving = true;
                    }
                }
                () = self.shared.branches[self.branch].served.notified(), if self.silent.is_some() => self.turn = None,
                () = self.alarm.until(deadline) => self.alarm_rang(connection)?,
                () = changed(&mut self.settings) => self.retune(connection)?,
            }
        }
    }

    /// Takes what is queued, without waiting, as long as there is room and it is this worker's turn.
    fn draw(&mut self, connection: &mut Connection) {
        if self.turn.is_none() {
            self.turn = Arc::clone(&self.branch().turn).try_acquire_owned().ok();
        }
        let now = Instant::now();
        while self.turn.is_some()
            && connection.has_room()
            && let Ok(job) = self.branch().jobs.try_recv()
        {
            self.submit(connection, job, now);
        }
    }

    /// Gives a job to the connection, unless its caller has given it up.
    fn submit(&self, connection: &mut Connection, job: Job, now: Instant) {
        if job.take(now.into()) {
            self.gauge.sent(job.burst().replies_due);
            connection.submit(job, now);
        }
    }

    /// Lets sessions that are ready add their jobs to a small batch before it is written, as long as each
    /// look finds more.
    async fn gather(&mut self, connection: &mut Connection) {
        let mut found = 0;
        let enough = connection.written().clamp(GATHER_BELOW.0, GATHER_BELOW.1);
        while found < connection.unwritten() && connection.unwritten() < enough {
            found = connection.unwritten();
            tokio::task::yield_now().await;
            self.draw(connection);
        }
    }

    /// When the connection next needs attention although nothing happens on it.
    fn deadline(&self, connection: &Connection) -> Instant {
        if connection.is_idle() {
            return connection.renew_at.min(connection.last_used + connection.keepalive);
        }
        let attention = self.yields_at(connection).min(connection.last_progress + self.silence_max());
        if connection.leaving { attention } else { attention.min(connection.renew_at) }
    }

    /// When a connection with requests in flight has been silent for so long that another should have the turn,
    /// if one is ready for it: this one may be dead, or busy for long.
    fn yields_at(&self, connection: &Connection) -> Instant {
        self.silent.unwrap_or(connection.last_progress) + connection.patience(self.silence_max() / YIELDS_MIN)
    }

    /// How long a reply may take once it is its turn: after the callers have been told, it gets as long again before
    /// the connection is given up.
    fn silence_max(&self) -> Duration {
        self.shared.settings.borrow().reply_timeout.saturating_mul(2)
    }

    fn alarm_rang(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let now = Instant::now();
        if !connection.is_idle() {
            let silence = self.silence_max();
            if now >= connection.last_progress + silence {
                return Err(Lost::Silent(silence));
            }
            if now >= self.yields_at(connection) {
                self.falls_silent(connection, now);
            }
        } else if now >= connection.last_used + connection.keepalive {
            connection.ping(now);
        }
        Ok(())
    }

    /// Leaves the work to others as long as its connection is silent, if there are any: also the jobs that have not
    /// been sent, which go back to their callers and from there to another worker.
    fn falls_silent(&mut self, connection: &mut Connection, now: Instant) {
        self.silent = Some(now);
        self.turn = None;
        if let Some(serving) = &mut self.serving {
            serving.set_silent(true);
        }
        // In a pause, or once the queue is closed, they would not come back.
        let may_return = self.shared.health.is_open() && !self.branch().jobs.is_closed();
        if may_return && self.shared.branches.is_any_served() {
            let reason: Arc<str> = "silent for longer than usual".into();
            for job in connection.take_unsent() {
                job.fail(JobError::ConnectionLost { reason: Arc::clone(&reason), sent: Sent::No });
            }
        }
    }

    /// Serves its branch again if the connection has been heard, or has nothing left to be silent about.
    fn end_silence(&mut self, connection: &Connection) {
        if self.silent.is_some_and(|since| connection.last_progress >= since || connection.is_idle()) {
            self.silent = None;
            if let Some(serving) = &mut self.serving {
                serving.set_silent(false);
            }
        }
    }

    fn retune(&self, connection: &mut Connection) -> Result<(), Lost> {
        connection.may_stay()?;
        let (old, new) = (connection.endpoint(), &self.shared.settings().endpoint);
        if !old.leads_where(new) {
            connection.leaving = true;
        }
        connection.tune(&self.shared.settings(), &self.shared.facts());
        Ok(())
    }
}

/// The next job, once it is this worker's turn; `None` when the queue is closed and empty. Cancel-safe.
async fn next_job(branch: &Branch, turn: &mut Option<OwnedSemaphorePermit>) -> Option<Job> {
    if turn.is_none() {
        *turn = Arc::clone(&branch.turn).acquire_owned().await.ok();
    }
    branch.jobs.recv().await.ok()
}

/// New settings; never, once the pool itself is gone and only its clients are left. Cancel-safe.
async fn changed(settings: &mut watch::Receiver<Arc<Settings>>) {
    if settings.changed().await.is_err() {
        std::future::pending().await
    }
}
