//! A branch of the queue: what the callers and workers of one runtime thread share, so that a job and its reply
//! stay on one thread. Waking a task of another one costs a system call, and with it what a second thread brings.
//! The branches have one bound together. A job goes to the branch of its caller; to another if no worker of that
//! one is connected, or if it is full. What lies in a branch when its last worker leaves goes back to its callers
//! as not sent, who send it again to where there is one.

use std::{
    ops::Index,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_channel::{Receiver, Sender, TrySendError};
use tokio::{
    runtime::Handle,
    sync::{Notify, Semaphore},
};

use crate::{
    error::{JobError, Sent},
    queue::{
        job::Job,
        lane::{Lane, Lanes},
    },
    stats::totals::Stats,
};

/// See the module's documentation. Alone in its cache lines, because other threads write to the next one.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Branch {
    /// Where its workers run.
    pub(crate) runtime: Handle,
    pub(crate) jobs: Receiver<Job>,
    /// The right to draw from it. One worker at a time has it, until it has no room left: so that a further
    /// connection is used only when the load needs it, and batches stay whole.
    pub(crate) turn: Arc<Semaphore>,
    /// Workers that draw from it, or will as soon as they have their turn.
    serving: AtomicUsize,
    /// Workers that do so only while nobody else does, because their connections are silent.
    silent: AtomicUsize,
    /// Told when there is a first one: others, whose connections are silent, let it have the turn.
    pub(crate) served: Notify,
    /// A worker has found no room for all that is queued.
    is_crowded: AtomicBool,
    /// What its callers and workers count.
    pub(crate) stats: Stats,
}

impl Branch {
    fn is_served(&self) -> bool {
        self.serving.load(Ordering::SeqCst) > 0
    }

    /// Whether there was no room for all that was queued when a worker last looked. Nobody goes past the queue then.
    pub(crate) fn is_crowded(&self) -> bool {
        self.is_crowded.load(Ordering::Relaxed)
    }

    pub(crate) fn set_crowded(&self, is_crowded: bool) {
        if self.is_crowded() != is_crowded {
            self.is_crowded.store(is_crowded, Ordering::Relaxed);
        }
    }

    fn is_manned(&self) -> bool {
        self.is_served() || self.silent.load(Ordering::SeqCst) > 0
    }

    fn workers(&self, are_silent: bool) -> &AtomicUsize {
        if are_silent { &self.silent } else { &self.serving }
    }

    fn enter(&self, is_silent: bool) {
        if self.workers(is_silent).fetch_add(1, Ordering::SeqCst) == 0 && !is_silent {
            self.served.notify_waiters();
        }
    }

    fn leave(&self, is_silent: bool) {
        self.workers(is_silent).fetch_sub(1, Ordering::SeqCst);
    }
}

/// The sending ends of all branches. The queue ends when the last holder is gone.
pub(crate) type Entrances = Arc<[Sender<Job>]>;

/// All branches of a queue, and the lanes past them.
#[derive(Debug)]
pub(crate) struct Branches {
    all: Box<[Branch]>,
    pub(crate) lanes: Lanes,
}

impl Index<usize> for Branches {
    type Output = Branch;

    fn index(&self, branch: usize) -> &Branch {
        &self.all[branch]
    }
}

