//! What the pool counts. All of it relaxed: a reader may see one count before another of the same job.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    Burst, JobError,
    histogram::{Distribution, Histogram},
    moment::Moment,
};

/// The lowest bound of the histograms of times, in microseconds.
const TIME_FIRST: u64 = 32;

/// Counters since the start.
#[derive(Debug)]
pub(crate) struct Stats {
    pub(crate) opened: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) exclusive_opened: AtomicU64,
    requests: AtomicU64,
    request_bytes: AtomicU64,
    replied: AtomicU64,
    reply_bytes: AtomicU64,
    failed: AtomicU64,
    failures: [AtomicU64; JobError::KINDS.len()],
    queue_time: Histogram,
    upstream_time: Histogram,
    total_time: Histogram,
    job_requests: Histogram,
}

/// Totals since the start. `requests` are those replied to, those failed and those under way.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Requests that callers have handed over.
    pub requests: u64,
    /// Their bytes.
    pub request_bytes: u64,
    /// Requests to which the upstream's reply was handed back.
    pub replied: u64,
    /// The bytes of these replies.
    pub reply_bytes: u64,
    /// Requests without one.
    pub failed: u64,
    /// Jobs that failed, by [`JobError::kind`].
    pub failures: Vec<(&'static str, u64)>,
    /// From a job's beginning until a worker took it, in microseconds.
    pub queue_time: Distribution,
    /// From there until its last reply, in microseconds.
    pub upstream_time: Distribution,
    /// Both together.
    pub total_time: Distribution,
    /// Requests of each job.
    pub job_requests: Distribution,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            opened: AtomicU64::default(),
            lost: AtomicU64::default(),
            retried: AtomicU64::default(),
            exclusive_opened: AtomicU64::default(),
            requests: AtomicU64::default(),
            request_bytes: AtomicU64::default(),
            replied: AtomicU64::default(),
            reply_bytes: AtomicU64::default(),
            failed: AtomicU64::default(),
            failures: [const { AtomicU64::new(0) }; JobError::KINDS.len()],
            queue_time: Histogram::new(TIME_FIRST),
            upstream_time: Histogram::new(TIME_FIRST),
            total_time: Histogram::new(TIME_FIRST),
            job_requests: Histogram::new(1),
        }
    }
}

fn add(counter: &AtomicU64, number: usize) {
    counter.fetch_add(number as u64, Ordering::Relaxed);
}

impl Stats {
    pub(crate) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A caller hands a burst over.
    pub(crate) fn began(&self, burst: &Burst) {
        add(&self.requests, burst.replies_due as usize);
        add(&self.request_bytes, burst.requests.len());
        self.job_requests.record(u64::from(burst.replies_due));
    }

    /// It has got it back, answered: begun at `started`, taken by a worker at `taken`.
    pub(crate) fn replied(&self, burst: &Burst, started: Moment, taken: Option<Moment>) {
        let now = Moment::now();
        let taken = taken.unwrap_or(now);
        add(&self.replied, burst.replies_done as usize);
        add(&self.reply_bytes, burst.replies.len());
        self.queue_time.record(taken.since(started));
        self.upstream_time.record(now.since(taken));
        self.total_time.record(now.since(started));
    }

    /// Or it has got `done` replies to `due` requests, and why there are no more.
    pub(crate) fn failed(&self, due: u32, done: u32, failure: &JobError) {
        add(&self.replied, done as usize);
        add(&self.failed, due.saturating_sub(done) as usize);
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
        // Ends before beginnings, so that no more seem to have ended than began.
        let (replied, failed) = (load(&self.replied), load(&self.failed));
        Totals {
            requests: load(&self.requests),
            request_bytes: load(&self.request_bytes),
            replied,
            reply_bytes: load(&self.reply_bytes),
            failed,
            failures: JobError::KINDS.into_iter().zip(self.failures.iter().map(load)).collect(),
            queue_time: self.queue_time.distribution(),
            upstream_time: self.upstream_time.distribution(),
            total_time: self.total_time.distribution(),
            job_requests: self.job_requests.distribution(),
        }
    }
}
