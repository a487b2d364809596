//! What the pool counts. All of it relaxed: a reader may see one count before another of the same job.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    Burst, BurstClass, ClassTotals, JobError, Tally,
    histogram::{Distribution, Histogram},
    micros,
    moment::Moment,
    tally::{COUNTED, add},
};

/// Counters since the start.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) opened: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) lost_idle: AtomicU64,
    pub(crate) retired: AtomicU64,
    pub(crate) attempts_failed: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) exclusive_opened: AtomicU64,
    request_bytes: AtomicU64,
    reply_bytes: AtomicU64,
    failures: [AtomicU64; JobError::KINDS.len()],
    /// In the order of [`BurstClass::ALL`].
    classes: [Tally; BurstClass::ALL.len()],
    job_requests: Histogram,
    pub(crate) writes: Arc<Writes>,
}

/// What goes out in one write. Shared by all connections.
#[derive(Debug)]
pub(crate) struct Writes {
    jobs: Histogram,
    requests: Histogram,
}

/// Totals since the start.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Requests that callers have handed over, by class.
    pub classes: Vec<(BurstClass, ClassTotals)>,
    /// Their bytes.
    pub request_bytes: u64,
    /// The bytes of the replies to them.
    pub reply_bytes: u64,
    /// Jobs that failed, by [`JobError::kind`].
    pub failures: Vec<(&'static str, u64)>,
    /// Requests of each job.
    pub job_requests: Distribution,
    /// Jobs of each write to the upstream that completed one.
    pub write_jobs: Distribution,
    /// Their requests.
    pub write_requests: Distribution,
}

impl Totals {
    /// All classes together.
    pub fn together(&self) -> ClassTotals {
        let mut sum = ClassTotals::default();
        for (_, totals) in &self.classes {
            sum.requests += totals.requests;
            sum.replied += totals.replied;
            sum.failed += totals.failed;
            sum.queue_time.add(&totals.queue_time);
            sum.upstream_time.add(&totals.upstream_time);
            sum.total_time.add(&totals.total_time);
        }
        sum
    }
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            opened: AtomicU64::default(),
            lost: AtomicU64::default(),
            lost_idle: AtomicU64::default(),
            retired: AtomicU64::default(),
            attempts_failed: AtomicU64::default(),
            retried: AtomicU64::default(),
            exclusive_opened: AtomicU64::default(),
            request_bytes: AtomicU64::default(),
            reply_bytes: AtomicU64::default(),
            failures: [const { AtomicU64::new(0) }; JobError::KINDS.len()],
            classes: Default::default(),
            job_requests: Histogram::new(1),
            writes: Arc::default(),
        }
    }
}

impl Default for Writes {
    fn default() -> Self {
        Self { jobs: Histogram::new(1), requests: Histogram::new(1) }
    }
}

impl Writes {
    /// A write completed so many jobs, of so many requests.
    pub(crate) fn wrote(&self, jobs: u32, requests: u32) {
        self.jobs.record(u64::from(jobs));
        self.requests.record(u64::from(requests));
    }
}

impl Stats {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn class(&self, class: BurstClass) -> &Tally {
        &self.classes[class as usize]
    }

    /// A caller hands a burst over.
    pub(crate) fn began(&self, class: BurstClass, burst: &Burst) {
        if burst.replies_due == 0 {
            // It only brings a connection into a state.
            return;
        }
        self.class(class).began(burst.replies_due);
        add(&self.request_bytes, burst.requests.len() as u64);
        self.job_requests.record(u64::from(burst.replies_due));
    }

    /// It has got it back, answered: begun at `started` and taken by a worker at `taken`.
    pub(crate) fn replied(&self, class: BurstClass, burst: &Burst, started: Moment, taken: Option<Moment>) {
        if !COUNTED || burst.replies_done == 0 {
            return;
        }
        let now = Moment::now();
        let (taken, tally) = (taken.unwrap_or(now), self.class(class));
        tally.replied(burst.replies_done);
        add(&self.reply_bytes, burst.replies.len() as u64);
        tally.took(taken.since(started), now.since(taken));
    }

    /// Or it has got `done` replies to `due` requests, and why there are no more.
    pub(crate) fn failed(&self, class: BurstClass, due: u32, done: u32, failure: &JobError, started: Moment) {
        let tally = self.class(class);
        tally.replied(done);
        tally.failed(due.saturating_sub(done));
        match failure {
            JobError::QueueTimeout(waited) => tally.waited_in_vain(*waited),
            JobError::ReplyTimeout(limit) => {
                tally.took(Moment::now().since(started).saturating_sub(micros(*limit)), micros(*limit));
            }
            JobError::PauseTimeout(_)
            | JobError::UpstreamDown(_)
            | JobError::ConnectionLost { .. }
            | JobError::StateRefused(_)
            | JobError::RepliesTooLarge(_)
            | JobError::ExclusiveTimeout { .. }
            | JobError::Closed
            | JobError::WorkerGone(_) => {}
        }
        self.failure(failure);
    }

    /// A job, or the borrowing of a connection, failed.
    pub(crate) fn failure(&self, failure: &JobError) {
        let kind = failure.kind();
        if let Some(index) = JobError::KINDS.iter().position(|known| *known == kind) {
            Self::count(&self.failures[index]);
        }
    }

    pub(crate) fn totals(&self) -> Totals {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            classes: BurstClass::ALL.map(|class| (class, self.class(class).totals())).into(),
            request_bytes: load(&self.request_bytes),
            reply_bytes: load(&self.reply_bytes),
            failures: JobError::KINDS.into_iter().zip(self.failures.iter().map(load)).collect(),
            job_requests: self.job_requests.distribution(),
            write_jobs: self.writes.jobs.distribution(),
            write_requests: self.writes.requests.distribution(),
        }
    }
}
