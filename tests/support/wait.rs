//! The only place that sleeps. Tests wait for a condition, with a deadline; the mere passage of time is
//! spelled `pass` and stands only where time itself is what is tested.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long anything may take that should take milliseconds: only a test that fails waits for so long, so that a
/// machine which others keep busy has time enough.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until `condition` holds and returns what it found; fails the test after `DEADLINE`.
#[track_caller]
pub fn wait<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    within(DEADLINE, what, condition)
}

/// As `wait`, with a deadline of its own.
#[track_caller]
pub fn within<T>(deadline: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(started.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Lets time pass.
pub fn pass(time: Duration) {
    thread::sleep(time);
}
