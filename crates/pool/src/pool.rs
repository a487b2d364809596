//! The pool: starts the workers, changes their number, ends them. Its supervisor task owns every
//! worker task, replaces one that panicked, and answers what is left when all are gone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_channel::{Receiver, Sender};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{Caller, Client, Facts, JobError, Settings, health::Upstream, job::Job, shared::Shared, worker::Worker};

/// How often idle exclusive connections are looked through.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

/// Many producers, one bounded queue, N workers. Dropping it without [`drain`](Self::drain) lets the
/// workers end by themselves once the last [`Caller`] and [`Client`] are gone too.
#[derive(Debug)]
pub struct Pool {
    queue: Sender<Job>,
    /// Never drawn from but to answer what is left at the end.
    jobs: Receiver<Job>,
    settings: watch::Sender<Arc<Settings>>,
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

/// How [`Pool::drain`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Jobs that were not finished in time and were answered with an error.
    pub abandoned: usize,
}

/// What the pool is doing now.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether the upstream can be reached.
    pub upstream: Upstream,
    /// Jobs in the queue.
    pub queued_jobs: usize,
    /// Bytes of requests, queued and in flight.
    pub queued_bytes: usize,
    /// Connections opened by workers since the start.
    pub opened: u64,
    /// Connections of workers that broke since the start.
    pub lost: u64,
    /// Bursts sent again since the start.
    pub retried: u64,
    /// Exclusive connections that are lent.
    pub exclusive_lent: usize,
    /// Exclusive connections that nobody borrows.
    pub exclusive_idle: usize,
    /// Exclusive connections opened since the start.
    pub exclusive_opened: u64,
}

impl Pool {
    /// Starts the workers on the current runtime and returns at once; jobs wait until one is connected.
    ///
    /// # Panics
    /// Outside of a tokio runtime, or if `workers`, `pipeline_depth` or `queue_capacity` is 0.
    pub fn start(settings: Settings) -> Self {
        assert!(settings.workers > 0 && settings.pipeline_depth > 0, "a pool needs a worker and a pipeline");
        let (queue, jobs) = async_channel::bounded(settings.queue_capacity);
        let (settings, receiver) = watch::channel(Arc::new(settings));
        let shared = Arc::new(Shared::new(receiver));
        let supervisor = tokio::spawn(Supervisor { shared: Arc::clone(&shared), jobs: jobs.clone() }.run());
        Self { queue, jobs, settings, shared, supervisor }
    }

    /// A handle for one party that has at most one job at a time.
    pub fn caller(&self) -> Caller {
        Caller::new(self.queue.clone(), Arc::clone(&self.shared))
    }

    /// A typed handle.
    pub fn client(&self) -> Client {
        Client::new(self.caller())
    }

    /// Puts new settings in force: workers start or finish and end, limits hold from the next job on.
    /// `queue_capacity` stays as it was at the start.
    pub fn reconfigure(&self, settings: Settings) {
        self.settings.send_replace(Arc::new(settings));
    }

    /// What the upstream said about itself at the last login.
    pub fn facts(&self) -> Arc<Facts> {
        self.shared.facts()
    }

    /// Follows whether the upstream can be reached.
    pub fn upstream(&self) -> watch::Receiver<Upstream> {
        self.shared.health.watch()
    }

    /// What the pool is doing now.
    pub fn status(&self) -> Status {
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
        let (exclusive_lent, exclusive_idle) = self.shared.exclusives.counts();
        Status {
            exclusive_lent,
            exclusive_idle,
            exclusive_opened: load(&self.shared.stats.exclusive_opened),
            upstream: self.shared.health.watch().borrow().clone(),
            queued_jobs: self.queue.len(),
            queued_bytes: self.shared.queued_bytes.used(),
            opened: load(&self.shared.stats.opened),
            lost: load(&self.shared.stats.lost),
            retried: load(&self.shared.stats.retried),
        }
    }

    /// Refuses further jobs, finishes those it has within `grace`, closes the connections. What is left
    /// after that is answered with an error.
    pub async fn drain(self, grace: Duration) -> Drained {
        self.queue.close();
        let Self { mut supervisor, shared, jobs, .. } = self;
        if timeout(grace, &mut supervisor).await.is_err() {
            let abandoned = shared.queued_bytes.shares();
            supervisor.abort();
            // Aborted or done makes no difference here: either way its workers are gone.
            let _ = supervisor.await;
            refuse(&jobs);
            return Drained { abandoned };
        }
        Drained { abandoned: 0 }
    }
}

/// Owns the worker tasks.
struct Supervisor {
    shared: Arc<Shared>,
    /// Held to the end, so that what is left in the queue can be answered.
    jobs: Receiver<Job>,
}

impl Supervisor {
    async fn run(self) {
        let mut settings = self.shared.settings.clone();
        let mut workers = JoinSet::new();
        let mut places = HashMap::new();
        let mut reconfigurable = true;
        loop {
            if !self.jobs.is_closed() {
                let target = settings.borrow_and_update().workers;
                self.fill(target, &mut workers, &mut places);
            }
            tokio::select! {
                ended = workers.join_next_with_id() => match ended {
                    Some(Ok((id, ()))) => drop(places.remove(&id)),
                    Some(Err(error)) => {
                        let worker = places.remove(&error.id());
                        tracing::error!(worker, %error, "worker ended unexpectedly, starting another");
                    }
                    None => break,
                },
                changed = settings.changed(), if reconfigurable => reconfigurable = changed.is_ok(),
                () = sleep(PRUNE_EVERY) => {}
            }
            let (exclusive_max, idle_max) = {
                let settings = settings.borrow();
                (settings.exclusive_max, settings.exclusive_idle.min(self.shared.facts().half_idle_timeout()))
            };
            self.shared.exclusives.set_max(exclusive_max);
            self.shared.exclusives.prune(idle_max);
        }
        self.shared.exclusives.prune(Duration::ZERO);
        refuse(&self.jobs);
    }

    fn fill(&self, target: usize, workers: &mut JoinSet<()>, places: &mut HashMap<tokio::task::Id, usize>) {
        for index in 0..target {
            if !places.values().any(|taken| *taken == index) {
                let worker = Worker::new(index, Arc::clone(&self.shared), self.jobs.clone());
                places.insert(workers.spawn(worker.run()).id(), index);
            }
        }
    }
}

/// Answers what is left in a closed queue.
fn refuse(jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.try_recv() {
        job.fail(JobError::Closed);
    }
}
