//! A timer exact to microseconds. tokio's own rounds to milliseconds, which is more than most
//! latencies measured here; Linux's `timerfd` is not rounded. Used by the pacer and the relay.

use std::{io, os::fd::OwnedFd, time::Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// One timer that a task can wait on, again and again.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<OwnedFd>,
}

impl Alarm {
    /// A timer that is not running. Call it inside a runtime.
    ///
    /// # Errors
    /// The system has no timer or no file descriptor left.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        #[expect(
            deprecated,
            reason = "the successor is unsafe, for types whose descriptor can change; an OwnedFd's cannot"
        )]
        let timer = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Waits until `at`; returns at once when that has passed.
    ///
    /// The timer is never read: setting it makes it unexpired again, which saves two of four system
    /// calls. Cancel safe: a wait begun anew replaces the one given up.
    ///
    /// # Errors
    /// The timer cannot be set, which does not happen to a valid descriptor.
    pub async fn wait_until(&self, at: Instant) -> io::Result<()> {
        loop {
            let wait = at.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Ok(());
            }
            let once = Itimerspec {
                it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
                it_value: Timespec {
                    tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                    tv_nsec: wait.subsec_nanos().into(),
                },
            };
            timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
            // It may have been left expired by a wait given up; then the loop sets it once more.
            self.timer.readable().await?.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn never_early_and_reusable() {
        let alarm = Alarm::new().unwrap();
        for micros in [200, 0, 1_500, 30] {
            let at = Instant::now() + Duration::from_micros(micros);
            alarm.wait_until(at).await.unwrap();
            assert!(Instant::now() >= at);
        }
        let given_up = Instant::now() + Duration::from_millis(1);
        tokio::time::timeout(Duration::from_micros(1), alarm.wait_until(given_up)).await.ok();
        let at = Instant::now() + Duration::from_millis(5);
        alarm.wait_until(at).await.unwrap();
        assert!(Instant::now() >= at);
    }
}
