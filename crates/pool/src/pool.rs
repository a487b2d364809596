//! The pool: starts the workers, changes their number, ends them. Its supervisor task owns every
//! worker task, replaces one that panicked, and answers what is left when all are gone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_channel::{Receiver, Sender};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    Caller, Client, Control, Facts, JobError, Settings, Status, health::Upstream, job::Job, shared::Shared,
    worker::Worker,
};

/// How often idle exclusive connections are looked through.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

/// Many producers, one bounded queue, N workers. Dropping it without [`drain`](Self::drain) lets the
/// workers end by themselves once the last [`Caller`] and [`Client`] are gone too.
#[derive(Debug)]
pub struct Pool {
    queue: Sender<Job>,
    /// Never drawn from but to answer what is left at the end.
    jobs: Receiver<Job>,
    control: Control,
    shared: Arc<Shared>,
    supervisor: JoinHandle<()>,
}

/// How [`Pool::drain`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Jobs that were not finished in time and were answered with an error.
    pub abandoned: usize,
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
        let control = Control::new(queue.downgrade(), settings, Arc::clone(&shared));
        Self { queue, jobs, control, shared, supervisor }
    }

    /// A handle for one party that has at most one job at a time.
    pub fn caller(&self) -> Caller {
        Caller::new(self.queue.clone(), Arc::clone(&self.shared))
    }

    /// A typed handle.
    pub fn client(&self) -> Client {
        Client::new(self.caller())
    }

    /// A handle for those who run the pool.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// As [`Control::reconfigure`].
    pub fn reconfigure(&self, settings: Settings) {
        self.control.reconfigure(settings);
    }

    /// As [`Control::facts`].
    pub fn facts(&self) -> Arc<Facts> {
        self.control.facts()
    }

    /// As [`Control::upstream`].
    pub fn upstream(&self) -> watch::Receiver<Upstream> {
        self.control.upstream()
    }

    /// As [`Control::status`].
    pub fn status(&self) -> Status {
        self.control.status()
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
