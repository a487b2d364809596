//! One user as the gateway counts it: its clients, its requests, and what bounds both. Held by the sessions of the
//! user, each as a member.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use settings::{Bucket, UserLimits};

use crate::observe::counts::Count;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Account {
    name: Arc<str>,
    clients: Mutex<Clients>,
    bucket: Mutex<Bucket>,
    /// Requests beyond `requests_per_second`.
    requests_refused: Count,
    /// Requests whose commands are denied.
    requests_denied: Count,
    /// Clients beyond `clients_max`.
    clients_refused: Count,
}

/// The clients that there are, and what those have sent that are gone.
#[derive(Debug, Default)]
struct Clients {
    /// By their places in memory.
    there: HashMap<usize, Arc<Place>>,
    past_requests: u64,
}

/// Of one client.
#[derive(Debug)]
struct Place {
    account: Arc<Account>,
    /// Requests that went on to the upstream. Its session alone adds to it, so that sessions do not wait for each other.
    requests: AtomicU64,
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
            clients: Mutex::default(),
            bucket: Mutex::default(),
            requests_refused: Count::default(),
            requests_denied: Count::default(),
            clients_refused: Count::default(),
        }
    }

    /// The user's name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_unused(&self) -> bool {
        self.clients().there.is_empty()
    }

    /// One client more. To be called by one task at a time.
    pub(super) fn enter(self: &Arc<Self>, max: Option<usize>) -> Result<Member, usize> {
        if let Some(max) = max.filter(|max| self.clients().there.len() >= *max) {
            self.clients_refused.add_one();
            return Err(max);
        }
        Ok(self.join())
    }

    /// The same without a bound.
    pub(super) fn join(self: &Arc<Self>) -> Member {
        let place = Arc::new(Place { account: Arc::clone(self), requests: AtomicU64::new(0) });
        let member = Member(place);
        self.clients().there.insert(member.key(), Arc::clone(&member.0));
        member
    }

    /// Counts a request whose command is denied.
    pub(crate) fn denied(&self) {
        self.requests_denied.add_one();
    }

    /// What is known.
    pub(crate) fn figures(&self) -> UserFigures {
        let (clients, requests) = {
            let clients = self.clients();
            let there = clients.there.values().map(|place| place.requests.load(Ordering::Relaxed));
            (clients.there.len(), clients.past_requests + there.sum::<u64>())
        };
        UserFigures {
            clients,
            requests,
            requests_refused: self.requests_refused.get(),
            requests_denied: self.requests_denied.get(),
            clients_refused: self.clients_refused.get(),
        }
    }
}

/// A client that counts as one of a user's, until this is dropped.
#[derive(Debug)]
pub(crate) struct Member(Arc<Place>);

impl Member {
    fn key(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    /// Counts requests that go on to the upstream, unless there are too many of them. Those that are `due` go on
    /// whatever the bound is, and the next ones wait for them. Where there is no bound, nothing is touched that other
    /// clients have in common.
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
        let own = &self.0.requests;
        own.store(own.load(Ordering::Relaxed) + u64::from(requests), Ordering::Relaxed);
        Ok(())
    }
}

impl Deref for Member {
    type Target = Account;

    fn deref(&self) -> &Account {
        &self.0.account
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut clients = self.clients();
        clients.there.remove(&self.key());
        clients.past_requests += self.0.requests.load(Ordering::Relaxed);
    }
}
