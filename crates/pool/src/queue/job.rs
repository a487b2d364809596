//! A job: the requests of one burst of one caller, and where to answer. It is answered exactly once,
//! at the latest when it is dropped.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{sync::oneshot, time::Instant};

use crate::{
    bounds::{queue_room::Place, share::Share},
    error::{JobError, Sent},
    queue::{expected::Expected, ticket::Ticket, together::Together},
    settings::tenure::Origin,
    stats::class::BurstClass,
    time::timestamp::Moment,
    upstream::needs::Needs,
};

/// Complete requests to be written in one piece, and the replies once they are there. The buffers
/// travel with the job and come back with its answer, so that a caller can use them again.
///
/// Its fields stand in memory as they do here: what is looked at when it is sent, then what its replies change. The worker
/// finds it out of the cache both times, where there are many callers.
#[derive(Default)]
#[repr(C)]
pub struct Burst {
    /// Requests, back to back, as arrays of bulk strings.
    pub requests: Vec<u8>,
    /// The state the connection has to be in.
    pub needs: Needs,
    /// The [generation](crate::Facts::generation) of the upstream that alone is to execute it; 0: any.
    pub only_at: u64,
    /// How many replies they will get. With 0 the job only brings a connection into the state it
    /// [`needs`](Self::needs).
    pub replies_due: u32,
    /// Nothing but requests that change nothing: may be sent twice.
    pub read_only: bool,
    /// Holds a whole transaction.
    pub transaction: bool,
    /// How large the replies will be, as far as the caller knows.
    pub expected: Expected,
    /// Whether the caller takes a large reply in pieces.
    pub pieces: Pieces,
    /// The replies received, back to back, in the upstream's own bytes; whole replies only.
    pub replies: Vec<u8>,
    /// How many replies these are, those included that were taken before.
    pub replies_done: u32,
    /// How many of these are errors.
    pub errors: u32,
    /// Bytes that count as if they were replies to it: so several bursts that are out together have no more room
    /// [without asking](crate::REPLY_FREE_BYTES) than one.
    pub beside: usize,
    /// A reply has been handed on in pieces: these begin within one.
    pub in_part: bool,
    /// They end within one, of which nothing further comes: what is missing cannot be made up.
    pub is_torn: bool,
    /// Bytes of replies that were taken before the answer came, in front of these.
    pub taken_early: usize,
    /// A large reply has begun to come; see [`Caller::go_on`](crate::Caller::go_on). Nothing else of the burst is here.
    pub begun: Option<Begun>,
    /// Where they came from, if an error is among them or they are those of a transaction.
    pub origin: Option<Origin>,
    /// What these replies have of [`Caller::reply_bytes`](crate::Caller::reply_bytes), to be kept as long as they
    /// are. A caller that expects large replies takes it beforehand; without it they may find no room.
    pub room: Option<Box<Share>>,
}

/// How a caller takes a reply that is too large to wait for its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pieces {
    /// Not before it is whole.
    #[default]
    Never,
    /// Its call ends when the reply begins to come, and [goes on](crate::Caller::go_on) with it.
    Announced,
    /// Its call takes [what has come](crate::Out::poll_replies) as it is.
    AsTheyCome,
}

/// A call whose replies have begun to come.
pub struct Begun(pub(crate) Box<oneshot::Receiver<Outcome>>);

impl Burst {
    /// What it is counted as.
    pub fn class(&self) -> BurstClass {
        match (self.transaction, self.read_only) {
            (true, _) => BurstClass::Transaction,
            (false, true) => BurstClass::Read,
            (false, false) => BurstClass::Write,
        }
    }
}

impl fmt::Debug for Begun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Begun")
    }
}

impl fmt::Debug for Burst {
    /// Sizes only: what clients send and get has no place in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Burst")
            .field("request_bytes", &self.requests.len())
            .field("replies_due", &self.replies_due)
            .field("needs", &self.needs)
            .field("read_only", &self.read_only)
            .field("reply_bytes", &self.replies.len())
            .field("replies_done", &self.replies_done)
            .finish()
    }
}

/// The outcome of a job: its burst, and why replies are missing if they are.
#[derive(Debug)]
pub struct Answer {
    /// The burst, with the replies that came.
    pub burst: Burst,
    /// Set when not all replies came.
    pub failure: Option<JobError>,
}

