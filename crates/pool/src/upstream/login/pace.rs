//! How fast connections to one upstream are made: one at a time until it lets one in, then a few at a time; after one
//! that failed there is a pause, which all have in common and which grows. A refusal is paused for longer than an
//! upstream that does not answer: asking again does not change what it says.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, sleep_until},
};

use crate::{
    settings::settings::Settings,
    upstream::login::{backoff::Backoff, login::LoginError},
};

/// Logins under way at a time once the upstream lets connections in.
const LOGINS_MAX: usize = 16;

/// The first pause after a refusal.
const REFUSED_DELAY_MIN: Duration = Duration::from_secs(1);

/// Failures are forgotten when there has been none for this long, as a multiple of the longest pause.
const FORGOTTEN_AFTER: u32 = 2;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<State>,
    /// Held by the first in line.
    first: Semaphore,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    backoff: Backoff,
    /// The last attempt that ended has succeeded.
    lets_in: bool,
    under_way: usize,
    failed_at: Option<Instant>,
    /// Why the last attempt failed, if it did.
    reason: Option<String>,
    open_at: Instant,
}

/// The right to make one connection, while it lives.
#[derive(Debug)]
pub(crate) struct Turn<'p>(&'p Pace);

impl Pace {
    pub(crate) fn new() -> Self {
        let backoff = Backoff::default();
        let state =
            State { backoff, lets_in: false, under_way: 0, failed_at: None, reason: None, open_at: Instant::now() };
        Self { state: Mutex::new(state), first: Semaphore::new(1), changed: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a connection may be made, in the order in which the callers came. Cancel-safe.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        let _first = self.first.acquire().await;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let open_at = {
                let mut state = self.lock();
                let most = if state.lets_in { LOGINS_MAX } else { 1 };
                if state.under_way >= most {
                    None
                } else if state.open_at <= Instant::now() {
                    state.under_way += 1;
                    return Turn(self);
                } else {
                    Some(state.open_at)
                }
            };
            match open_at {
                Some(open_at) => tokio::select! {
                    () = sleep_until(open_at) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// How long nobody gets a turn.
    pub(crate) fn closed_for(&self) -> Duration {
        self.lock().open_at.saturating_duration_since(Instant::now())
    }

    /// A connection has been made: others may follow at once.
    pub(crate) fn succeeded(&self) {
        let mut state = self.lock();
        state.lets_in = true;
        state.reason = None;
        state.open_at = Instant::now();
        drop(state);
        self.changed.notify_waiters();
    }

    /// Why the last attempt failed, if it did.
    pub(crate) fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// An attempt has failed, or what it made was of no use; `chance` is from 0 to 1.
    pub(crate) fn failed(&self, error: &LoginError, settings: &Settings, chance: f64) {
        let (min, max) = match error.is_refusal() {
            true => (REFUSED_DELAY_MIN.min(settings.refused_delay_max), settings.refused_delay_max),
            false => (settings.reconnect_delay_min, settings.reconnect_delay_max),
        };
        let now = Instant::now();
        let mut state = self.lock();
        if state.failed_at.is_none_or(|at| now >= at + max * FORGOTTEN_AFTER) {
            state.backoff.reset();
        }
        state.backoff.failed();
        state.failed_at = Some(now);
        state.reason = Some(error.to_string());
        state.lets_in = false;
        state.open_at = now + state.backoff.pause(min, max, chance);
    }

    /// Nothing that failed counts any more: the upstream is another.
    pub(crate) fn forget(&self) {
        let mut state = self.lock();
        state.backoff.reset();
        state.failed_at = None;
        state.open_at = Instant::now();
        drop(state);
        self.changed.notify_waiters();
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::settings::endpoint::Endpoint;

    fn settings() -> Settings {
        Settings { refused_delay_max: Duration::from_secs(4), ..Settings::new(Endpoint::tcp("host", 1)) }
    }

    async fn is_free(pace: &Pace) -> bool {
        timeout(Duration::ZERO, pace.turn()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn one_tries_until_the_upstream_lets_in_and_then_a_few_do() {
        let pace = Pace::new();
        let one = pace.turn().await;
        assert!(!is_free(&pace).await);
        pace.succeeded();
        drop(one);
        let mut turns = Vec::new();
        for _ in 0..LOGINS_MAX {
            turns.push(timeout(Duration::ZERO, pace.turn()).await.expect("a further one"));
        }
        assert!(!is_free(&pace).await);
        turns.pop();
        assert!(is_free(&pace).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_waited_out_for_longer_than_an_address_that_cannot_be_reached() {
        let refused = LoginError::Refused("WRONGPASS".into());
        for (error, millis) in
            [(&LoginError::Unasked, [5, 10, 20, 40, 50, 50]), (&refused, [1000, 2000, 4000, 4000, 4000, 4000])]
        {
            let pace = Pace::new();
            for full in millis {
                let turn = pace.turn().await;
                pace.failed(error, &settings(), 1.0);
                drop(turn);
                assert_eq!(pace.closed_for(), Duration::from_millis(full));
                let failed = Instant::now();
                drop(pace.turn().await);
                assert!(failed.elapsed() >= Duration::from_millis(full), "{:?}", failed.elapsed());
            }
            pace.forget();
            assert_eq!(pace.closed_for(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_long_ago_count_no_more() {
        let pace = Pace::new();
        for _ in 0..10 {
            pace.failed(&LoginError::Unasked, &settings(), 1.0);
        }
        tokio::time::advance(Duration::from_millis(100)).await;
        pace.failed(&LoginError::Unasked, &settings(), 1.0);
        assert_eq!(pace.closed_for(), Duration::from_millis(5));
    }
}
