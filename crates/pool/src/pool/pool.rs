//! The pool: starts the workers, changes their number, ends them. Its supervisor task owns every
//! worker task, replaces one that panicked, and answers what is left when all are gone.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::watch,
    task::{JoinHandle, JoinSet, yield_now},
    time::{sleep, timeout},
};

use crate::{
    bounds::budget::Budget,
    caller::caller::Caller,
    error::JobError,
    pool::{
        access::Access,
        client::Client,
        control::{Control, Status},
        places::Places,
    },
    queue::branch::{Branches, Entrances},
    settings::settings::Settings,
    shared::{InCommon, Shared},
    upstream::{facts::Facts, health::Upstream, watch::watch_over},
    worker::worker::Worker,
};

/// How often idle exclusive connections are looked through.
const PRUNE_EVERY: Duration = Duration::from_secs(1);

/// Workers that are started at a time.
const STARTS_MAX: usize = 32;

/// Many producers, one bounded queue, N workers. Dropping it without [`drain`](Self::drain) lets the
/// workers end by themselves once the last [`Caller`] and [`Client`] are gone too.
#[derive(Debug)]
pub struct Pool {
    entrances: Entrances,
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
        Self::start_on(&[Handle::current()], settings)
    }

    /// The same with the workers spread over several runtimes of one thread each, in turn. Each runtime has a
    /// branch of the queue, and [`caller_on`](Self::caller_on) a handle for those who run there: what they send
    /// is served by the workers beside them. With fewer workers than runtimes, some have none and send to others.
    ///
    /// # Panics
    /// As [`start`](Self::start), and if there is no runtime.
    pub fn start_on(runtimes: &[Handle], settings: Settings) -> Self {
        Self::start_among(&Handle::current(), runtimes, settings, InCommon::default())
    }

    /// The same among pools that have bounds in common. What looks after the workers runs on `home`.
    pub(super) fn start_among(home: &Handle, runtimes: &[Handle], settings: Settings, in_common: InCommon) -> Self {
        assert!(settings.workers > 0 && settings.pipeline_depth > 0, "a pool needs a worker and a pipeline");
        let (branches, entrances) = Branches::new(runtimes, settings.queue_capacity);
        let (settings, receiver) = watch::channel(Arc::new(settings));
        let shared = Arc::new(Shared::new(receiver, branches, in_common));
        let supervisor = home.spawn(Supervisor { shared: Arc::clone(&shared) }.run());
        let control = Control::new(settings, Arc::clone(&shared));
        Self { entrances, control, shared, supervisor }
    }

    /// A handle for one party that has one job at a time, or two on one connection.
    pub fn caller(&self) -> Caller {
        self.caller_on(0)
    }

    /// The same for one that runs on the runtime of this index, of those that the pool was started on.
    ///
    /// # Panics
    /// If there is none of this index.
    pub fn caller_on(&self, runtime: usize) -> Caller {
        assert!(runtime < self.entrances.len(), "a caller runs on one of the pool's runtimes");
        Caller::new(Arc::clone(&self.entrances), runtime, Arc::clone(&self.shared))
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

    /// The way into the queue, for callers to come.
    pub(super) fn access(&self) -> Access {
        Access { entrances: Arc::clone(&self.entrances), shared: Arc::clone(&self.shared) }
    }

    /// Of a further login: what its pools have of the room for requests.
    pub(super) fn queued_by_login(&self) -> Option<Arc<Budget>> {
        self.shared.queue_room.own().cloned()
    }

    /// The upstream has let in its login.
    pub(super) fn is_let_in(&self) {
        self.shared.node.is_let_in();
    }

    /// Whether a caller or a way in is there, or an exclusive connection is lent.
    pub(super) fn is_used(&self) -> bool {
        Arc::strong_count(&self.entrances) > 1 || self.shared.exclusives.counts().0 > 0
    }

    /// Refuses further jobs; its workers finish those it has, and end.
    pub(super) fn close(&self) {
        for entrance in self.entrances.iter() {
            entrance.close();
        }
    }

    /// Whether all workers have ended.
    pub(super) fn is_over(&self) -> bool {
        self.supervisor.is_finished()
    }

    /// Refuses further jobs, finishes those it has within `grace`, closes the connections. What is left
    /// after that is answered with an error.
    pub async fn drain(self, grace: Duration) -> Drained {
        self.close();
        let Self { mut supervisor, shared, .. } = self;
        if timeout(grace, &mut supervisor).await.is_err() {
            let abandoned = shared.queue_room.all().shares();
            supervisor.abort();
            // Aborted or done makes no difference here: either way its workers are gone.
            let _ = supervisor.await;
            refuse(&shared.branches);
            return Drained { abandoned };
        }
        Drained { abandoned: 0 }
    }
}

/// Owns the worker tasks.
struct Supervisor {
    shared: Arc<Shared>,
}

impl Supervisor {
    async fn run(self) {
        let mut settings = self.shared.settings.clone();
        let mut workers = JoinSet::new();
        let mut places = Places::default();
        let mut reconfigurable = true;
        let watched = watch_over(Arc::clone(&self.shared.node));
        tokio::pin!(watched);
        loop {
            if !self.shared.branches.is_closed() {
                let target = settings.borrow_and_update().workers;
                if self.start(target, &mut workers, &mut places) {
                    // Others who run on this thread have their turn between many starts.
                    yield_now().await;
                    continue;
                }
            }
            tokio::select! {
                ended = workers.join_next_with_id() => match ended {
                    Some(Ok((id, ()))) => drop(places.leave(id)),
                    Some(Err(error)) => {
                        let worker = places.leave(error.id()).map(|place| place + 1);
                        tracing::error!(worker, %error, "worker ended unexpectedly, starting another");
                    }
                    None => break,
                },
                changed = settings.changed(), if reconfigurable => reconfigurable = changed.is_ok(),
                () = &mut watched => {}
                () = sleep(PRUNE_EVERY) => {}
            }
            let (exclusive_max, idle_max) = {
                let settings = settings.borrow();
                (settings.exclusive_max, settings.exclusive_idle.min(self.shared.node.facts().half_idle_timeout()))
            };
            self.shared.exclusives.set_max(exclusive_max);
            self.shared.exclusives.prune(idle_max);
        }
        self.shared.exclusives.prune(Duration::ZERO);
        refuse(&self.shared.branches);
    }

    /// Starts workers until there are `target`, some at a time; whether there may be more to start.
    fn start(&self, target: usize, workers: &mut JoinSet<()>, places: &mut Places) -> bool {
        let free = places.free(target, STARTS_MAX);
        for place in &free {
            let worker = Worker::new(*place, Arc::clone(&self.shared));
            let runtime = &self.shared.branches[self.shared.branches.of_worker(*place)].runtime;
            places.take(*place, workers.spawn_on(worker.run(), runtime).id());
        }
        free.len() == STARTS_MAX
    }
}

/// Answers what is left in a closed queue.
fn refuse(branches: &Branches) {
    for branch in branches.iter() {
        while let Ok(job) = branch.jobs.try_recv() {
            job.fail(JobError::Closed);
        }
    }
}
