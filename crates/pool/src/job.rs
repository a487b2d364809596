//! A job: the requests of one burst of one caller, and where to answer. It is answered exactly once,
//! at the latest when it is dropped.

use std::sync::Arc;

use resp::Protocol;
use tokio::sync::oneshot;

use crate::{JobError, Sent, budget::Share, moment::Moment, ticket::Ticket};

/// The state a connection has to be in before a burst is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The database, by number.
    pub db: u32,
    /// The protocol version in which the replies have to come.
    pub protocol: Protocol,
}

/// Complete requests to be written in one piece, and the replies once they are there. The buffers
/// travel with the job and come back with its answer, so that a caller can use them again.
#[derive(Debug, Clone, Default)]
pub struct Burst {
    /// Requests, back to back, as arrays of bulk strings.
    pub requests: Vec<u8>,
    /// How many replies they will get. With 0 the job only brings a connection into the state it
    /// [`needs`](Self::needs).
    pub replies_due: u32,
    /// The state the connection has to be in.
    pub needs: Needs,
    /// Nothing but requests that change nothing: may be sent twice.
    pub read_only: bool,
    /// The replies received, back to back, in the upstream's own bytes; whole replies only.
    pub replies: Vec<u8>,
    /// How many replies these are.
    pub replies_done: u32,
}

/// The outcome of a job: its burst, and why replies are missing if they are.
#[derive(Debug)]
pub struct Answer {
    /// The burst, with the replies that came.
    pub burst: Burst,
    /// Set when not all replies came.
    pub failure: Option<JobError>,
}

/// A burst on its way through queue and worker.
#[derive(Debug)]
pub(crate) struct Job {
    burst: Burst,
    ticket: Arc<Ticket>,
    /// `None` once answered.
    answer: Option<oneshot::Sender<Answer>>,
    /// The bytes of the requests, counted against `queue_bytes_max` until the answer.
    _share: Share,
}

impl Job {
    pub(crate) fn new(burst: Burst, ticket: Arc<Ticket>, answer: oneshot::Sender<Answer>, share: Share) -> Self {
        Self { burst, ticket, answer: Some(answer), _share: share }
    }

    /// Claims the job for a worker; false if its caller has given it up, and it must not be sent.
    pub(crate) fn take(&self, now: Moment) -> bool {
        self.ticket.take(now)
    }

    pub(crate) fn burst(&self) -> &Burst {
        &self.burst
    }

    pub(crate) fn burst_mut(&mut self) -> &mut Burst {
        &mut self.burst
    }

    /// Nobody waits for the replies any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.answer.as_ref().is_none_or(oneshot::Sender::is_closed)
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
        if let Some(answer) = self.answer.take() {
            // A caller that has gone away is no error.
            let _ = answer.send(Answer { burst: std::mem::take(&mut self.burst), failure });
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if self.answer.is_some() {
            let sent = if self.ticket.taken_at().is_some() { Sent::Maybe } else { Sent::No };
            self.reply(Some(JobError::WorkerGone(sent)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;

    #[tokio::test]
    async fn a_dropped_job_is_answered() {
        for (taken, sent) in [(false, Sent::No), (true, Sent::Maybe)] {
            let (sender, receiver) = oneshot::channel();
            let share = Arc::new(Budget::default()).charge(1);
            let job = Job::new(Burst::default(), Arc::new(Ticket::new()), sender, share);
            if taken {
                assert!(job.take(Moment::now()));
            }
            drop(job);
            assert_eq!(receiver.await.expect("answered").failure, Some(JobError::WorkerGone(sent)));
        }
    }
}
