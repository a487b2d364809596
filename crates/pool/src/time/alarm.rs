//! A deadline that moves often and rings seldom: waiting for it costs no timer operation as long as
//! it only moves later, because the timer underneath stays where it is and is moved when it fires. Nor is that looked at
//! before it fires: a session's next job finds it out of the cache.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::coop::unconstrained,
    time::{Instant, Sleep, sleep_until},
};

use crate::time::timestamp::Moment;

/// An alarm that is noticed so late says that this process stood still: it was stopped, or the machine was.
const LATE: Duration = Duration::from_millis(50);

/// So long it waits then, for what came meanwhile to be read first.
const GRACE: Duration = Duration::from_millis(20);

/// See the module's documentation. Allocates once, at the first wait.
#[derive(Debug, Default)]
pub struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// When that fires, to the microsecond, and which task it wakes then; since it was last told.
    told: Option<(Moment, Woken)>,
}

impl Alarm {
    /// Ready once `deadline` has passed, and a moment later if that is noticed late.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let is_set = |fires: Instant| fires <= deadline && Instant::now() < fires;
        match self.told {
            Some((fires, woken)) if woken.is(cx) && is_set(fires.instant()) => Poll::Pending,
            _ => self.poll_timer(cx, deadline),
        }
    }

    /// The same for a task that has read the clock since it was woken: it was `now`. A timer that has fired after that has
    /// woken it again.
    pub(crate) fn poll_from(&mut self, cx: &mut Context<'_>, now: Moment, deadline: Moment) -> Poll<()> {
        match self.told {
            Some((fires, woken)) if fires <= deadline && woken.is(cx) && now < fires => Poll::Pending,
            _ => self.poll_timer(cx, deadline.instant()),
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            let until = latest(deadline);
            // It may be set for that moment already.
            if timer.deadline() > until {
                timer.as_mut().reset(until);
            }
        }
        // Whatever else the task has done: otherwise it might not be woken.
        while Pin::new(&mut unconstrained(timer.as_mut())).poll(cx).is_ready() {
            let now = Instant::now();
            if now < deadline {
                timer.as_mut().reset(deadline);
            } else if now < deadline + LATE || timer.deadline() > deadline {
                self.told = None;
                return Poll::Ready(());
            } else {
                timer.as_mut().reset(now + GRACE);
            }
        }
        self.told = Some((timer.deadline().into(), Woken::by(cx)));
        Poll::Pending
    }

    /// Waits until `deadline` has passed. Cancel-safe.
    pub async fn until(&mut self, deadline: Instant) {
        poll_fn(|cx| self.poll_until(cx, deadline)).await;
    }
}

/// When it rings at the latest, as it seems now.
fn latest(deadline: Instant) -> Instant {
    let now = Instant::now();
    if now < deadline + LATE { deadline } else { now + GRACE }
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
    };

    use tokio::{
        task::coop::consume_budget,
        time::{advance, timeout},
    };

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

    #[tokio::test(start_paused = true)]
    async fn what_came_while_the_process_stood_still_is_read_before_it_rings() {
        let start = Instant::now();
        for set_before in [true, false] {
            let (mut alarm, deadline) = (Alarm::default(), Instant::now() + Duration::from_millis(50));
            if set_before {
                assert!(poll_fn(|cx| Poll::Ready(alarm.poll_until(cx, deadline))).await.is_pending());
            }
            advance(Duration::from_secs(20)).await;
            let noticed = Instant::now();
            alarm.until(deadline).await;
            assert!((GRACE..GRACE * 2).contains(&noticed.elapsed()), "{:?}", noticed.elapsed());
            assert!(poll_fn(|cx| Poll::Ready(alarm.poll_until(cx, deadline))).await.is_ready(), "once");
        }
        assert!(start.elapsed() < Duration::from_secs(41));
    }
}
