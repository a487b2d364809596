//! The attempts to have a burst executed: into the queue, wait for the answer, and once more where that is safe.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use resp::{Decoded, RequestDecoder, RequestLimits};
use tokio::{sync::oneshot, time::timeout_at};

use crate::{
    bounds::queue_room::Place,
    caller::{
        caller::{Caller, Limits},
        further::Out,
    },
    error::{JobError, Sent},
    queue::{
        early::Held,
        job::{Burst, Job, Outcome, Pieces},
        together::Together,
    },
    stats::totals::Stats,
    time::timestamp::Moment,
};

/// A ticket that no job has is held by its caller and by those who look on.
const TICKET_HOLDERS: usize = 2;

/// A job that is out, and what its caller goes by while it waits. Every session has one.
#[derive(Debug)]
pub(super) struct Attempt {
    receiver: oneshot::Receiver<Outcome>,
    started: Moment,
    limits: Limits,
    /// When it is to be looked at whether the answer is late.
    check: Moment,
    /// It has `started` since the task was woken.
    is_new: bool,
}

/// How a call has fared so far.
#[derive(Debug, Default)]
struct Tried {
    /// What may have been executed has been sent once more.
    repeated: bool,
    /// A worker has given the job up that had sent it.
    moved: bool,
    /// Its call goes on since a large reply has begun to come.
    goes_on: bool,
}

impl Attempt {
    fn new(receiver: oneshot::Receiver<Outcome>, started: Moment, limits: Limits, is_new: bool) -> Self {
        let check = started.after(limits.queue_timeout.min(limits.reply_timeout));
        Self { receiver, started, limits, check, is_new }
    }

    pub(super) fn started(&self) -> Moment {
        self.started
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }
}

impl Caller {
    /// The first attempt, or the one that is out where there is a `receiver`, if nothing has to be waited for before.
    /// Otherwise nothing is done. `is_new`: the call has just begun.
    pub(super) fn attempt_at_once(
        &mut self,
        burst: &mut Burst,
        (started, is_new): (Moment, bool),
        receiver: &mut Option<oneshot::Receiver<Outcome>>,
    ) -> Option<Attempt> {
        let (limits, may_send) = self.limits();
        let receiver = match receiver.take() {
            Some(receiver) => receiver,
            None if may_send && burst.taken_early == 0 => self.send_at_once(burst, started, &limits, None)?,
            None => return None,
        };
        Some(Attempt::new(receiver, started, limits, is_new))
    }

    /// Executes a burst whose first attempt has `failed`, whose job is out where there is a `receiver`, or which is to be
    /// sent once there is room for it.
    pub(super) async fn execute_until_answered(
        &mut self,
        burst: &mut Burst,
        started: &mut Moment,
        mut failed: Option<(JobError, Limits)>,
        mut receiver: Option<oneshot::Receiver<Outcome>>,
        meanwhile: &mut impl FnMut(&mut Context<'_>, Out<'_>),
    ) -> Result<(), JobError> {
        let mut tried = Tried { goes_on: receiver.is_some(), ..Tried::default() };
        if failed.is_none() && receiver.is_none() {
            // Nothing of this call has been sent: what the ticket says is of the one before.
            self.ticket.reset();
        }
        loop {
            if let Some((failure, limits)) = failed.take() {
                if !self.is_tried_again(burst, &failure, (*started, &limits), &mut tried) {
                    return Err(failure);
                }
                Stats::count(&self.stats().retried);
                begin_anew(burst, self.under_way.map_or(0, |(_, due, _)| due));
            }
            let (mut limits, may_send) = self.limits();
            if !may_send && receiver.is_none() {
                Box::pin(self.held_back(started)).await?;
                (limits, _) = self.limits();
            }
            let receiver = match receiver.take() {
                Some(receiver) => receiver,
                None => self.send(burst, *started, &limits, !tried.moved).await?,
            };
            let mut attempt = Attempt::new(receiver, *started, limits, false);
            let answer = poll_fn(|cx| self.poll_answer(cx, &mut attempt, meanwhile)).await;
            match self.answered(burst, answer) {
                Ok(()) => return Ok(()),
                Err(failure) => failed = Some((failure, limits)),
            }
        }
    }

