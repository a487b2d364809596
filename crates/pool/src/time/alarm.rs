//! A deadline that moves often and rings seldom: waiting for it costs no timer operation as long as
//! it only moves later, because the timer underneath stays where it is and is moved when it fires.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// See the module's documentation. Allocates once, at the first wait.
#[derive(Debug, Default)]
pub struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once `deadline` has passed.
    pub fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Waits until `deadline` has passed. Cancel-safe.
    pub async fn until(&mut self, deadline: Instant) {
        poll_fn(|cx| self.poll_until(cx, deadline)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
