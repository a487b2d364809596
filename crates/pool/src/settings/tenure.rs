//! The time for which an upstream's address is the one that gets the requests. When it ends, every connection that
//! was made in it is closed at once, whatever is in flight: the node there is not the primary any more.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::{Notify, futures::OwnedNotified};

/// Shared by an endpoint and all connections that were made to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tenure(Arc<State>);

#[derive(Debug, Default)]
struct State {
    over: AtomicBool,
    ended: Arc<Notify>,
}

/// Wakes whoever polls it when a tenure ends.
pub(crate) struct End {
    tenure: Tenure,
    ended: Pin<Box<OwnedNotified>>,
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("End").field(&self.tenure).finish()
    }
}

impl Tenure {
    /// Whether it has ended: one load.
    pub(crate) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::Acquire)
    }

    /// Ends it, for good.
    pub(crate) fn end(&self) {
        self.0.over.store(true, Ordering::Release);
        self.0.ended.notify_waiters();
    }

    /// To be polled by a connection.
    pub(crate) fn watch(&self) -> End {
        End { tenure: self.clone(), ended: Box::pin(Arc::clone(&self.0.ended).notified_owned()) }
    }
}

impl End {
    /// Ready once the tenure has ended, as often as it is asked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.tenure.is_over() || self.ended.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Waker};

    use super::*;

    #[tokio::test]
    async fn all_who_watch_are_woken_and_later_ones_told() {
        let tenure = Tenure::default();
        let (mut early, mut unpolled) = (tenure.watch(), tenure.watch());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(early.poll(&mut cx).is_pending() && !tenure.is_over());
        let ending = async { tenure.clone().end() };
        tokio::join!(poll_fn(|cx| early.poll(cx)), ending);
        for end in [&mut early, &mut unpolled, &mut tenure.watch()] {
            assert!(end.poll(&mut cx).is_ready());
        }
    }
}
