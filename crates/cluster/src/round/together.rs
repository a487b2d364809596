//! Calls that are awaited together, each with a caller of its own.

use std::{future::poll_fn, pin::Pin, task::Poll};

use pool::JobError;

/// One of several calls that are awaited together.
pub(super) enum Running<'c> {
    Runs(Pin<Box<dyn Future<Output = Result<(), JobError>> + Send + 'c>>),
    Ended(Option<JobError>),
}

/// Waits for all of them; why those failed that did.
pub(super) async fn all(running: &mut [Running<'_>]) -> Vec<Option<JobError>> {
    poll_fn(|cx| {
        let mut pending = false;
        for one in running.iter_mut() {
            if let Running::Runs(call) = one {
                match call.as_mut().poll(cx) {
                    Poll::Ready(result) => *one = Running::Ended(result.err()),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let ended = running.iter_mut().map(|one| match one {
        Running::Ended(failure) => failure.take(),
        Running::Runs(_) => None,
    });
    ended.collect()
}