/// A burst on its way through queue and worker. One allocation with all that belongs to it, which comes back to the
/// caller as the [`Outcome`]: a job is handed on a dozen times on the way.
#[derive(Debug)]
pub(crate) struct Job {
    /// `None` once answered.
    order: Option<Box<Order>>,
}

/// What a job consists of; in this order in memory, as a [`Burst`].
#[derive(Debug)]
#[repr(C)]
struct Order {
    ticket: Arc<Ticket>,
    burst: Burst,
    /// Where to answer, and the bytes of the requests, counted against `queue_bytes_max`; both until the answer.
    open: Option<(oneshot::Sender<Outcome>, Place)>,
    /// Boxed, because few have one, and all would be a line of the cache larger.
    failure: Option<Box<JobError>>,
    /// The others that its caller waits for as well, if it is woken for all of them at once.
    together: Option<Arc<Together>>,
}

/// What a job has become, on the way back to its caller.
#[derive(Debug)]
pub(crate) struct Outcome(Box<Order>);

impl Outcome {
    /// Whether replies are missing.
    pub(crate) fn has_failed(&self) -> bool {
        self.0.failure.is_some()
    }

    /// Gives the burst back, with the replies that came; returns why others are missing.
    pub(crate) fn give_back(self, burst: &mut Burst) -> Option<JobError> {
        let Order { burst: done, failure, .. } = *self.0;
        *burst = done;
        failure.map(|failure| *failure)
    }
}

impl Job {
    /// Of what is in `burst`, which is empty then: so it is moved once less.
    pub(crate) fn new(burst: &mut Burst, ticket: Arc<Ticket>, answer: oneshot::Sender<Outcome>, place: Place) -> Self {
        let (burst, open) = (std::mem::take(burst), Some((answer, place)));
        Self { order: Some(Box::new(Order { burst, ticket, open, together: None, failure: None })) }
    }

    /// Its caller waits for others as well, and is woken for all of them at once. Not of one whose caller takes replies
    /// early.
    pub(crate) fn wakes_with(&mut self, others: &Arc<Together>) {
        self.order_mut().together = Some(Arc::clone(others));
    }

    fn order(&self) -> &Order {
        self.order.as_ref().expect("whoever has it answered has it no more")
    }

    fn order_mut(&mut self) -> &mut Order {
        self.order.as_mut().expect("whoever has it answered has it no more")
    }

    /// Claims the job for a worker's connection with this lane; false if its caller has given it up, and it must not
    /// be sent.
    pub(crate) fn take(&self, now: Moment, lane: u64) -> bool {
        self.order().ticket.take(now, lane)
    }

    /// Whether its caller takes large replies in pieces.
    pub(crate) fn goes_in_pieces(&self) -> bool {
        let Burst { pieces, errors, .. } = self.burst();
        *pieces != Pieces::Never && *errors == 0
    }

    /// Hands on all that is there, at the end of which a reply has been handed on up to `torn` bytes; whether the caller
    /// has taken all before it. Otherwise the task is woken when it has, or is gone.
    pub(crate) fn hand_on_piece(&mut self, cx: &mut Context<'_>, torn: usize) -> bool {
        if self.burst().pieces == Pieces::Announced {
            self.begins();
        }
        let Order { burst, ticket, open, .. } = self.order_mut();
        let bytes = burst.replies.len();
        if !ticket.early.hand_on_piece(cx, &mut burst.replies, torn, burst.replies_done) {
            // Its end shows at the next look.
            let _ = open.as_mut().map_or(Poll::Pending, |(answer, _)| answer.poll_closed(cx));
            return false;
        }
        burst.taken_early += bytes;
        (burst.in_part, burst.is_torn) = (true, torn > 0);
        true
    }

    /// Takes back what its caller has not taken of a reply that was handed on in pieces: it comes with the rest. How many
    /// bytes that is.
    pub(crate) fn take_back(&mut self) -> usize {
        let Order { burst, ticket, .. } = self.order_mut();
        let bytes = ticket.early.take_back(&mut burst.replies);
        burst.taken_early -= bytes;
        bytes
    }

