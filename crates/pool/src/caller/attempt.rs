//! The attempts to have a burst executed: into the queue, wait for the answer, and once more where that is safe.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use resp::{Decoded, RequestDecoder, RequestLimits};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    bounds::queue_room::Place,
    caller::{
        caller::{Caller, Limits},
        further::Out,
    },
    error::{JobError, Sent},
    queue::{
        job::{Burst, Job, Outcome, Pieces},
        ticket::Ticket,
        together::Together,
    },
    stats::totals::Stats,
    time::timestamp::Moment,
};

/// A ticket that no job has is held by its caller and by those who look on.
const TICKET_HOLDERS: usize = 2;

impl Caller {
    /// Executes a burst that is to be sent or, where there is a `receiver`, waits for one that is out.
    pub(super) async fn execute_until_answered(
        &mut self,
        burst: &mut Burst,
        started: &mut Moment,
        mut receiver: Option<oneshot::Receiver<Outcome>>,
        meanwhile: &mut impl FnMut(&mut Context<'_>, Out<'_>),
    ) -> Result<(), JobError> {
        let (mut repeated, mut moved) = (false, false);
        loop {
            let (mut limits, may_send) = self.limits();
            if !may_send && receiver.is_none() {
                Box::pin(self.held_back(started)).await?;
                (limits, _) = self.limits();
            }
            let receiver = match receiver.take() {
                Some(receiver) => receiver,
                None => self.send(burst, *started, &limits, !moved).await?,
            };
            let result = self.answer(burst, receiver, (*started, &limits), meanwhile).await;
            // It only reads, and was in time when a worker gave it up.
            let moves = result.is_err() && self.ticket.was_given_up();
            moved |= moves;
            let again = match &result {
                Err(JobError::ConnectionLost { sent: Sent::No, .. }) => true,
                // The next primary is waited for above.
                Err(JobError::UpstreamDown(_)) => !self.failover_wait().is_zero(),
                Err(JobError::ConnectionLost { sent: Sent::Maybe, .. }) if !moves => {
                    // What may have ended the connection is not repeated on another.
                    let ended_it = || self.facts().limits.end_connections(limits.queue_bytes_max);
                    burst.read_only && !burst.is_torn && !std::mem::replace(&mut repeated, true) && !ended_it()
                }
                _ => false,
            };
            if !moves && (!again || Moment::now() >= started.after(limits.queue_timeout)) {
                return result;
            }
            Stats::count(&self.stats().retried);
            begin_anew(burst, self.under_way.map_or(0, |(_, due, _)| due));
        }
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

    /// The same if nothing keeps it from being sent now, and so that its caller is woken together with `others`;
    /// otherwise nothing is done.
    pub(super) fn send_at_once(
        &mut self,
        burst: &mut Burst,
        started: Moment,
        others: &Arc<Together>,
    ) -> Option<(oneshot::Receiver<Outcome>, Limits)> {
        let (limits, may_send) = self.limits();
        if !may_send || burst.taken_early > 0 || burst.pieces != Pieces::Never {
            return None;
        }
        let place = self.shared.queue_room.try_take(burst.requests.len(), limits.queue_bytes_max)?;
        let (mut job, receiver) = self.job(burst, place, Some(started.after(limits.queue_timeout)));
        job.wakes_with(others);
        if let Some(job) = self.shared.branches.try_send(&self.entrances, self.branch, job) {
            *burst = job.into_burst();
            return None;
        }
        Some((receiver, limits))
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
            self.ticket = Arc::new(Ticket::new());
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
        (Job::new(std::mem::take(burst), Arc::clone(&self.ticket), sender, place), receiver)
    }

    async fn answer(
        &mut self,
        burst: &mut Burst,
        receiver: oneshot::Receiver<Outcome>,
        (started, limits): (Moment, &Limits),
        meanwhile: &mut impl FnMut(&mut Context<'_>, Out<'_>),
    ) -> Result<(), JobError> {
        let (failure, ticket) = match self.wait(receiver, (started, limits), meanwhile).await {
            Ok(outcome) => {
                let failure = outcome.give_back(burst);
                if burst.begun.is_some() {
                    return Ok(());
                }
                (failure, None)
            }
            Err(failure) => {
                // The job may lie in the queue or in flight for long: it keeps the ticket, we get a new one.
                let given_up = std::mem::replace(&mut self.ticket, Arc::new(Ticket::new()));
                self.progress.follows(Arc::clone(&self.ticket));
                (Some(failure), Some(given_up))
            }
        };
        let rest = ticket.as_ref().unwrap_or(&self.ticket).early.rest();
        burst.is_torn |= ticket.is_some() && rest.torn() > 0;
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
        failure.map_or(Ok(()), Err)
    }

    async fn wait(
        &mut self,
        mut receiver: oneshot::Receiver<Outcome>,
        (started, limits): (Moment, &Limits),
        meanwhile: &mut impl FnMut(&mut Context<'_>, Out<'_>),
    ) -> Result<Outcome, JobError> {
        // What follows from these is not kept: each session would.
        let mut check = started.after(limits.queue_timeout.min(limits.reply_timeout)).instant();
        let needs = self.under_way.map(|(.., needs)| needs).unwrap_or_default();
        loop {
            let answer = poll_fn(|cx| match Pin::new(&mut receiver).poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer)),
                Poll::Pending => {
                    let Self { shared, branch, ticket, alarm, .. } = self;
                    meanwhile(cx, Out { shared, branch: *branch, ticket, needs });
                    alarm.poll_until(cx, check).map(|()| None)
                }
            });
            match answer.await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(_)) => return Err(JobError::WorkerGone(Sent::Maybe)),
                None => {}
            }
            let (now, queue_deadline) = (Instant::now(), started.after(limits.queue_timeout).instant());
            let reply_timeout = limits.reply_timeout;
            // A reply that comes in pieces is not late while they come, nor while the caller takes none.
            let came = |taken: Moment| self.ticket.early.last_piece().map_or(taken, |piece| piece.max(taken));
            match self.ticket.taken_at().map(|taken| came(taken).instant()) {
                Some(taken) if now >= taken + reply_timeout => return Err(JobError::ReplyTimeout(reply_timeout)),
                Some(taken) => check = taken + reply_timeout,
                None if now < queue_deadline => {
                    // A job taken between two looks is noticed well before its own deadline.
                    check = queue_deadline.min(now + (reply_timeout / 8).max(Duration::from_millis(1)));
                }
                None if self.ticket.expire() => return Err(JobError::QueueTimeout(limits.queue_timeout)),
                None => {}
            }
        }
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
