//! How late this machine wakes a thread while a test runs: what a busy machine adds to every latency,
//! measured instead of guessed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{JoinHandle, sleep, spawn},
    time::{Duration, Instant},
};

/// How long it sleeps each time.
const NAP: Duration = Duration::from_millis(1);
/// Threads that one operation has to wake, from the upstream's timer to the harness and back.
const WAKE_UPS: u64 = 3;

/// Measures until it is dropped.
pub struct Lateness {
    worst_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    napping: Option<JoinHandle<()>>,
}

impl Lateness {
    pub fn measure() -> Self {
        let (worst_us, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (worst, stopped) = (Arc::clone(&worst_us), Arc::clone(&stop));
        let napping = spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                sleep(NAP);
                let late = begun.elapsed().saturating_sub(NAP);
                worst.fetch_max(u64::try_from(late.as_micros()).unwrap(), Ordering::Relaxed);
            }
        });
        Self { worst_us, stop, napping: Some(napping) }
    }

    /// What the machine may have added to an operation so far.
    pub fn of_an_operation(&self) -> Duration {
        Duration::from_micros(WAKE_UPS * self.worst_us.load(Ordering::Relaxed))
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.napping.take().map(JoinHandle::join);
    }
}
