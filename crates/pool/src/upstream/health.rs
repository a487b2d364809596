//! Whether the upstream can be reached and is what it should be: up while any worker is connected, down when none is
//! and the last attempt failed, unready when it is reached and of no use. Written by logins, checks and workers, read
//! by callers, who fail fast while it is down, and by those who look on.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use crate::time::timestamp::Moment;

/// Whether the upstream can be reached, and whether it is what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// No worker is connected, and no attempt has failed since one was: jobs wait.
    Connecting,
    /// This many workers are connected.
    Up(usize),
    /// Workers are connected, and the upstream does not serve as it should: it loads its data, has another role,
    /// lacks the database, or does not answer. Jobs go to it all the same and get its own words.
    Unready {
        /// How many workers.
        connected: usize,
        /// What is wrong with it.
        reason: Arc<str>,
    },
    /// No worker is connected and the last attempt failed: jobs fail at once. Holds why.
    Down(Arc<str>),
}

/// The state is [`Upstream::Down`].
const DOWN: u8 = 1;
/// New jobs are held back by an operator.
const PAUSED: u8 = 2;

/// The log tells once in this time of attempts that fail while others are connected, with their number, and of a
/// further reason why the upstream is down.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Health {
    known: Mutex<Known>,
    state: watch::Sender<Upstream>,
    /// Whether a job may not go straight into the queue, readable without a lock on the way of each job.
    barred: AtomicU8,
    /// Of a [`Moment`].
    connected_at: AtomicU64,
    paused: watch::Sender<bool>,
}

/// What the state follows from.
#[derive(Debug, Default)]
struct Known {
    connected: usize,
    /// Why the last attempt failed, if it did and no worker is connected.
    failure: Option<Arc<str>>,
    /// Why it is not what it should be.
    unfit: Option<Arc<str>>,
    /// For how long it has owed an answer.
    silent: Option<Arc<str>>,
    /// The upstream is up as far as the log tells.
    told_up: bool,
    /// There may be many of the kind, and another one tells of the upstream.
    quiet: bool,
    /// Attempts that failed and that the log does not tell of yet, and when it last told of any.
    untold: u64,
    told_at: Option<Instant>,
}

/// A worker counts as connected while it holds this.
#[derive(Debug)]
pub(crate) struct Connected<'h>(&'h Health);

impl Known {
    fn state(&self) -> Upstream {
        match (self.connected, &self.failure, self.unfit.as_ref().or(self.silent.as_ref())) {
            (0, Some(failure), _) => Upstream::Down(Arc::clone(failure)),
            (0, None, _) => Upstream::Connecting,
            (connected, _, Some(reason)) => Upstream::Unready { connected, reason: Arc::clone(reason) },
            (connected, _, None) => Upstream::Up(connected),
        }
    }

    fn may_tell(&self) -> bool {
        self.told_at.is_none_or(|told| told.elapsed() >= TELL_EVERY)
    }

    /// Has the log say what is new.
    fn tell(&mut self, before: &Upstream, now: &Upstream) {
        if self.quiet {
            return tracing::debug!(?now, "pool of a login");
        }
        match now {
            Upstream::Up(connected) if !self.told_up => {
                tracing::info!(connected, "upstream is up");
                self.told_up = true;
            }
            Upstream::Unready { reason, .. } => {
                if !matches!(before, Upstream::Unready { reason: known, .. } if known == reason) {
                    tracing::warn!(%reason, "upstream is not ready");
                }
                self.told_up = false;
            }
            Upstream::Down(reason) => {
                let is_news = match before {
                    // Reasons may take turns.
                    Upstream::Down(known) => known != reason && self.may_tell(),
                    Upstream::Connecting | Upstream::Up(_) | Upstream::Unready { .. } => true,
                };
                if is_news {
                    tracing::warn!(%reason, "upstream is down");
                    self.told_at = Some(Instant::now());
                }
                self.told_up = false;
            }
            Upstream::Up(_) | Upstream::Connecting => {}
        }
    }
}

