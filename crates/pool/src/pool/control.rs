//! What those who run a pool do with it while it works: look at it, put new settings in force, hold
//! jobs back and let them go again, have connections replaced. Holds no sender of the queue: the
//! queue ends when the last caller is gone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

use crate::{
    settings::{login::Login, settings::Settings, tenure::Tenure},
    shared::Shared,
    stats::{
        gauge::WorkerStatus,
        totals::{Stats, Totals},
        traffic::TrafficTotals,
    },
    upstream::{facts::Facts, health::Upstream},
};

/// A handle to a running pool. Clones are cheap and equal.
#[derive(Debug, Clone)]
pub struct Control {
    settings: watch::Sender<Arc<Settings>>,
    shared: Arc<Shared>,
}

/// A node that was the primary. Its connections end when this is dropped.
#[derive(Debug)]
pub struct Left {
    tenure: Tenure,
    settings: watch::Sender<Arc<Settings>>,
}

impl Drop for Left {
    fn drop(&mut self) {
        self.tenure.end();
        // Whoever follows them looks whether its connection may stay.
        self.settings.send_modify(|_| ());
    }
}

/// What the pool is doing now.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether the upstream can be reached and is what it should be.
    pub upstream: Upstream,
    /// New jobs are held back.
    pub paused: bool,
    /// Why nothing is sent for now, if that is so: a primary is waited for.
    pub held: Option<Arc<str>>,
    /// Jobs in the queue.
    pub queued_jobs: usize,
    /// Bytes of requests, queued and in flight.
    pub queued_bytes: usize,
    /// Bytes of replies that callers hold beyond [`REPLY_FREE_BYTES`](crate::REPLY_FREE_BYTES) each.
    pub reply_bytes: usize,
    /// Jobs, queued and in flight.
    pub jobs: usize,
    /// Connections opened by workers since the start.
    pub opened: u64,
    /// Connections of workers that broke since the start.
    pub lost: u64,
    /// Those of them on which nothing was in flight.
    pub lost_idle: u64,
    /// Connections of workers closed in order since the start, to be replaced or because the worker ended.
    pub retired: u64,
    /// Attempts of workers to connect that failed, since the start.
    pub attempts_failed: u64,
    /// Bursts sent again since the start.
    pub retried: u64,
    /// Exclusive connections that are lent.
    pub exclusive_lent: usize,
    /// Exclusive connections that nobody borrows.
    pub exclusive_idle: usize,
    /// Exclusive connections opened since the start.
    pub exclusive_opened: u64,
}

impl Status {
    /// Without what is only now.
    pub(super) fn counts(self) -> Self {
        let upstream = Upstream::Connecting;
        Self { upstream, paused: false, held: None, queued_jobs: 0, exclusive_lent: 0, exclusive_idle: 0, ..self }
    }

    /// Takes in what was counted in another pool. What pools have in common stays as it is.
    pub(super) fn add(&mut self, other: &Self) {
        self.queued_jobs += other.queued_jobs;
        self.exclusive_lent += other.exclusive_lent;
        self.exclusive_idle += other.exclusive_idle;
        self.exclusive_opened += other.exclusive_opened;
        self.opened += other.opened;
        self.lost += other.lost;
        self.lost_idle += other.lost_idle;
        self.retired += other.retired;
        self.attempts_failed += other.attempts_failed;
        self.retried += other.retried;
    }
}

