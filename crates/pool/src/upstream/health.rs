//! Whether the upstream can be reached: up while any worker is connected, down when none is and the
//! last attempt failed. Written by workers, read by callers, who fail fast while it is down.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use tokio::sync::watch;

/// Whether the upstream can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// No worker is connected, and no attempt has failed since one was: jobs wait.
    Connecting,
    /// This many workers are connected.
    Up(usize),
    /// No worker is connected and the last attempt failed: jobs fail at once. Holds why.
    Down(Arc<str>),
}

/// The state is [`Upstream::Down`].
const DOWN: u8 = 1;
/// New jobs are held back.
const PAUSED: u8 = 2;

#[derive(Debug)]
pub(crate) struct Health {
    state: watch::Sender<Upstream>,
    /// Whether a job may not go straight into the queue: `DOWN` and `PAUSED`, readable without a lock on
    /// the way of each job.
    barred: AtomicU8,
    paused: watch::Sender<bool>,
}

/// A worker counts as connected while it holds this.
#[derive(Debug)]
pub(crate) struct Connected<'h>(&'h Health);

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::new(Upstream::Connecting),
            barred: AtomicU8::new(0),
            paused: watch::Sender::new(false),
        }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Upstream> {
        self.state.subscribe()
    }

    /// Whether nothing keeps a job from the queue: one load.
    pub(crate) fn is_open(&self) -> bool {
        self.barred.load(Ordering::Acquire) == 0
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.barred.load(Ordering::Acquire) & PAUSED != 0
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        match paused {
            true => self.barred.fetch_or(PAUSED, Ordering::AcqRel),
            false => self.barred.fetch_and(!PAUSED, Ordering::AcqRel),
        };
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
        if !self.is_down() {
            return None;
        }
        match &*self.state.borrow() {
            Upstream::Down(reason) => Some(Arc::clone(reason)),
            Upstream::Connecting | Upstream::Up(_) => None,
        }
    }

    /// A worker has connected.
    pub(crate) fn connected(&self) -> Connected<'_> {
        self.state.send_modify(|state| {
            let others = match state {
                Upstream::Up(others) => *others,
                Upstream::Connecting | Upstream::Down(_) => {
                    tracing::info!("upstream is up");
                    0
                }
            };
            *state = Upstream::Up(others + 1);
            self.barred.fetch_and(!DOWN, Ordering::AcqRel);
        });
        Connected(self)
    }

    /// An attempt to connect has failed; true if the upstream is down, now or still.
    pub(crate) fn failed(&self, reason: &str) -> bool {
        self.state.send_modify(|state| match state {
            Upstream::Up(_) => tracing::warn!(reason, "connection attempt failed"),
            Upstream::Down(known) if **known == *reason => {}
            Upstream::Connecting | Upstream::Down(_) => {
                tracing::warn!(reason, "upstream is down");
                *state = Upstream::Down(reason.into());
                self.barred.fetch_or(DOWN, Ordering::AcqRel);
            }
        });
        self.is_down()
    }
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| {
            *state = match state {
                Upstream::Up(others) if *others > 1 => Upstream::Up(*others - 1),
                Upstream::Up(_) | Upstream::Connecting => Upstream::Connecting,
                Upstream::Down(reason) => Upstream::Down(Arc::clone(reason)),
            };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn down_is_none_connected_and_the_last_attempt_failed() {
        let health = Health::new();
        assert!(health.failed("refused"));
        assert_eq!(health.down_reason().as_deref(), Some("refused"));
        let one = health.connected();
        let two = health.connected();
        assert!(!health.failed("maxclients"), "others are connected");
        drop(one);
        assert_eq!(*health.watch().borrow(), Upstream::Up(1));
        drop(two);
        assert_eq!(*health.watch().borrow(), Upstream::Connecting);
        assert!(!health.is_down(), "no attempt has failed since");
    }
}