    /// More has come of a reply that has been handed on in part.
    pub(crate) fn still_comes(&self) {
        self.order().ticket.early.still_comes();
    }

    /// Whether its caller has ever taken anything early, or is to.
    pub(crate) fn is_wanted_early(&self) -> bool {
        self.order().ticket.early.is_wanted()
    }

    /// Tells the caller that replies begin to come.
    fn begins(&mut self) {
        let Order { burst, ticket, open, .. } = self.order_mut();
        burst.pieces = Pieces::AsTheyCome;
        ticket.early.is_to_be_taken();
        let Some((answer, place)) = open.take() else { return };
        let (sender, receiver) = oneshot::channel();
        *open = Some((sender, place));
        let burst = Burst { begun: Some(Begun(Box::new(receiver))), ..Burst::default() };
        // A caller that has gone away drops the receiver too.
        let ticket = Arc::clone(ticket);
        let _ = answer.send(Outcome(Box::new(Order { burst, ticket, open: None, together: None, failure: None })));
    }

    /// Hands on the replies that are there, the first `whole` bytes, to a caller that takes them early; whether it did.
    pub(crate) fn hand_on(&mut self, whole: usize) -> bool {
        let Order { burst: Burst { replies, replies_done, taken_early, .. }, ticket, .. } = self.order_mut();
        let is_handed_on = ticket.early.hand_on(replies, whole, *replies_done);
        *taken_early += if is_handed_on { whole } else { 0 };
        is_handed_on
    }

    pub(crate) fn burst(&self) -> &Burst {
        &self.order().burst
    }

    pub(crate) fn burst_mut(&mut self) -> &mut Burst {
        &mut self.order_mut().burst
    }

    /// Whether the worker that has sent it gives it up now, for another to do.
    pub(crate) fn may_move(&self, now: Instant) -> bool {
        self.order().ticket.give_up_sent(now.into())
    }

    /// Nobody waits for the replies any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.order().open.as_ref().is_none_or(|(answer, _)| answer.is_closed())
    }

    /// Back to its caller, who has not waited for an answer.
    pub(crate) fn into_burst(mut self) -> Burst {
        self.order.take().map(|order| order.burst).unwrap_or_default()
    }

    /// Answers with the replies gathered in the burst.
    pub(crate) fn finish(mut self) {
        self.reply(None);
    }

    /// Answers that replies are missing.
    pub(crate) fn fail(mut self, error: JobError) {
        self.reply(Some(error));
    }

    fn reply(&mut self, failure: Option<JobError>) {
        let Some(mut order) = self.order.take() else { return };
        order.failure = failure.map(Box::new);
        if let Some((answer, place)) = order.open.take() {
            drop(place);
            let (together, has_failed) = (order.together.take(), order.failure.is_some());
            // A caller that has gone away is no error.
            let _ = answer.send(Outcome(order));
            if let Some(together) = together {
                together.answered(has_failed);
            }
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(order) = &self.order {
            let sent = if order.ticket.taken_at().is_some() { Sent::Maybe } else { Sent::No };
            self.reply(Some(JobError::WorkerGone(sent)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::queue_room::QueueRoom;

    #[test]
    fn debug_output_holds_nothing_of_what_clients_sent_and_got() {
        let burst = Burst { requests: b"GET key".to_vec(), replies: b"+value".to_vec(), ..Burst::default() };
        let shown = format!("{:?}", Answer { burst, failure: None });
        for bytes in [&b"key"[..], b"value"] {
            let numbers = format!("{bytes:?}").replace(['[', ']'], "");
            assert!(!shown.contains(&numbers) && shown.contains("reply_bytes: 6"), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_dropped_job_is_answered() {
        for (taken, sent) in [(false, Sent::No), (true, Sent::Maybe)] {
            let (sender, receiver) = oneshot::channel();
            let place = QueueRoom::new(Arc::default(), None).try_take(1, 1).expect("empty");
            let job = Job::new(&mut Burst::default(), Arc::new(Ticket::new()), sender, place);
            if taken {
                assert!(job.take(Moment::now(), 0));
            }
            drop(job);
            let failure = receiver.await.expect("answered").give_back(&mut Burst::default());
            assert_eq!(failure, Some(JobError::WorkerGone(sent)));
        }
    }
}
