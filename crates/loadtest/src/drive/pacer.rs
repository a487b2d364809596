//! The schedule of an open loop: at which times operations are due, whatever the target does. A time
//! travels with its operation, so that latency counts from it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::mpsc, task::yield_now};

use crate::{
    drive::{alarm::Alarm, shared::Shared},
    measure::tally::{as_nanos, nanoseconds},
};

/// Arrivals that are handed out before the lanes get to work.
const HANDED_OUT_MAX: usize = 32;
/// The least time between two wake-ups. Arrivals that are due closer together are handed out together, up
/// to this much late, which `lag` shows: a wake-up for each would cost more than sending it.
const WAKE_PAUSE: Duration = Duration::from_micros(50);

/// One operation that is due.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// When.
    pub at: Instant,
    /// Whether it counts: see [`crate::drive::budget::Grant`].
    pub measured: bool,
}

/// An even schedule.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// The time of the first arrival.
    pub start: Instant,
    /// No arrival is at or after this.
    pub end: Instant,
    /// Arrivals a second.
    pub rate: f64,
}

impl Schedule {
    /// When arrival number `index` is due; nothing after the end.
    pub fn at(&self, index: u64) -> Option<Instant> {
        #[expect(clippy::cast_precision_loss, reason = "a load has far fewer than 2^52 operations")]
        let at = self.start + Duration::from_secs_f64(index as f64 / self.rate);
        (at < self.end).then_some(at)
    }

    /// How many arrivals there are, rounded up.
    pub fn len(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bound, and positive")]
        let count = (self.end.saturating_duration_since(self.start).as_secs_f64() * self.rate).ceil() as usize;
        count
    }

    /// Whether nothing is ever due.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Hands the arrivals to the lanes in turn, each at its time, until the schedule, the load or its budget ends.
///
/// # Errors
/// The system has no timer left.
pub async fn pace(shared: Arc<Shared>, schedule: Schedule, lanes: Vec<mpsc::Sender<Arrival>>) -> io::Result<()> {
    let alarm = Alarm::new()?;
    let (mut lanes_in_turn, mut index, mut next_wake) = (lanes.iter().cycle(), 0, schedule.start);
    while let Some(first) = schedule.at(index) {
        let now = Instant::now();
        if now < first {
            let wake = first.max(next_wake);
            alarm.wait_until(wake).await?;
            next_wake = wake + WAKE_PAUSE;
        } else {
            // Behind: the lanes get their turn between two handfuls.
            yield_now().await;
        }
        let now = Instant::now();
        let mut tally = shared.tally();
        for _ in 0..HANDED_OUT_MAX {
            let Some(at) = schedule.at(index).filter(|at| *at <= now) else { break };
            let grant = shared.budget.take(1);
            if grant.count == 0 {
                return Ok(());
            }
            index += 1;
            tally.lag.get_or_insert_with(nanoseconds).saturating_record(as_nanos(now - at));
            let arrival = Arrival { at, measured: grant.measured };
            let is_full = lanes_in_turn.next().is_some_and(|lane| lane.try_send(arrival).is_err());
            tally.counts.unsent += u64::from(is_full);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_even_and_end() {
        let start = Instant::now();
        let schedule = Schedule { start, end: start + Duration::from_secs(1), rate: 4.0 };
        assert_eq!(schedule.at(3), Some(start + Duration::from_millis(750)));
        assert_eq!(schedule.at(4), None);
        assert_eq!(schedule.len(), 4);
        assert!(!schedule.is_empty());
    }
}