impl Branches {
    /// A branch for each of `runtimes`, with room for `capacity` jobs together, but one at least in each.
    pub(crate) fn new(runtimes: &[Handle], capacity: usize) -> (Self, Entrances) {
        let capacity = (capacity / runtimes.len()).max(1);
        let (mut branches, mut entrances) = (Vec::new(), Vec::new());
        for runtime in runtimes {
            let (entrance, jobs) = async_channel::bounded(capacity);
            branches.push(Branch {
                runtime: runtime.clone(),
                jobs,
                turn: Arc::new(Semaphore::new(1)),
                serving: AtomicUsize::new(0),
                silent: AtomicUsize::new(0),
                served: Notify::new(),
                is_crowded: AtomicBool::new(false),
                stats: Stats::default(),
            });
            entrances.push(entrance);
        }
        (Self { all: branches.into(), lanes: Lanes::default() }, entrances.into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Branch> {
        self.all.iter()
    }

    /// The branch of a worker.
    pub(crate) fn of_worker(&self, index: usize) -> usize {
        index % self.all.len()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.all.iter().all(|branch| branch.jobs.is_closed())
    }

    /// Jobs in the queue.
    pub(crate) fn jobs(&self) -> usize {
        self.all.iter().map(|branch| branch.jobs.len()).sum()
    }

    /// Whether any worker serves that is not silent.
    pub(crate) fn is_any_served(&self) -> bool {
        self.all.iter().any(Branch::is_served)
    }

    /// Tells the branches in which a worker will find a job: those that are served; where none is, those whose
    /// workers are silent; all while there is no worker.
    fn reached(&self) -> fn(&Branch) -> bool {
        if self.is_any_served() {
            Branch::is_served
        } else if self.all.iter().any(Branch::is_manned) {
            Branch::is_manned
        } else {
            |_| true
        }
    }

    /// The branches in which a worker will find a job, the nearest to `home` first.
    fn from(&self, home: usize) -> impl Iterator<Item = usize> {
        let (count, is_reached) = (self.all.len(), self.reached());
        (home..home + count).map(move |number| number % count).filter(move |branch| is_reached(&self.all[*branch]))
    }

    /// Puts a job where a worker will find it, nearest to `home`; where all is full, it comes back. Once the queue
    /// is closed it is answered.
    pub(crate) fn try_send(&self, entrances: &Entrances, home: usize, job: Job) -> Option<Job> {
        // As a rule its own branch is served and has room: the others are not looked at.
        let is_near = self.all[home].is_served();
        let job = if is_near { self.offer(entrances, home, job)? } else { job };
        let mut others = self.from(home).skip(usize::from(is_near));
        others.try_fold(job, |job, branch| self.offer(entrances, branch, job))
    }

    /// The same for one branch.
    fn offer(&self, entrances: &Entrances, branch: usize, job: Job) -> Option<Job> {
        match entrances[branch].try_send(job) {
            Ok(()) => self.sent_to(branch),
            Err(TrySendError::Full(job)) => return Some(job),
            Err(TrySendError::Closed(job)) => job.fail(JobError::Closed),
        }
        None
    }

    /// The same once there is room where the job belongs.
    ///
    /// # Cancel safety
    /// Dropping the future drops a job that has not been sent.
    pub(crate) async fn send(&self, entrances: &Entrances, home: usize, job: Job) {
        let branch = self.from(home).next().unwrap_or(home);
        match entrances[branch].send(job).await {
            Ok(()) => self.sent_to(branch),
            Err(closed) => closed.0.fail(JobError::Closed),
        }
    }

    fn sent_to(&self, branch: usize) {
        if !self.all[branch].is_served() {
            // Its last worker may have left meanwhile, and missed the job.
            self.send_back();
        }
    }

    /// Sends back what lies where no worker will find it while other branches have one. In a closed queue it is
    /// left to the workers that come, because it could not be sent again.
    fn send_back(&self) {
        let is_reached = self.reached();
        for branch in self.all.iter().filter(|branch| !is_reached(branch)) {
            while !branch.jobs.is_closed()
                && let Ok(job) = branch.jobs.try_recv()
            {
                let reason = "no worker of the thread is connected".into();
                job.fail(JobError::ConnectionLost { reason, sent: Sent::No });
            }
        }
    }
}

/// A worker serves its branch, and its connection has a lane, while it holds this.
#[derive(Debug)]
pub(crate) struct Serving {
    branches: Arc<Branches>,
    branch: usize,
    is_silent: bool,
    lane: Arc<Lane>,
}

impl Serving {
    pub(crate) fn new(branches: Arc<Branches>, branch: usize) -> Self {
        branches[branch].enter(false);
        // It may be the first of all.
        branches.send_back();
        let lane = branches.lanes.open();
        Self { branches, branch, is_silent: false, lane }
    }

    /// The way to its connection past the queue.
    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }

    /// Whether any wait, in the queue or in the lane.
    pub(crate) fn has_jobs(&self) -> bool {
        !self.branches[self.branch].jobs.is_empty() || self.lane.has_jobs()
    }

    /// From now on it serves only where nobody else does, or as any other again. Its lane ends, and it has another:
    /// nothing goes after a job that may come back.
    pub(crate) fn set_silent(&mut self, is_silent: bool) {
        self.branches.lanes.close(&self.lane);
        self.lane = self.branches.lanes.open();
        let before = std::mem::replace(&mut self.is_silent, is_silent);
        let branch = &self.branches[self.branch];
        // In this order, so that at no time nobody seems to be there.
        branch.enter(is_silent);
        branch.leave(before);
        self.branches.send_back();
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.branches.lanes.close(&self.lane);
        self.branches[self.branch].leave(self.is_silent);
        self.branches.send_back();
    }
}