impl Control {
    pub(crate) fn new(settings: watch::Sender<Arc<Settings>>, shared: Arc<Shared>) -> Self {
        Self { settings, shared }
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Puts new settings in force: workers start or finish and end, limits hold from the next job on.
    /// `queue_capacity` stays as it was at the start. Where the upstream is elsewhere, connections that are lent end as
    /// soon as nothing is under way on them.
    pub fn reconfigure(&self, mut settings: Settings) {
        let former = self.settings();
        settings.endpoint.succeed(&former.endpoint);
        if !settings.endpoint.leads_where(&former.endpoint) {
            // Not below, while the settings are locked: others look at these while they hold what is known of the node.
            self.shared.node.goes();
        }
        self.settings.send_modify(|in_force| {
            settings.endpoint.succeed(&in_force.endpoint);
            if !settings.endpoint.leads_where(&in_force.endpoint) {
                self.shared.node.forget_failures();
            }
            let former = in_force.endpoint.tenure.clone();
            *in_force = Arc::new(settings);
            former.leave_for(&in_force.endpoint.tenure);
        });
    }

    /// Has every connection replaced, each once nothing is in flight on it; exclusive ones when they come
    /// back. No job fails because of it.
    pub fn reconnect(&self) {
        self.settings.send_modify(|in_force| {
            let mut settings = Settings::clone(in_force);
            settings.endpoint.epoch += 1;
            self.shared.node.forget_failures();
            *in_force = Arc::new(settings);
        });
    }

    /// The primary is at `host` and `port` now, and nowhere else: new connections go there, and all others get nothing new
    /// and are closed as soon as what is returned is dropped. A job fails then if it was sent and not answered; one that
    /// was not sent goes to the new primary.
    pub fn go(&self, host: &str, port: u16) -> Left {
        let mut tenure = Tenure::default();
        self.shared.node.goes();
        self.settings.send_modify(|in_force| {
            let mut settings = Settings::clone(in_force);
            let former = std::mem::take(&mut settings.endpoint.tenure);
            settings.endpoint = settings.endpoint.at(host, port);
            *in_force = Arc::new(settings);
            former.leave_and_end_soon();
            tenure = former;
            self.shared.node.checks.explained();
            // What failed elsewhere says nothing of this one.
            self.shared.node.forget_failures();
        });
        Left { tenure, settings: self.settings.clone() }
    }

    /// Whether requests have been under way for long and nothing comes of the upstream, until it is
    /// [trusted](Self::trust). It may be busy, or frozen and replaced by now.
    pub fn is_silent(&self) -> bool {
        self.shared.node.checks.is_silent()
    }

    /// Has nothing be heard from the upstream, and no worker write to it, until it is [trusted](Self::trust) or the
    /// upstream [is elsewhere](Self::go).
    pub fn distrust(&self) {
        self.settings.borrow().endpoint.tenure.doubt();
    }

    /// The upstream's silence is explained: whatever has come of it is heard.
    pub fn trust(&self) {
        self.shared.node.checks.explained();
        self.settings.send_if_modified(|in_force| in_force.endpoint.tenure.trust());
    }

    /// Holds back new jobs, new borrowers and what borrowers send while there is a reason, each for at most
    /// `failover_wait`. Accepted jobs are finished.
    pub fn hold(&self, reason: Option<Arc<str>>) {
        self.settings.send_modify(|in_force| {
            let mut settings = Settings::clone(in_force);
            settings.endpoint.held = reason;
            *in_force = Arc::new(settings);
        });
    }

    /// Holds back new jobs and new borrowers until [`resume`](Self::resume), each for at most
    /// `pause_timeout`. Accepted jobs are finished.
    pub fn pause(&self) {
        self.shared.node.health.set_paused(true);
    }

    /// Lets go what [`pause`](Self::pause) held back.
    pub fn resume(&self) {
        self.shared.node.health.set_paused(false);
    }

    /// Has the pool look now what its upstream is, because something speaks against what is known.
    pub fn doubt(&self) {
        self.shared.node.look();
    }

    /// Waits until no job is queued or in flight, at most for `limit`; whether that came to be. Meant for a
    /// paused pool. Cancel-safe.
    pub async fn idle(&self, limit: Duration) -> bool {
        timeout(limit, self.shared.queue_room.all().emptied()).await.is_ok()
    }

    /// What the upstream has said about itself.
    pub fn facts(&self) -> Arc<Facts> {
        self.shared.node.facts()
    }

    /// What its workers and callers have in common.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The settings in force once somebody has found out where the upstream is, for which this waits as long as for a
    /// connection. Cancel-safe.
    pub(super) async fn settings_once_found(&self) -> Arc<Settings> {
        let mut settings = self.settings.subscribe();
        let limit = settings.borrow().connect_timeout;
        // If nobody does, the connection says so.
        let _ = timeout(limit, settings.wait_for(|settings| !settings.endpoint.is_unknown())).await;
        self.settings()
    }

    /// Whether its connections are made with the login of the configuration.
    pub fn is_own(&self) -> bool {
        self.shared.login == Login::Configured
    }

    /// Follows what the upstream says about itself, and its [generation](Facts::generation).
    pub fn watch_facts(&self) -> watch::Receiver<Arc<Facts>> {
        self.shared.node.watch_facts()
    }

    /// Follows whether the upstream can be reached and is what it should be.
    pub fn upstream(&self) -> watch::Receiver<Upstream> {
        self.shared.node.health.watch()
    }

    /// What each worker is doing now.
    pub fn workers(&self) -> Vec<WorkerStatus> {
        self.shared.workers.all()
    }

    /// What was counted since the start.
    pub fn totals(&self) -> Totals {
        Totals::sum(self.shared.branches.iter().map(|branch| branch.stats.totals()))
    }

    /// What has gone over the connections to the upstream since the start.
    pub fn traffic(&self) -> TrafficTotals {
        self.shared.traffic.totals()
    }

    /// What the pool is doing now.
    pub fn status(&self) -> Status {
        let sum = |counter: fn(&Stats) -> &AtomicU64| {
            self.shared.branches.iter().map(|branch| counter(&branch.stats).load(Ordering::Relaxed)).sum()
        };
        let (exclusive_lent, exclusive_idle) = self.shared.exclusives.counts();
        Status {
            exclusive_lent,
            exclusive_idle,
            exclusive_opened: self.shared.exclusives.opened(),
            upstream: self.shared.node.health.watch().borrow().clone(),
            paused: self.shared.node.health.is_paused(),
            held: self.settings.borrow().endpoint.held.clone(),
            queued_jobs: self.shared.branches.jobs(),
            queued_bytes: self.shared.queue_room.all().used(),
            reply_bytes: self.shared.reply_bytes.used(),
            jobs: self.shared.queue_room.all().shares(),
            opened: sum(|stats| &stats.opened),
            lost: sum(|stats| &stats.lost),
            lost_idle: sum(|stats| &stats.lost_idle),
            retired: sum(|stats| &stats.retired),
            attempts_failed: sum(|stats| &stats.attempts_failed),
            retried: sum(|stats| &stats.retried),
        }
    }
}