impl Health {
    /// Of what is `quiet` the log tells the least.
    pub(crate) fn new(quiet: bool) -> Self {
        Self {
            known: Mutex::new(Known { quiet, ..Known::default() }),
            state: watch::Sender::new(Upstream::Connecting),
            barred: AtomicU8::new(0),
            connected_at: AtomicU64::new(0),
            paused: watch::Sender::new(false),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Upstream> {
        self.state.subscribe()
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        let now = known.state();
        self.bar(DOWN, matches!(now, Upstream::Down(_)));
        self.state.send_if_modified(|state| {
            known.tell(state, &now);
            let changed = *state != now;
            *state = now;
            changed
        });
    }

    /// Whether nothing keeps a job from the queue: one load.
    pub(crate) fn is_open(&self) -> bool {
        self.barred.load(Ordering::Acquire) == 0
    }

    fn bar(&self, bar: u8, is_barred: bool) {
        match is_barred {
            true => self.barred.fetch_or(bar, Ordering::AcqRel),
            false => self.barred.fetch_and(!bar, Ordering::AcqRel),
        };
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.barred.load(Ordering::Acquire) & PAUSED != 0
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        self.bar(PAUSED, paused);
        self.paused.send_replace(paused);
    }

    /// Waits until the pool is not paused. Cancel-safe.
    pub(crate) async fn resumed(&self) {
        // The sender lives as long as we do.
        let _ = self.paused.subscribe().wait_for(|paused| !paused).await;
    }

    pub(crate) fn is_down(&self) -> bool {
        self.barred.load(Ordering::Acquire) & DOWN != 0
    }

    pub(crate) fn down_reason(&self) -> Option<Arc<str>> {
        match &*self.state.borrow() {
            Upstream::Down(reason) => Some(Arc::clone(reason)),
            Upstream::Connecting | Upstream::Up(_) | Upstream::Unready { .. } => None,
        }
    }

    /// When a worker connected last.
    pub(crate) fn connected_at(&self) -> Moment {
        Moment::from_micros(self.connected_at.load(Ordering::Acquire))
    }

    /// A worker has connected.
    pub(crate) fn connected(&self) -> Connected<'_> {
        self.connected_at.store(Moment::now().micros(), Ordering::Release);
        self.change(|known| {
            known.connected += 1;
            known.failure = None;
        });
        Connected(self)
    }

    /// Workers that are connected.
    pub(crate) fn connections(&self) -> usize {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).connected
    }

    /// An attempt to connect has failed.
    pub(crate) fn failed(&self, reason: &str) {
        self.change(|known| {
            if known.connected == 0 {
                known.failure = Some(reason.into());
                return;
            }
            known.untold += 1;
            if known.may_tell() {
                tracing::warn!(reason, attempts = known.untold, "connection attempt failed");
                (known.untold, known.told_at) = (0, Some(Instant::now()));
            }
        });
    }

    /// What kept connections from being made is over: jobs wait for the next one.
    pub(crate) fn hopes(&self) {
        self.change(|known| known.failure = None);
    }

    /// Whether it is what it should be: `None`, or why it is not.
    pub(crate) fn judge(&self, unfit: Option<String>) {
        self.change(|known| known.unfit = unfit.map(Arc::from));
    }

    /// Whether it answers: `None`, or how long it was waited for.
    pub(crate) fn silent(&self, patience: Option<Duration>) {
        let reason =
            patience.map(|patience| format!("the upstream does not answer within {} ms", patience.as_millis()));
        self.change(|known| known.silent = reason.map(Arc::from));
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.change(|known| known.connected -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn down_is_none_connected_and_the_last_attempt_failed() {
        let health = Health::new(false);
        health.failed("refused");
        assert_eq!((health.down_reason().as_deref(), health.is_open()), (Some("refused"), false));
        let one = health.connected();
        let two = health.connected();
        health.failed("maxclients");
        assert!(!health.is_down(), "others are connected");
        drop(one);
        assert_eq!(*health.watch().borrow(), Upstream::Up(1));
        drop(two);
        assert_eq!(*health.watch().borrow(), Upstream::Connecting);
        assert!(!health.is_down(), "no attempt has failed since");
    }

    #[tokio::test]
    async fn what_is_reached_and_of_no_use_is_not_ready_and_not_down() {
        let health = Health::new(false);
        health.judge(Some("a replica".into()));
        assert_eq!(*health.watch().borrow(), Upstream::Connecting, "nobody is connected");
        let _one = health.connected();
        let unready = |reason: &str| Upstream::Unready { connected: 1, reason: reason.into() };
        assert_eq!((health.watch().borrow().clone(), health.is_open()), (unready("a replica"), true));
        health.judge(None);
        health.silent(Some(Duration::from_secs(3)));
        assert_eq!(*health.watch().borrow(), unready("the upstream does not answer within 3000 ms"));
        health.silent(None);
        assert_eq!(*health.watch().borrow(), Upstream::Up(1));
    }
}
