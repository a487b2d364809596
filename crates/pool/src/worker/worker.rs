//! A worker: draws jobs from the queue and serves them on a connection that it owns by value. It waits on four things at
//! once: its connection, the queue (while it has its turn and room), its alarm (sign of life, silence, lifetime), and new
//! settings or facts. It ends when the queue is closed and empty, or when the settings ask for fewer workers; on the way
//! out it finishes what it has. While the upstream is down one worker tries it, and all refuse what is queued.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};

use crate::{
    queue::{
        branch::{Branch, Serving},
        job::Job,
    },
    shared::Shared,
    stats::{gauge::Gauge, totals::Stats},
    time::{alarm::Alarm, timestamp::Moment},
    upstream::node::Dialled,
    worker::{
        connection::Connection,
        lost::Lost,
        news::{News, Terms},
        waits::{changed, further, next_job, refuse_while_down, served, wait_for_place},
    },
};

/// A connection that does not live this long counts as a failed attempt.
const SHORT_LIFE: Duration = Duration::from_millis(100);

/// How often a worker that waits for a connection looks whether it is still needed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A batch of fewer jobs than the first is worth a look at what else has come before it is written, one of
/// fewer than the second as long as the upstream has more to do than lies here. The look is no wait, but
/// costs a system call, which larger batches do not earn back.
const GATHER_BELOW: (usize, usize) = (24, 128);

