//! Calls that are awaited together.

use std::{future::poll_fn, pin::Pin, task::Poll};

/// One of several calls that are awaited together.
pub(crate) enum Running<'c, T> {
    Runs(Pin<Box<dyn Future<Output = T> + Send + 'c>>),
    Ended(T),
}

impl<'c, T> Running<'c, T> {
    /// One that has not begun.
    pub(crate) fn new(call: impl Future<Output = T> + Send + 'c) -> Self {
        Self::Runs(Box::pin(call))
    }
}

/// Waits for all of them; what has come of each, in their order.
///
/// # Cancel safety
/// Those that have not ended are dropped.
pub(crate) async fn all<T: Unpin>(mut running: Vec<Running<'_, T>>) -> Vec<T> {
    poll_fn(|cx| {
        let mut pending = false;
        for one in &mut running {
            if let Running::Runs(call) = one {
                match call.as_mut().poll(cx) {
                    Poll::Ready(result) => *one = Running::Ended(result),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let ended = running.into_iter().filter_map(|one| match one {
        Running::Ended(result) => Some(result),
        Running::Runs(_) => None,
    });
    ended.collect()
}
