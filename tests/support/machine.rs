//! How busy this machine is while a test runs: how many tasks want a processor, and how late a thread wakes that
//! slept. What takes a second on an idle machine takes longer on a busy one, and a test that times something
//! allows for that.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::pass;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// Looks that are averaged: half a second of them.
const WINDOW: u64 = 25;

/// Looks at the machine until it goes.
#[derive(Debug)]
pub struct Machine {
    seen: Arc<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    over: AtomicBool,
    /// Tasks that ran or wanted to in the busiest window, all looks together.
    tasks: AtomicU64,
    /// The longest that a thread was kept waiting, in microseconds.
    stall_us: AtomicU64,
}

impl Machine {
    pub fn watch() -> Self {
        let seen = Arc::<Seen>::default();
        let watching = Arc::clone(&seen);
        thread::spawn(move || watching.watch());
        Self { seen }
    }

    /// How long something may take here and now that may take `time` on an idle machine.
    pub fn stretch(&self, time: Duration) -> Duration {
        let tasks = self.seen.tasks.load(Ordering::Relaxed) as f64 / WINDOW as f64;
        let stall = Duration::from_micros(self.seen.stall_us.load(Ordering::Relaxed));
        time.mul_f64((tasks / processors()).max(1.0)) + stall
    }

    /// Fails the test if something took longer than `limit`, stretched as `stretch` does.
    #[track_caller]
    pub fn assert_within(&self, limit: Duration, took: Duration, what: &str) {
        let allowed = self.stretch(limit);
        println!("{what}: {took:?} of {allowed:?}");
        assert!(took < allowed, "{what}: {took:?}, and {limit:?} on an idle machine are {allowed:?} here");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn watch(&self) {
        let mut window = [0; WINDOW as usize];
        for at in (0..window.len()).cycle() {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let started = Instant::now();
            pass(LOOK);
            let stall = started.elapsed().saturating_sub(LOOK);
            self.stall_us.fetch_max(u64::try_from(stall.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            window[at] = runnable();
            self.tasks.fetch_max(window.iter().sum(), Ordering::Relaxed);
        }
    }
}

/// Tasks of the whole system that run or want to.
fn runnable() -> u64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').nth(3).and_then(|tasks| tasks.split('/').next()?.parse().ok()).unwrap_or(0)
}

/// Processors of the whole system.
fn processors() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let count = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    count.max(1) as f64
}