    /// Whether a burst that has failed so is sent once more.
    fn is_tried_again(
        &self,
        burst: &Burst,
        failure: &JobError,
        (started, limits): (Moment, &Limits),
        tried: &mut Tried,
    ) -> bool {
        // It only reads, and was in time when a worker gave it up.
        let moves = self.ticket.was_given_up();
        tried.moved |= moves;
        let again = match failure {
            JobError::ConnectionLost { sent: Sent::No, .. } => true,
            // The next primary is waited for before.
            JobError::UpstreamDown(_) => !self.failover_wait().is_zero(),
            JobError::ConnectionLost { sent: Sent::Maybe, .. } if !moves => {
                // What may have ended the connection is not repeated on another.
                let ended_it = || self.facts().limits.end_connections(limits.queue_bytes_max);
                // Its caller is to see errors: if the rest were sent alone, they would be taken early before it.
                let is_erring = tried.goes_on && burst.errors > 0;
                burst.read_only
                    && !burst.is_torn
                    && !is_erring
                    && !std::mem::replace(&mut tried.repeated, true)
                    && !ended_it()
            }
            _ => false,
        };
        moves || (again && Moment::now() < started.after(limits.queue_timeout))
    }

    async fn send(
        &mut self,
        burst: &mut Burst,
        started: Moment,
        limits: &Limits,
        may_move: bool,
    ) -> Result<oneshot::Receiver<Outcome>, JobError> {
        let deadline = started.after(limits.queue_timeout);
        let (room, bytes) = (&self.shared.queue_room, burst.requests.len());
        let place = match room.try_take(bytes, limits.queue_bytes_max) {
            Some(place) => place,
            // Boxed, like the other wait below: rare, and large.
            None => match Box::pin(timeout_at(deadline.instant(), room.take(bytes, limits.queue_bytes_max))).await {
                Ok(place) => place,
                Err(_) => return Err(JobError::QueueTimeout(limits.queue_timeout)),
            },
        };
        let (job, receiver) = self.job(burst, place, may_move.then_some(deadline));
        let (branches, entrances) = (&self.shared.branches, &self.entrances);
        if let Some(job) = branches.try_send(entrances, self.branch, job) {
            let sent = Box::pin(timeout_at(deadline.instant(), branches.send(entrances, self.branch, job))).await;
            sent.map_err(|_| JobError::QueueTimeout(limits.queue_timeout))?;
        }
        Ok(receiver)
    }

    /// The same if there is room now, and so that its caller is woken together with `others` if there are any; otherwise
    /// nothing is done.
    fn send_at_once(
        &mut self,
        burst: &mut Burst,
        started: Moment,
        limits: &Limits,
        others: Option<&Arc<Together>>,
    ) -> Option<oneshot::Receiver<Outcome>> {
        let place = self.shared.queue_room.try_take(burst.requests.len(), limits.queue_bytes_max)?;
        let (mut job, receiver) = self.job(burst, place, Some(started.after(limits.queue_timeout)));
        if let Some(others) = others {
            job.wakes_with(others);
        }
        if let Some(job) = self.shared.branches.try_send(&self.entrances, self.branch, job) {
            *burst = job.into_burst();
            return None;
        }
        Some(receiver)
    }

    /// The same if nothing keeps it from being sent now.
    pub(super) fn send_with(
        &mut self,
        burst: &mut Burst,
        started: Moment,
        others: &Arc<Together>,
    ) -> Option<(oneshot::Receiver<Outcome>, Limits)> {
        let (limits, may_send) = self.limits();
        if !may_send || burst.taken_early > 0 || burst.pieces != Pieces::Never {
            return None;
        }
        Some((self.send_at_once(burst, started, &limits, Some(others))?, limits))
    }

    /// The job of a burst. A worker may give it up, once it is sent, up to `may_move_until` if it only reads.
    fn job(
        &mut self,
        burst: &mut Burst,
        place: Place,
        may_move_until: Option<Moment>,
    ) -> (Job, oneshot::Receiver<Outcome>) {
        if Arc::strong_count(&self.ticket) > TICKET_HOLDERS {
            // A job of a call that was dropped is still on its way, and keeps the ticket.
            self.ticket = Arc::new(self.ticket.another());
            self.progress.follows(Arc::clone(&self.ticket));
        } else {
            self.ticket.reset();
        }
        if burst.taken_early > 0 {
            burst.taken_early += burst.replies.len();
            self.ticket.early.begin_with(std::mem::take(&mut burst.replies), burst.replies_done);
        }
        if let Some(until) = may_move_until.filter(|_| burst.read_only) {
            self.ticket.may_move_until(until);
        }
        let (sender, receiver) = oneshot::channel();
        (Job::new(burst, Arc::clone(&self.ticket), sender, place), receiver)
    }

    /// Gives the burst back as its job's answer has it.
    pub(super) fn answered(&mut self, burst: &mut Burst, answer: Result<Outcome, JobError>) -> Result<(), JobError> {
        let (failure, ticket) = match answer {
            Ok(outcome) => {
                let failure = outcome.give_back(burst);
                if burst.begun.is_some() {
                    return Ok(());
                }
                (failure, None)
            }
            Err(failure) => {
                // The job may lie in the queue or in flight for long: it keeps the ticket, we get a new one.
                let given_up = Arc::clone(&self.ticket);
                self.ticket = Arc::new(given_up.another());
                self.progress.follows(Arc::clone(&self.ticket));
                (Some(failure), Some(given_up))
            }
        };
        if let Some(rest) = ticket.as_ref().unwrap_or(&self.ticket).early.rest() {
            take_rest(burst, rest, ticket.is_some());
        }
        failure.map_or(Ok(()), Err)
    }

