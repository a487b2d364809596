//! The time for which an upstream's address is the one that gets the requests. It is left where others get them from now on
//! and what it was asked is still to be answered; it ends where every connection that was made in it is closed at once,
//! whatever is in flight: the node there is not the primary any more. While nobody knows whether it still is, it is in doubt:
//! its connections are kept, and nothing is heard from them.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::sync::{Notify, futures::OwnedNotified};

/// Its addressee gets nothing new.
const LEFT: u8 = 1;

/// Nor is anything heard from it.
const OVER: u8 = 2;

/// The bits of a stage.
const STAGE: u8 = LEFT | OVER;

/// Beside the stage: nobody knows whether its addressee is still the primary.
const DOUBTED: u8 = 4;

/// Beside the stage: whoever left it ends it too, soon.
const ENDING: u8 = 8;

/// Shared by an endpoint and all connections that were made to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tenure(Arc<State>);

#[derive(Debug, Default)]
struct State {
    stage: AtomicU8,
    changed: Arc<Notify>,
}

/// The same one.
impl PartialEq for Tenure {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tenure {}

/// Wakes whoever polls it when a tenure is left, or ends.
pub(crate) struct End {
    tenure: Tenure,
    changed: Pin<Box<OwnedNotified>>,
}

/// Where replies came from.
#[derive(Debug, Clone, Default)]
pub struct Origin(Tenure);

impl Origin {
    pub(crate) fn new(tenure: Tenure) -> Self {
        Self(tenure)
    }

    /// Whether another node gets the requests by now: one load.
    pub fn is_left(&self) -> bool {
        self.0.is_left()
    }

    /// Waits until another node gets the requests, for good.
    pub async fn left(&self) {
        let mut end = self.0.watch();
        poll_fn(|cx| end.poll_left(cx)).await;
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("End").field(&self.tenure).finish()
    }
}

impl Tenure {
    /// Whether it has ended: one load.
    pub(crate) fn is_over(&self) -> bool {
        self.is_at(OVER)
    }

    /// Whether its addressee is not to be heard for now: one load. Whoever settles the doubt puts settings in force, which
    /// wakes workers.
    pub(crate) fn is_doubted(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) & DOUBTED != 0
    }

    /// Whether it has been left, or has ended: one load.
    pub(crate) fn is_left(&self) -> bool {
        self.is_at(LEFT)
    }

    fn is_at(&self, stage: u8) -> bool {
        self.0.stage.load(Ordering::Acquire) & STAGE >= stage
    }

    /// Leaves it for another, for good; nothing happens where that is the same one.
    pub(crate) fn leave_for(&self, other: &Self) {
        if self != other {
            self.reach(LEFT);
        }
    }

    /// The same; whoever does it ends it as well, before long.
    pub(crate) fn leave_and_end_soon(&self) {
        self.reach(LEFT | ENDING);
    }

    /// Whether it has been left and will end: its addressee is still to answer what it was asked.
    pub(crate) fn is_ending(&self) -> bool {
        self.0.stage.load(Ordering::Acquire) & (ENDING | OVER) == ENDING
    }

    /// Ends it, for good.
    pub(crate) fn end(&self) {
        self.reach(OVER);
    }

    fn reach(&self, stage: u8) {
        self.0.stage.fetch_or(stage, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }

    /// Nothing is to be heard from its addressee until it is trusted again.
    pub(crate) fn doubt(&self) {
        self.0.stage.fetch_or(DOUBTED, Ordering::AcqRel);
    }

    /// The doubt is over; whether there was any.
    pub(crate) fn trust(&self) -> bool {
        let was_doubted = self.0.stage.fetch_and(!DOUBTED, Ordering::AcqRel) & DOUBTED != 0;
        self.0.changed.notify_waiters();
        was_doubted
    }

    /// To be polled by a connection.
    pub(crate) fn watch(&self) -> End {
        End { tenure: self.clone(), changed: Box::pin(Arc::clone(&self.0.changed).notified_owned()) }
    }
}

impl End {
    /// Ready once the tenure has ended, as often as it is asked.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_stage(cx, OVER)
    }

    /// Ready once the tenure has been left, or has ended, as often as it is asked.
    pub(crate) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_stage(cx, LEFT)
    }

    fn poll_stage(&mut self, cx: &mut Context<'_>, stage: u8) -> Poll<()> {
        while !self.tenure.is_at(stage) {
            ready!(self.changed.as_mut().poll(cx));
            *self = self.tenure.watch();
        }
        Poll::Ready(())
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

    #[tokio::test]
    async fn a_doubt_is_heard_of_when_it_is_over_and_outlives_no_tenure() {
        let tenure = Tenure::default();
        let mut end = tenure.watch();
        tenure.doubt();
        assert!(tenure.is_doubted() && !tenure.is_left());
        let heard = poll_fn(|cx| {
            let _ = end.poll(cx);
            if tenure.is_doubted() { Poll::Pending } else { Poll::Ready(()) }
        });
        let (_, was_doubted) = tokio::join!(heard, async { tenure.clone().trust() });
        assert!(was_doubted && !tenure.trust() && !tenure.is_doubted());
        tenure.doubt();
        tenure.leave_for(&Tenure::default());
        assert!(tenure.is_doubted() && tenure.is_left() && !tenure.is_over());
        tenure.end();
        assert!(tenure.is_over());
        assert!(end.poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }

    #[tokio::test]
    async fn one_that_is_to_end_is_left_until_it_has_ended() {
        let tenure = Tenure::default();
        let mut end = tenure.watch();
        let mut cx = Context::from_waker(Waker::noop());
        tenure.leave_for(&Tenure::default());
        assert!(!tenure.is_ending());
        tenure.leave_and_end_soon();
        assert!(tenure.is_ending() && tenure.is_left() && !tenure.is_over() && end.poll(&mut cx).is_pending());
        tenure.end();
        assert!(!tenure.is_ending() && tenure.is_over() && end.poll(&mut cx).is_ready());
    }

    #[tokio::test]
    async fn whoever_is_told_that_it_is_left_is_told_of_its_end_too() {
        let tenure = Tenure::default();
        let mut end = tenure.watch();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(end.poll_left(&mut cx).is_pending() && end.poll(&mut cx).is_pending());
        tenure.leave_for(&tenure.clone());
        assert!(!tenure.is_left());
        tenure.leave_for(&Tenure::default());
        assert!(end.poll(&mut cx).is_pending() && end.poll_left(&mut cx).is_ready());
        assert!(!tenure.is_over());
        let ending = async { tenure.clone().end() };
        tokio::join!(poll_fn(|cx| end.poll(cx)), ending);
        tenure.leave_for(&Tenure::default());
        assert!(tenure.is_over() && tenure.is_left() && end.poll(&mut cx).is_ready());
    }
}
