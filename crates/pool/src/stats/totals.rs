//! What the pool counts. All of it relaxed: a reader may see one count before another of the same job.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    error::JobError,
    stats::{
        class::BurstClass,
        histogram::{Distribution, Histogram},
        tally::{COUNTED, ClassTotals, Tally, add, micros},
    },
    time::timestamp::Moment,
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
    request_bytes: AtomicU64,
    reply_bytes: AtomicU64,
    failures: [AtomicU64; JobError::KINDS.len()],
    /// In the order of [`BurstClass::ALL`].
    classes: [Tally; BurstClass::ALL.len()],
    job_requests: Histogram,
    pub(crate) writes: Arc<Writes>,
}

/// The time that one job, or one use of an exclusive connection, took; in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// From its beginning until a worker took it, or an exclusive connection was there.
    pub queue_us: u64,
    /// From its beginning until its last reply.
    pub total_us: u64,
}

impl Spent {
    /// Of a job that has been answered by `now`: begun at `started` and taken by a worker at `taken`.
    pub(crate) fn since(started: Moment, taken: Option<Moment>, now: Moment) -> Self {
        Self { queue_us: taken.unwrap_or(now).since(started), total_us: now.since(started) }
    }

    /// Of a job that failed. One whose reply did not come in time had been taken, and has its ticket with it.
    pub(crate) fn without_reply(started: Moment, taken: Option<Moment>, failure: &JobError) -> Self {
        let mut spent = Self::since(started, taken, Moment::now());
        if let JobError::ReplyTimeout(waited) = failure {
            spent.queue_us = spent.total_us.saturating_sub(micros(*waited));
        }
        spent
    }

    /// What the upstream, and the way there and back, had of it.
    pub fn upstream_us(&self) -> u64 {
        self.total_us.saturating_sub(self.queue_us)
    }
}

/// What goes out in one write. Shared by all connections.
#[derive(Debug)]
pub(crate) struct Writes {
    jobs: Histogram,
    requests: Histogram,
}

/// Totals since the start.
#[derive(Debug, Clone, Default)]
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
    /// What all of `parts` counted.
    pub(crate) fn sum(parts: impl Iterator<Item = Self>) -> Self {
        parts
            .reduce(|mut sum, part| {
                for ((_, sum), (_, part)) in sum.classes.iter_mut().zip(&part.classes) {
                    sum.add(part);
                }
                for ((_, sum), (_, part)) in sum.failures.iter_mut().zip(&part.failures) {
                    *sum += part;
                }
                sum.request_bytes += part.request_bytes;
                sum.reply_bytes += part.reply_bytes;
                sum.job_requests.add(&part.job_requests);
                sum.write_jobs.add(&part.write_jobs);
                sum.write_requests.add(&part.write_requests);
                sum
            })
            .unwrap_or_default()
    }

    /// All classes together.
    pub fn together(&self) -> ClassTotals {
        let mut sum = ClassTotals::default();
        self.classes.iter().for_each(|(_, totals)| sum.add(totals));
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

    /// A caller hands over so many requests, of so many bytes.
    pub(crate) fn began(&self, class: BurstClass, requests: u32, bytes: usize) {
        if requests == 0 {
            // They only bring a connection into a state.
            return;
        }
        self.class(class).began(requests);
        add(&self.request_bytes, bytes as u64);
        self.job_requests.record(u64::from(requests));
    }

    /// It has got so many replies, of so many bytes, to all of them, in the time spent.
    pub(crate) fn replied(&self, class: BurstClass, replies: u32, bytes: usize, spent: Spent) {
        if COUNTED && replies > 0 {
            let tally = self.class(class);
            tally.replied(replies);
            add(&self.reply_bytes, bytes as u64);
            tally.took(spent.queue_us, spent.upstream_us());
        }
    }

    /// Or it has got `done` replies to `due` requests, and why there are no more.
    pub(crate) fn failed(&self, class: BurstClass, due: u32, done: u32, failure: &JobError, started: Moment) {
        let tally = self.class(class);
        tally.replied(done);
        tally.failed(due.saturating_sub(done));
        match failure {
            JobError::QueueTimeout(waited)
            | JobError::FailoverTimeout { waited, .. }
            | JobError::Unplaced { waited, .. } => tally.waited_in_vain(*waited),
            JobError::ReplyTimeout(limit) => {
                tally.took(Moment::now().since(started).saturating_sub(micros(*limit)), micros(*limit));
            }
            JobError::PauseTimeout(_)
            | JobError::UpstreamDown(_)
            | JobError::LoginRefused(_)
            | JobError::ConnectionLost { .. }
            | JobError::StateRefused(_)
            | JobError::RepliesTooLarge(_)
            | JobError::ReplyTooDeep(_)
            | JobError::RepliesFull(_)
            | JobError::ExclusiveTimeout { .. }
            | JobError::ExclusiveShare { .. }
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
