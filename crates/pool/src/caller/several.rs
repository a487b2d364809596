//! Bursts that one party has several callers execute at the same time. It is woken once, when all of them have their
//! replies. What fails is looked at at once, and goes on alone: it is sent again as soon as if there were no others.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::{
    caller::caller::Caller,
    error::JobError,
    queue::{
        job::{Burst, Outcome},
        together::Together,
    },
    time::timestamp::Moment,
};

/// Has all of these bursts executed at once, each by its caller; what has come of each, in their order.
///
/// # Errors
/// As [`Caller::execute`] for each.
///
/// # Cancel safety
/// As [`Caller::execute`] for each.
pub async fn execute_all(calls: impl ExactSizeIterator<Item = (&mut Caller, &mut Burst)>) -> Vec<Result<(), JobError>> {
    let (started, together) = (Moment::now(), Arc::new(Together::new(calls.len())));
    let mut several = Several { calls: Vec::with_capacity(calls.len()), together, started, check: None, are_new: true };
    calls.for_each(|(caller, burst)| several.begin(caller, burst));
    poll_fn(|cx| several.poll(cx)).await;
    several.results()
}

/// Calls that are awaited together.
struct Several<'c> {
    calls: Vec<Call<'c>>,
    together: Arc<Together>,
    started: Moment,
    /// When the first of those that are out together has to be looked at.
    check: Option<Moment>,
    /// They have `started` since the task was woken.
    are_new: bool,
}

/// What is out, and where its answer comes.
type Out<'c> = (&'c mut Caller, &'c mut Burst, oneshot::Receiver<Outcome>);

enum Call<'c> {
    /// It is out, together with others.
    Out(Out<'c>),
    /// It goes its own way.
    Alone(Pin<Box<dyn Future<Output = Result<(), JobError>> + Send + 'c>>),
    Ended(Result<(), JobError>),
}

impl<'c> Several<'c> {
    fn begin(&mut self, caller: &'c mut Caller, burst: &'c mut Burst) {
        caller.begin_at(self.started, burst);
        let call = match caller.send_with(burst, self.started, &self.together) {
            Some((receiver, limits)) => {
                let check = self.started.after(limits.queue_timeout.min(limits.reply_timeout));
                self.check = Some(self.check.map_or(check, |first| first.min(check)));
                Call::Out((caller, burst, receiver))
            }
            None => {
                self.together.leave();
                Call::alone(caller, burst, self.started, None)
            }
        };
        self.calls.push(call);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { calls, together, started, .. } = self;
        if together.poll(cx) {
            let now = Moment::now();
            calls.iter_mut().for_each(|call| call.look(*started, now));
        }
        if self.is_due(cx) {
            let started = self.started;
            self.calls.iter_mut().for_each(|call| call.part(started));
        }
        let mut pending = false;
        for call in &mut self.calls {
            match call {
                Call::Alone(future) => match future.as_mut().poll(cx) {
                    Poll::Ready(result) => *call = Call::Ended(result),
                    Poll::Pending => pending = true,
                },
                Call::Out(..) => pending = true,
                Call::Ended(_) => {}
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Whether those that are out together have been so for so long that each has to be looked at.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(check) = self.check else { return false };
        let mut out = self.calls.iter_mut().filter_map(|call| match call {
            Call::Out((caller, ..)) => Some(caller),
            Call::Alone(_) | Call::Ended(_) => None,
        });
        let Some(first) = out.next() else { return false };
        let now = if std::mem::take(&mut self.are_new) { self.started } else { Moment::now() };
        first.alarm.poll_from(cx, now, check).is_ready()
    }

    fn results(self) -> Vec<Result<(), JobError>> {
        let ended = self.calls.into_iter().filter_map(|call| match call {
            Call::Ended(result) => Some(result),
            Call::Out(..) | Call::Alone(_) => None,
        });
        ended.collect()
    }
}

impl<'c> Call<'c> {
    /// One that goes its own way from now on, with the `receiver` of what it has out.
    fn alone(
        caller: &'c mut Caller,
        burst: &'c mut Burst,
        started: Moment,
        receiver: Option<oneshot::Receiver<Outcome>>,
    ) -> Self {
        Self::Alone(Box::pin(caller.execute_from(burst, started, receiver, |_, _| ())))
    }

    /// Takes in the answer, if it is there `now`.
    fn look(&mut self, started: Moment, now: Moment) {
        let Self::Out((_, _, receiver)) = self else { return };
        let outcome = match receiver.try_recv() {
            Ok(outcome) => Some(outcome),
            Err(TryRecvError::Closed) => None,
            Err(TryRecvError::Empty) => return,
        };
        let Some((caller, burst, _)) = self.take() else { return };
        match outcome {
            Some(outcome) if !outcome.has_failed() => {
                outcome.give_back(burst);
                caller.call_has_succeeded(burst, started, now);
            }
            failed => {
                // Whether it is sent again is decided where it is for all others.
                let (sender, receiver) = oneshot::channel();
                let _ = failed.map(|outcome| sender.send(outcome));
                *self = Self::alone(caller, burst, started, Some(receiver));
            }
        }
    }

    /// It is awaited by itself from now on.
    fn part(&mut self, started: Moment) {
        if let Some((caller, burst, receiver)) = self.take() {
            *self = Self::alone(caller, burst, started, Some(receiver));
        }
    }

    /// Takes out what is out together with others; it has ended then.
    fn take(&mut self) -> Option<Out<'c>> {
        match self {
            Self::Out(..) => match std::mem::replace(self, Self::Ended(Ok(()))) {
                Self::Out(out) => Some(out),
                Self::Alone(_) | Self::Ended(_) => None,
            },
            Self::Alone(_) | Self::Ended(_) => None,
        }
    }
}
