//! Room for replies: what the replies to one job and to all jobs may hold. A connection whose reply finds none
//! waits a moment for clients to read, so that a crowd that does read gets what it asked for; then the reply is
//! given up, so that a crowd that does not read stops nobody else.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, timeout};

use crate::{
    bounds::{
        budget::Budget,
        share::{Own, Share},
    },
    error::JobError,
    settings::settings::Settings,
};

/// Bytes that the replies to a job may hold without a share of the bound that all have in common.
pub const REPLY_FREE_BYTES: usize = 64 * 1024;

/// How long a shared connection waits for room. All that is in flight on it waits too.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long an exclusive connection waits for room. Nobody else waits for it.
const PATIENCE_ALONE: Duration = Duration::from_secs(1);

/// How long it does not wait again after it has done so in vain.
const NO_PATIENCE: Duration = Duration::from_secs(1);

/// What replies may hold, in bytes.
#[derive(Debug)]
pub(crate) struct Room {
    /// Those to one job.
    pub(crate) job_max: usize,
    /// Those to all jobs, beyond what is free for each, until clients have taken them.
    pub(crate) all_max: usize,
    /// Aggregates inside aggregates in one of them.
    pub(crate) depth_max: usize,
    pub(crate) budget: Arc<Budget>,
}

impl Room {
    pub(crate) fn new(settings: &Settings, budget: &Arc<Budget>) -> Self {
        let Settings { reply_bytes_max, replies_bytes_max, reply_depth_max, .. } = *settings;
        Self {
            job_max: reply_bytes_max,
            all_max: replies_bytes_max,
            depth_max: reply_depth_max,
            budget: Arc::clone(budget),
        }
    }

    /// What a job's replies may hold without asking.
    pub(crate) fn unasked(&self) -> usize {
        self.job_max.min(REPLY_FREE_BYTES)
    }

    /// Whether the replies to one job may have so many bytes.
    pub(crate) fn takes(&self, bytes: usize) -> Result<(), JobError> {
        if bytes > self.job_max { Err(JobError::RepliesTooLarge(self.job_max)) } else { Ok(()) }
    }

    /// Has `held` cover replies of `bytes`; otherwise what is to be [waited](Wait) for.
    pub(crate) fn claim(&self, held: &mut Share, bytes: usize) -> Result<(), Short> {
        let wanted = beyond_free(bytes);
        match held.grow(wanted, self.all_max) {
            true => Ok(()),
            false => Err(Short { own: held.own(), more: wanted - held.bytes() }),
        }
    }
}

/// Has `held` cover no more than replies of `bytes`.
pub(crate) fn release(held: &mut Share, bytes: usize) {
    held.shrink(beyond_free(bytes));
}

/// What replies of `bytes` need a share of; in steps, so that a long reply of many pieces asks seldom.
fn beyond_free(bytes: usize) -> usize {
    let beyond = bytes.saturating_sub(REPLY_FREE_BYTES);
    beyond.checked_next_multiple_of(REPLY_FREE_BYTES).unwrap_or(beyond)
}

/// How many bytes a job has a share of, and how many it lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short {
    own: Own,
    more: usize,
}

/// A connection's waiting for room.
#[derive(Default)]
pub(crate) struct Wait {
    waiting: Option<Pin<Box<dyn Future<Output = Option<Share>> + Send + Sync>>>,
    /// There is no waiting until then.
    in_vain_until: Option<Instant>,
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("waits", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

impl Wait {
    /// Ready with the share that was lacking, or with `None` once there has been no room for too long.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, short: Short, room: &Room) -> Poll<Option<Share>> {
        self.poll_for(cx, short, room, PATIENCE)
    }

    fn poll_for(&mut self, cx: &mut Context<'_>, short: Short, room: &Room, patience: Duration) -> Poll<Option<Share>> {
        let waiting = self.waiting.get_or_insert_with(|| {
            let further = Arc::clone(&room.budget).take_further(short.own, short.more, room.all_max);
            let patience = if self.in_vain_until > Some(Instant::now()) { Duration::ZERO } else { patience };
            Box::pin(async move { timeout(patience, further).await.ok() })
        });
        let share = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        let now = Instant::now();
        if share.is_some() {
            self.in_vain_until = None;
        } else if self.in_vain_until <= Some(now) {
            self.in_vain_until = Some(now + NO_PATIENCE);
        }
        Poll::Ready(share)
    }
}

/// What the borrower of an exclusive connection holds of replies.
#[derive(Debug, Default)]
pub(crate) struct Held {
    share: Option<Share>,
    wait: Wait,
}

impl Held {
    /// What is held already.
    pub(crate) fn of(share: Option<Share>) -> Self {
        Self { share, wait: Wait::default() }
    }

    /// Takes out what is held.
    pub(crate) fn take(&mut self) -> Option<Share> {
        self.share.take()
    }

    /// Ready when there is room for a message of `bytes`, as far as they are known, besides `others`; fails when
    /// there is none for too long.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        bytes: usize,
        others: usize,
        room: impl FnOnce() -> Room,
    ) -> Poll<Result<(), JobError>> {
        let all = bytes.saturating_add(others);
        if all <= REPLY_FREE_BYTES {
            self.share = None;
            return Poll::Ready(Ok(()));
        }
        let room = room();
        if let Err(failure) = room.takes(bytes) {
            return Poll::Ready(Err(failure));
        }
        let share = self.share.get_or_insert_with(|| room.budget.charge(0));
        let Err(short) = room.claim(share, all) else { return Poll::Ready(Ok(())) };
        let more = ready!(self.wait.poll_for(cx, short, &room, PATIENCE_ALONE));
        match (more, &mut self.share) {
            (Some(more), Some(share)) => share.join(more),
            (more, share) => *share = more,
        }
        let lacks = self.share.is_none();
        Poll::Ready(if lacks { Err(JobError::RepliesFull(room.all_max)) } else { Ok(()) })
    }
}
