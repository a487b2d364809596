//! A deadline that moves often and rings seldom: waiting for it costs no timer operation as long as
//! it only moves later, because the timer underneath stays where it is and is moved when it fires.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;
use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

/// See the module's documentation. Allocates once, at the first wait.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<Pin<Box<Timer>>>,
}

pin_project! {
    #[derive(Debug)]
    struct Timer {
        #[pin]
        sleep: Sleep,
        woken: Woken,
    }
}

impl Alarm {
    /// Ready once `deadline` has passed.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(Timer::new(deadline)));
        let mut timer = timer.as_mut().project();
        if timer.sleep.deadline() > deadline {
            timer.sleep.as_mut().reset(deadline);
        } else if timer.woken.is(cx) && !timer.sleep.is_elapsed() {
            return Poll::Pending;
        }
        // Whatever else the task has done: otherwise it might not be woken.
        while Pin::new(&mut unconstrained(timer.sleep.as_mut())).poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            timer.sleep.as_mut().reset(deadline);
        }
        *timer.woken = Woken::by(cx);
        Poll::Pending
    }

    /// Waits until `deadline` has passed. Cancel-safe.
    pub async fn until(&mut self, deadline: Instant) {
        poll_fn(|cx| self.poll_until(cx, deadline)).await;
    }
}

impl Timer {
    fn new(deadline: Instant) -> Self {
        Self { sleep: sleep_until(deadline), woken: Woken::default() }
    }
}

/// The task that something will wake that was told so. It holds the task's waker until it has done so: until then no
/// other task can be taken for that one, and telling it again costs more than to see that it is the same.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Woken(usize);

impl Woken {
    pub(crate) fn by(cx: &Context<'_>) -> Self {
        Self(cx.waker().data().addr())
    }

    /// Whether it is the task at hand.
    pub(crate) fn is(self, cx: &Context<'_>) -> bool {
        self.0 != 0 && self.0 == Self::by(cx).0
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tokio::{task::coop::consume_budget, time::timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn rings_at_the_latest_deadline_whichever_way_it_moved() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        for millis in [50, 80, 200, 210] {
            alarm.until(start + Duration::from_millis(millis)).await;
            assert!(start.elapsed() >= Duration::from_millis(millis));
            assert!(start.elapsed() < Duration::from_millis(millis + 2));
        }
        let mut alarm = Alarm::default();
        let far = Instant::now() + Duration::from_secs(100);
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll_until(cx, far))).await.is_pending());
        let near = Instant::now() + Duration::from_millis(5);
        alarm.until(near).await;
        assert!(Instant::now() < near + Duration::from_millis(2));
    }

    #[tokio::test(start_paused = true)]
    async fn wakes_whoever_looked_last() {
        let deadline = Instant::now() + Duration::from_millis(5);
        let alarm = Arc::new(Mutex::new(Alarm::default()));
        let wait = || {
            let alarm = Arc::clone(&alarm);
            tokio::spawn(poll_fn(move |cx| alarm.lock().unwrap().poll_until(cx, deadline)))
        };
        let first = wait();
        tokio::task::yield_now().await;
        let second = wait();
        assert!(timeout(Duration::from_secs(1), second).await.is_ok());
        first.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn rings_for_a_task_that_has_done_much_at_its_first_look() {
        let deadline = Instant::now() + Duration::from_millis(5);
        let (mut alarm, mut looks) = (Alarm::default(), 0);
        let wait = poll_fn(|cx| {
            looks += 1;
            // Uses up what a task may do at once.
            while looks == 1 && pin!(consume_budget()).poll(cx).is_ready() {}
            alarm.poll_until(cx, deadline)
        });
        assert!(timeout(Duration::from_secs(1), wait).await.is_ok());
    }
}
