//! What a caller may do while its job is out: take the replies that have come, and have a second job follow.

use std::{sync::Arc, task::Context};

use tokio::sync::oneshot;

use crate::{
    caller::caller::{Caller, Limits},
    queue::{
        job::{Burst, Job, Outcome},
        ticket::Ticket,
    },
    shared::Shared,
    stats::class::BurstClass,
    time::timestamp::Moment,
    upstream::needs::Needs,
};

/// A caller's job while it is out.
#[derive(Debug)]
pub struct Out<'c> {
    pub(super) shared: &'c Arc<Shared>,
    pub(super) branch: usize,
    pub(super) ticket: &'c Ticket,
    pub(super) needs: Needs,
}

impl Out<'_> {
    /// Appends the replies that have come to `into`; the task is woken when there are more. How many bytes they are.
    pub fn poll_replies(&self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> usize {
        self.ticket.early.poll_take(cx, into)
    }

    /// As [`Caller::alone_from`] says it.
    pub fn alone_from(&self) -> usize {
        self.shared.node.alone_from()
    }

    /// Whether nobody waits who would be passed by a burst that follows. Otherwise it has to wait until this job has
    /// its replies, and there is no hurry to gather it.
    pub fn may_pass(&self) -> bool {
        !self.shared.branches[self.branch].is_crowded()
    }

    /// Has `burst` follow the job into the same connection. Nothing if it has to wait until the job has its replies: no
    /// worker has the job yet, the connection takes no more, others wait, or it needs another state of the connection.
    pub fn follow(&self, burst: &mut Burst) -> Option<Further> {
        let branches = &self.shared.branches;
        let lane = branches.lanes.find(self.ticket.lane()?)?;
        let (limits, may_send) = Limits::now(self.shared);
        if !may_send || !self.may_pass() || !lane.is_open() || burst.needs != self.needs {
            return None;
        }
        let bytes = burst.requests.len();
        let place = self.shared.queue_room.try_take(bytes, limits.queue_bytes_max)?;
        let counted = (burst.class(), burst.replies_due, burst.needs);
        let (sender, receiver) = oneshot::channel();
        let ticket = Arc::new(Ticket::new());
        let job = Job::new(burst, Arc::clone(&ticket), sender, place);
        self.ticket.is_to_be_followed();
        if let Some(job) = lane.send(job) {
            *burst = job.into_burst();
            return None;
        }
        branches[self.branch].stats.began(counted.0, counted.1, bytes);
        let (shared, branch) = (Arc::clone(self.shared), self.branch);
        let waiting = Waiting { ticket, receiver, counted };
        Some(Further { shared, branch, started: Moment::now(), waiting: Some(waiting) })
    }
}

/// A job that follows another one of its caller. Dropped, it is executed all the same, and its replies dropped.
#[derive(Debug)]
pub struct Further {
    shared: Arc<Shared>,
    branch: usize,
    started: Moment,
    /// `None` once its caller waits for it.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ticket: Arc<Ticket>,
    receiver: oneshot::Receiver<Outcome>,
    counted: (BurstClass, u32, Needs),
}

impl Further {
    /// How many replies it will get.
    pub fn replies_due(&self) -> u32 {
        self.waiting.as_ref().map_or(0, |waiting| waiting.counted.1)
    }

    pub(super) fn started(&self) -> Moment {
        self.started
    }
}

impl Drop for Further {
    fn drop(&mut self) {
        if let Some(Waiting { counted: (class, due, _), .. }) = &self.waiting {
            self.shared.branches[self.branch].stats.class(*class).failed(*due);
        }
    }
}

impl Caller {
    /// Waits for that job from now on, as for one of its own.
    pub(super) fn takes_over(&mut self, mut further: Further) -> oneshot::Receiver<Outcome> {
        let Waiting { ticket, receiver, counted } = further.waiting.take().expect("it is taken over once");
        self.progress.follows(Arc::clone(&ticket));
        self.ticket = ticket;
        self.under_way = Some(counted);
        receiver
    }
}