pub(crate) struct Worker {
    index: usize,
    branch: usize,
    shared: Arc<Shared>,
    terms: Terms,
    news: News,
    turn: Option<OwnedSemaphorePermit>,
    /// Its connection is to be replaced.
    renewal: Option<OwnedSemaphorePermit>,
    /// Set while its connection is silent with requests in flight: when it last let others have its turn. It does
    /// not serve its branch then, does not wait for the turn, and takes it only where nobody else wants it.
    silent: Option<Instant>,
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
        let gauge = shared.workers.enter(index + 1);
        let news = News::new(shared.settings.clone(), &shared.node);
        let (terms, alarm) = (Terms::of(&shared), Alarm::default());
        let (turn, renewal) = (None, None);
        Self { index, branch, shared, terms, news, turn, renewal, silent: None, alarm, gauge, serving: None }
    }

    /// Works until the queue or this worker's place is gone.
    pub(crate) async fn run(mut self) {
        while let Some(mut connection) = self.connect().await {
            let shared = Arc::clone(&self.shared);
            let connected = shared.node.health.connected();
            let opened = Instant::now();
            self.gauge.connected(Some(opened));
            self.serving = Some(Serving::new(Arc::clone(&shared.branches), self.branch));
            let end = self.serve(&mut connection).await;
            self.gauge.connected(None);
            // Others go on drawing, and callers learn of it, before the answers are out.
            self.turn = None;
            self.silent = None;
            drop(connected);
            self.renewal = None;
            self.serving = None;
            let lost = match end {
                Ok(()) => {
                    Stats::count(&self.branch().stats.retired);
                    continue;
                }
                Err(lost) => lost,
            };
            if matches!(lost, Lost::Left) {
                Stats::count(&self.branch().stats.retired);
                connection.fail(&lost);
                continue;
            }
            if opened.elapsed() < SHORT_LIFE {
                shared.node.made_in_vain(&lost.to_string());
            }
            Stats::count(&self.branch().stats.lost);
            if connection.in_flight() > 1 {
                shared.node.checks.doubted();
            }
            if !connection.has_jobs() {
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

    fn is_over(&self) -> bool {
        self.index >= self.terms.workers || (self.branch().jobs.is_closed() && self.branch().jobs.is_empty())
    }

    /// The same by the settings as they are now.
    fn is_over_now(&mut self) -> bool {
        self.terms = Terms::of(&self.shared);
        self.is_over()
    }

    /// A new connection, or `None` when the worker is to end.
    async fn connect(&mut self) -> Option<Connection> {
        let shared = Arc::clone(&self.shared);
        let (name, mut settings) = (format!("respool-worker-{}", self.index + 1), self.shared.settings.clone());
        while !self.is_over_now() {
            if settings.borrow_and_update().endpoint.is_unknown() {
                wait_for_place(&self.shared, self.branch(), &mut settings).await;
                continue;
            }
            let connecting = shared.node.connect(&name);
            tokio::pin!(connecting);
            let result = loop {
                tokio::select! {
                    result = &mut connecting => break result,
                    () = changed(&mut settings) => {}
                    () = refuse_while_down(&self.shared, self.branch()) => {}
                    () = sleep(LOOK_EVERY) => {}
                }
                if self.is_over_now() {
                    return None;
                }
            };
            match result {
                Ok(dialled) => return Some(self.connected(dialled)),
                Err(error) => {
                    Stats::count(&self.branch().stats.attempts_failed);
                    let endpoint = self.shared.settings().endpoint.to_string();
                    shared.node.health.failed(&format!("{endpoint}: {error}"));
                    if shared.node.health.is_down() {
                        shared.refuse_queued();
                    }
                }
            }
        }
        None
    }

    fn connected(&self, dialled: Dialled) -> Connection {
        Stats::count(&self.branch().stats.opened);
        tracing::debug!(worker = self.index + 1, upstream = %dialled.endpoint, "connected");
        let (replies, writes) = (&self.shared.reply_bytes, Arc::clone(&self.branch().stats.writes));
        let Shared { traffic, part, trust, .. } = &*self.shared;
        let common = (writes, Arc::clone(traffic), Arc::clone(part), Arc::clone(trust));
        Connection::new(dialled, &self.shared.settings(), replies, fastrand::f64(), common)
    }

    /// Serves jobs until the worker or its connection is to end (`Ok`) or the connection is lost.
    async fn serve(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        loop {
            if self.news.take() {
                self.retune(connection)?;
            }
            self.end_silence(connection);
            self.look_at(connection);
            let now = Instant::now();
            if self.is_over() || self.is_to_be_renewed(connection, now) {
                connection.leaving = true;
            }
            if connection.leaving {
                self.serving = None;
            }
            self.draw(connection, Some(now));
            self.gather(connection).await;
            if connection.leaving && connection.is_idle() {
                return Ok(());
            }
            self.gauge.update(connection.in_flight(), connection.leaving);
            let has_room = connection.has_room();
            if !has_room || connection.keeps_waiting() {
                // Whoever else has nothing to wait for goes first.
                self.turn = None;
            }
            let may_draw = has_room && (self.silent.is_none() || self.turn.is_some());
            let deadline = self.deadline(connection);
            tokio::select! {
                biased;
                driven = connection.drive(|| self.serving.as_ref().is_some_and(Serving::has_jobs)) => {
                    driven?;
                    self.shared.node.checks.heard();
                }
                job = next_job(&self.shared.branches[self.branch], &mut self.turn), if may_draw => {
                    if let Some(job) = job {
                        self.submit(connection, job, Moment::beside(Instant::now()));
                    } else {
                        connection.leaving = true;
                    }
                }
                () = further(self.serving.as_ref()), if has_room => {}
                () = served(&self.shared.branches[self.branch]), if self.silent.is_some() => self.turn = None,
                () = self.alarm.until(deadline) => self.alarm_rang(connection)?,
                () = poll_fn(|cx| self.news.poll_come(cx)) => {}
            }
        }
    }

    /// Whether a connection is so old that another is to take its place. It stays while the upstream lets no other
    /// in, while another one is about to go for that, or while it is the last of several.
    fn is_to_be_renewed(&mut self, connection: &mut Connection, now: Instant) -> bool {
        if now < connection.renew_at {
            return false;
        }
        let node = &self.shared.node;
        let is_last = node.health.connections() == 1 && self.terms.workers > 1;
        if node.lets_in() && !is_last && self.renewal.is_none() {
            self.renewal = Arc::clone(&self.shared.renewal).try_acquire_owned().ok();
        }
        if self.renewal.is_some() {
            return true;
        }
        connection.renew_at = now + LOOK_EVERY;
        false
    }

    /// Has the upstream asked what it is if something speaks against what is known, and takes note of its answer.
    fn look_at(&self, connection: &mut Connection) {
        let node = &self.shared.node;
        if let Some(answer) = connection.take_checked() {
            node.checked(connection.generation(), &answer);
        }
        if connection.take_doubt() && connection.may_check() && node.may_check(false) {
            connection.check(node, Instant::now());
        }
    }

    /// Takes what is queued, without waiting, as long as there is room and it is this worker's turn; then, if that was
    /// all, what lies in the connection's lane. The clock is read if there is anything, unless it was just `now`.
    fn draw(&mut self, connection: &mut Connection, now: Option<Instant>) {
        if self.turn.is_none() {
            self.turn = Arc::clone(&self.branch().turn).try_acquire_owned().ok();
        }
        let mut read = None;
        let mut now = || *read.get_or_insert_with(|| Moment::beside(now.unwrap_or_else(Instant::now)));
        let branch = self.branch();
        let may_draw = self.turn.is_some() && connection.has_room();
        // Whether it has room changes with each job, but with nothing else meanwhile.
        while may_draw
            && !connection.is_full()
            && let Ok(job) = branch.jobs.try_recv()
        {
            self.submit(connection, job, now());
        }
        while let Some(job) = connection.take_aside() {
            self.give(connection, job, now());
        }
        let Some(lane) = self.serving.as_ref().map(Serving::lane) else { return };
        let is_crowded = !connection.has_room() && !self.branch().jobs.is_empty();
        self.branch().set_crowded(is_crowded);
        if is_crowded {
            lane.send_back("others wait for the same connection");
        }
        while connection.has_room()
            && let Some(job) = lane.take()
        {
            self.give(connection, job, now());
        }
    }

    /// Gives a job to the connection, now or when its turn comes there.
    fn submit(&self, connection: &mut Connection, job: Job, now: (Instant, Moment)) {
        if let Some(job) = connection.admit(job) {
            self.give(connection, job, now);
        }
    }

    /// Gives a job to the connection, unless its caller has given it up.
    fn give(&self, connection: &mut Connection, job: Job, now: (Instant, Moment)) {
        let lane = self.serving.as_ref().map_or(0, |serving| serving.lane().id());
        if job.take(now.1, lane) {
            self.gauge.sent(job.burst().replies_due);
            connection.submit(job, now.0);
        }
    }

    /// Lets sessions that are ready add their jobs to a small batch before it is written, as long as each
    /// look finds more.
    async fn gather(&mut self, connection: &mut Connection) {
        let mut found = 0;
        let Some(out) = connection.may_gather() else { return };
        let enough = out.clamp(GATHER_BELOW.0, GATHER_BELOW.1);
        while found < connection.unwritten() && connection.unwritten() < enough {
            found = connection.unwritten();
            tokio::task::yield_now().await;
            self.draw(connection, None);
        }
    }

    /// When the connection next needs attention although nothing happens on it.
    fn deadline(&self, connection: &Connection) -> Instant {
        let check_at = self.check_at().filter(|_| connection.may_check());
        let renew_at = check_at.map_or(connection.renew_at, |check_at| check_at.min(connection.renew_at));
        if connection.is_idle() {
            return renew_at.min(connection.progress.last_used + connection.keepalive);
        }
        let attention = self.yields_at(connection).min(connection.progress.last + self.terms.silence_max);
        if connection.leaving { attention } else { attention.min(renew_at) }
    }

    /// When a connection with requests in flight has been silent for so long that another should have the turn,
    /// if one is ready for it: this one may be dead, or busy for long.
    fn yields_at(&self, connection: &Connection) -> Instant {
        self.silent.unwrap_or(connection.progress.last) + connection.progress.patience(self.terms.patience_max)
    }

    /// When this connection is to ask what the upstream is, if it is.
    fn check_at(&self) -> Option<Instant> {
        self.terms.check_interval.map(|interval| self.shared.node.checks.due_at(self.index, interval))
    }

    fn alarm_rang(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        let now = Instant::now();
        let node = &self.shared.node;
        let is_due = self.check_at().is_some_and(|check_at| now >= check_at);
        if is_due && connection.may_check() && node.may_check(true) {
            connection.check(node, now);
        } else if !connection.is_idle() {
            let silence = self.terms.silence_max;
            if now >= connection.progress.last + silence {
                return Err(Lost::Silent(silence));
            }
            if now >= self.yields_at(connection) {
                self.falls_silent(connection, now);
            }
        } else if now >= connection.progress.last_used + connection.keepalive {
            connection.ping(now);
        }
        Ok(())
    }

    /// Leaves the work to others as long as its connection is silent, if there are any: also the jobs that others can
    /// have, which go back to their callers and from there to another worker.
    fn falls_silent(&mut self, connection: &mut Connection, now: Instant) {
        self.silent = Some(now);
        self.shared.node.is_silent_for(now.saturating_duration_since(connection.progress.last));
        self.turn = None;
        if let Some(serving) = &mut self.serving {
            serving.set_silent(true);
        }
        // In a pause, or once the queue is closed, they would not come back.
        let may_return = self.shared.node.health.is_open() && !self.branch().jobs.is_closed();
        if may_return && self.shared.branches.is_any_served() {
            connection.give_back(now);
        }
    }

    /// Serves its branch again if the connection has been heard, or has nothing left to be silent about.
    fn end_silence(&mut self, connection: &Connection) {
        if self.silent.is_some_and(|since| connection.progress.last >= since || connection.is_idle()) {
            self.silent = None;
            if let Some(serving) = &mut self.serving {
                serving.set_silent(false);
            }
        }
    }

    fn retune(&mut self, connection: &mut Connection) -> Result<(), Lost> {
        self.terms = Terms::of(&self.shared);
        connection.may_stay()?;
        connection.leave_unless_at(&self.shared.node);
        connection.tune(&self.shared.settings(), &self.shared.node.facts());
        Ok(())
    }
}
