//! One user as the gateway counts it: its clients, its requests, and what bounds both. Held by the sessions of the
//! user, each as a member.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use settings::{Bucket, UserLimits};

use crate::observe::counts::Count;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Account {
    name: Arc<str>,
    clients: AtomicUsize,
    bucket: Mutex<Bucket>,
    /// Requests that went on to the upstream.
    requests: Count,
    /// Requests beyond `requests_per_second`.
    requests_refused: Count,
    /// Requests whose commands are denied.
    requests_denied: Count,
    /// Clients beyond `clients_max`.
    clients_refused: Count,
}

/// What is known of a user, or of several together.
// Open: a plain value, for those who look on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct UserFigures {
    pub(crate) clients: usize,
    pub(crate) requests: u64,
    pub(crate) requests_refused: u64,
    pub(crate) requests_denied: u64,
    pub(crate) clients_refused: u64,
}

impl UserFigures {
    /// With those of another.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            clients: self.clients + other.clients,
            requests: self.requests + other.requests,
            requests_refused: self.requests_refused + other.requests_refused,
            requests_denied: self.requests_denied + other.requests_denied,
            clients_refused: self.clients_refused + other.clients_refused,
        }
    }
}

impl Account {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            clients: AtomicUsize::new(0),
            bucket: Mutex::default(),
            requests: Count::default(),
            requests_refused: Count::default(),
            requests_denied: Count::default(),
            clients_refused: Count::default(),
        }
    }

    /// The user's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(super) fn is_unused(&self) -> bool {
        self.clients.load(Ordering::Acquire) == 0
    }

    /// One client more. To be called by one task at a time.
    pub(super) fn enter(self: &Arc<Self>, max: Option<usize>) -> Result<Member, usize> {
        if let Some(max) = max.filter(|max| self.clients.load(Ordering::Acquire) >= *max) {
            self.clients_refused.add_one();
            return Err(max);
        }
        Ok(self.join())
    }

    /// The same without a bound.
    pub(super) fn join(self: &Arc<Self>) -> Member {
        self.clients.fetch_add(1, Ordering::AcqRel);
        Member(Arc::clone(self))
    }

    /// Counts requests that go on to the upstream, unless there are too many of them. Those that are `due` go on
    /// whatever the bound is, and the next ones wait for them.
    ///
    /// # Errors
    /// There are too many; holds when there may be more.
    pub(crate) fn charge(&self, requests: u32, limits: &UserLimits, due: bool) -> Result<(), Duration> {
        if let Some(rate) = limits.requests_per_second {
            let (mut bucket, now) = (self.bucket.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
            if due {
                bucket.owe(requests, rate, now);
            } else if let Err(wait) = bucket.take(requests, rate, now) {
                self.requests_refused.add(requests as usize);
                return Err(wait);
            }
        }
        self.requests.add(requests as usize);
        Ok(())
    }

    /// Counts a request whose command is denied.
    pub(crate) fn denied(&self) {
        self.requests_denied.add_one();
    }

    /// What is known.
    pub(crate) fn figures(&self) -> UserFigures {
        UserFigures {
            clients: self.clients.load(Ordering::Acquire),
            requests: self.requests.get(),
            requests_refused: self.requests_refused.get(),
            requests_denied: self.requests_denied.get(),
            clients_refused: self.clients_refused.get(),
        }
    }
}

/// A client that counts as one of a user's, until this is dropped.
#[derive(Debug)]
pub(crate) struct Member(Arc<Account>);

impl Deref for Member {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::AcqRel);
    }
}
