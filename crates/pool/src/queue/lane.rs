//! Lanes: ways into one connection past the queue. A caller whose job is out on a connection may send one further
//! job after it there, because one connection cannot swap the two. A lane ends before any job that was given to its
//! connection comes back to be sent elsewhere. So a further job never overtakes the one before it: it lies behind that
//! one on the connection, or it comes back too. It waits in the lane for room on the connection. When those in the queue
//! find none, nobody goes past them: what lies in lanes comes back, and goes through the queue.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use atomic_waker::AtomicWaker;

use crate::{
    error::{JobError, Sent},
    queue::job::Job,
};

/// Jobs that a lane holds. Each is of another caller, and a caller whose job finds no place waits for its first one.
const JOBS_MAX: usize = 1024;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Lane {
    id: u64,
    /// `None` once it has ended.
    jobs: Mutex<Option<VecDeque<Job>>>,
    /// How many they are.
    waiting: AtomicUsize,
    /// Of the worker that the connection belongs to.
    waker: AtomicWaker,
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Option<VecDeque<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has room for a job.
    pub(crate) fn is_open(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < JOBS_MAX
    }

    /// Puts a job into it; the job comes back if the lane has ended or is full.
    pub(crate) fn send(&self, job: Job) -> Option<Job> {
        let mut jobs = self.lock();
        match jobs.as_mut() {
            Some(jobs) if jobs.len() < JOBS_MAX => {
                jobs.push_back(job);
                self.waiting.store(jobs.len(), Ordering::Release);
            }
            _ => return Some(job),
        }
        drop(jobs);
        self.waker.wake();
        None
    }

    /// Whether a job waits in it.
    pub(crate) fn has_jobs(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// The job that came first.
    pub(crate) fn take(&self) -> Option<Job> {
        if !self.has_jobs() {
            return None;
        }
        let mut jobs = self.lock();
        let waiting = jobs.as_mut()?;
        let job = waiting.pop_front();
        self.waiting.store(waiting.len(), Ordering::Release);
        job
    }

    /// Ready when there is a job in it.
    pub(crate) fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.has_jobs() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Gives the jobs in it back to their callers, as not sent.
    pub(crate) fn send_back(&self, reason: &str) {
        if self.has_jobs() {
            let mut lane = self.lock();
            let jobs = lane.as_mut().map(std::mem::take);
            // Under the lock: of a job that comes next it says that it waits.
            self.waiting.store(0, Ordering::Release);
            drop(lane);
            give_back(jobs, reason);
        }
    }

    fn end(&self) {
        let jobs = self.lock().take();
        self.waiting.store(JOBS_MAX, Ordering::Release);
        give_back(jobs, "the connection takes no further requests");
    }
}

fn give_back(jobs: Option<VecDeque<Job>>, reason: &str) {
    for job in jobs.into_iter().flatten() {
        job.fail(JobError::ConnectionLost { reason: reason.into(), sent: Sent::No });
    }
}

/// The lanes that there are.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    open: Mutex<Vec<Arc<Lane>>>,
    last_id: AtomicU64,
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Lane>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one, with an id that none had before. The caller [closes](Self::close) it.
    pub(crate) fn open(&self) -> Arc<Lane> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let lane = Lane { id, jobs: Mutex::default(), waiting: AtomicUsize::new(0), waker: AtomicWaker::new() };
        *lane.lock() = Some(VecDeque::new());
        let lane = Arc::new(lane);
        self.lock().push(Arc::clone(&lane));
        lane
    }

    /// The one with this id, unless it has ended.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<Lane>> {
        self.lock().iter().find(|lane| lane.id == id).cloned()
    }

    /// Ends a lane: what lies in it goes back to its callers, and nothing is put into it any more.
    pub(crate) fn close(&self, lane: &Lane) {
        self.lock().retain(|open| open.id != lane.id);
        lane.end();
    }
}

impl Lane {
    /// Written on the ticket of each job that its connection takes.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Barrier, thread};

    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        bounds::queue_room::QueueRoom,
        queue::{
            job::{Burst, Outcome},
            ticket::Ticket,
        },
    };

    /// How often two threads meet, and how long one waits for both of them.
    const ROUNDS: usize = 1_000;
    const YIELDS: usize = 100;

    fn job() -> (Job, oneshot::Receiver<Outcome>) {
        let (sender, receiver) = oneshot::channel();
        let place = QueueRoom::new(Arc::default(), None).try_take(0, 1).expect("empty");
        (Job::new(&mut Burst::default(), Arc::new(Ticket::new()), sender, place), receiver)
    }

    #[tokio::test]
    async fn what_comes_back_says_that_it_was_not_sent_and_nothing_goes_into_an_ended_lane() {
        let lanes = Lanes::default();
        let lane = lanes.open();
        let mut receivers = Vec::new();
        for number in 0..=JOBS_MAX {
            let (job, receiver) = job();
            assert_eq!(lane.send(job).is_none(), number < JOBS_MAX);
            receivers.push(receiver);
        }
        assert!(lane.take().is_some() && lane.is_open());
        lane.send_back("full");
        let (first, _first) = job();
        assert!(lane.send(first).is_none());
        let found = lanes.find(lane.id()).expect("open");
        lanes.close(&lane);
        assert!(lanes.find(lane.id()).is_none() && found.take().is_none());
        let (last, _last) = job();
        assert!(found.send(last).is_some() && !found.is_open());
        let back = receivers.remove(1).await.expect("answered").give_back(&mut Burst::default()).expect("failed");
        assert_eq!(back.sent(), Sent::No, "{back}");
    }

    #[test]
    fn a_job_that_comes_while_others_go_back_is_seen_to_wait() {
        let (lane, both) = (Lanes::default().open(), Barrier::new(3));
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    both.wait();
                    lane.send_back("full");
                    both.wait();
                }
            });
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    both.wait();
                    assert!(lane.send(job().0).is_none());
                    both.wait();
                }
            });
            let mut unseen = 0;
            for _ in 0..ROUNDS {
                assert!(lane.send(job().0).is_none());
                let held = lane.lock();
                both.wait();
                // Both come to wait for the lock, and have it one right after the other.
                (0..YIELDS).for_each(|_| thread::yield_now());
                drop(held);
                both.wait();
                let left = lane.lock().take().map_or(0, |jobs| jobs.len());
                unseen += u32::from(lane.waiting.load(Ordering::Acquire) != left);
                *lane.lock() = Some(VecDeque::new());
            }
            assert_eq!(unseen, 0, "jobs lie in the lane, and nobody looks");
        });
    }
}