    /// The answer to an attempt, once it is there or late.
    pub(super) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        attempt: &mut Attempt,
        meanwhile: &mut impl FnMut(&mut Context<'_>, Out<'_>),
    ) -> Poll<Result<Outcome, JobError>> {
        loop {
            if let Poll::Ready(answer) = Pin::new(&mut attempt.receiver).poll(cx) {
                return Poll::Ready(answer.map_err(|_| JobError::WorkerGone(Sent::Maybe)));
            }
            let needs = self.under_way.map(|(.., needs)| needs).unwrap_or_default();
            let Self { shared, branch, ticket, alarm, .. } = self;
            meanwhile(cx, Out { shared, branch: *branch, ticket, needs });
            let now = if std::mem::take(&mut attempt.is_new) { attempt.started } else { Moment::now() };
            ready!(alarm.poll_from(cx, now, attempt.check));
            self.look_at(attempt)?;
        }
    }

    /// Says when an attempt is to be looked at next.
    ///
    /// # Errors
    /// It is late.
    fn look_at(&self, attempt: &mut Attempt) -> Result<(), JobError> {
        let Limits { queue_timeout, reply_timeout, .. } = attempt.limits;
        let (now, queue_deadline) = (Moment::now(), attempt.started.after(queue_timeout));
        // A reply that comes in pieces is not late while they come, nor while the caller takes none.
        let came = |taken: Moment| self.ticket.early.last_piece().map_or(taken, |piece| piece.max(taken));
        match self.ticket.taken_at().map(|taken| came(taken).after(reply_timeout)) {
            Some(late) if now >= late => return Err(JobError::ReplyTimeout(reply_timeout)),
            Some(late) => attempt.check = late,
            None if now < queue_deadline => {
                // A job taken between two looks is noticed well before its own deadline.
                attempt.check = queue_deadline.min(now.after((reply_timeout / 8).max(Duration::from_millis(1))));
            }
            None if self.ticket.expire() => return Err(JobError::QueueTimeout(queue_timeout)),
            None => {}
        }
        Ok(())
    }
}

/// Puts what has been handed on of a burst's replies and not been taken in front of the others; of those of a burst that
/// was `given_up` nothing further comes.
fn take_rest(burst: &mut Burst, rest: Held, given_up: bool) {
    burst.is_torn |= given_up && rest.torn() > 0;
    let torn = if burst.is_torn { rest.torn() } else { 0 };
    let mut early = rest.replies;
    burst.taken_early = burst.taken_early.saturating_sub(early.len());
    burst.replies_done = burst.replies_done.max(rest.count);
    if torn > 0 && early.len() >= torn {
        // Nothing of that reply has been taken.
        early.truncate(early.len() - torn);
        burst.is_torn = false;
    }
    if !early.is_empty() {
        early.append(&mut burst.replies);
        burst.replies = early;
    }
}

/// Makes a burst, which had so many requests at first, ready to be sent again. Where replies have been taken, only the
/// requests whose replies have not come are.
fn begin_anew(burst: &mut Burst, requests: u32) {
    if burst.taken_early == 0 {
        burst.replies.clear();
        (burst.replies_done, burst.errors) = (0, 0);
        return;
    }
    let left = requests.saturating_sub(burst.replies_done);
    let (mut decoder, mut answered) = (RequestDecoder::new(RequestLimits::accepted()), 0);
    while burst.replies_due > left {
        let Ok(Decoded::Request { len }) = decoder.decode(&burst.requests[answered..]) else { break };
        answered += len;
        burst.replies_due -= 1;
    }
    burst.requests.drain(..answered);
}

#[cfg(test)]
mod tests {
    use resp::write_request;

    use super::*;

    #[test]
    fn a_request_that_was_answered_is_not_sent_again_however_large_it_is() {
        let (mut requests, mut last) = (Vec::new(), Vec::new());
        let mut large = vec![""; RequestLimits::default().args_max + 1];
        large[0] = "DEL";
        write_request(&mut requests, &large);
        write_request(&mut last, &["INCR", "n"]);
        requests.extend_from_slice(&last);
        let mut burst = Burst { requests, replies_due: 2, replies_done: 1, taken_early: 4, ..Burst::default() };
        begin_anew(&mut burst, 2);
        assert_eq!((burst.replies_due, burst.requests.len()), (1, last.len()));
        assert_eq!(burst.requests, last);
    }
}
