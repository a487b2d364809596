//! What each worker is doing, for those who look on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkerState {
    /// It has no connection, and is getting one.
    Login,
    /// Its connection has nothing to do.
    Idle,
    /// Requests are in flight on it.
    Active,
    /// It takes no further jobs, and ends or gets another connection once those in flight are done.
    Closing,
}

impl WorkerState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Login, Self::Idle, Self::Active, Self::Closing];

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Closing => "closing",
        }
    }
}

/// One worker, as it was a moment ago.
#[derive(Debug, Clone, Copy)]
pub struct WorkerStatus {
    /// From 1, as in the name of its connection.
    pub number: usize,
    /// What it is doing.
    pub state: WorkerState,
    /// Requests in flight.
    pub in_flight: usize,
    /// Requests sent since the worker started.
    pub requests: u64,
    /// Connections opened since the worker started.
    pub opened: u64,
    /// Age of its connection, if it has one.
    pub connected_for: Option<Duration>,
}

/// A worker's own, stored to without waiting.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    leaving: AtomicU8,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    opened: AtomicU64,
    connected_at: Mutex<Option<Instant>>,
}

impl Gauge {
    /// A connection is there or, with `None`, gone.
    pub(crate) fn connected(&self, at: Option<Instant>) {
        *self.connected_at.lock().unwrap_or_else(PoisonError::into_inner) = at;
        self.opened.fetch_add(u64::from(at.is_some()), Ordering::Relaxed);
        self.update(0, false);
    }

    pub(crate) fn update(&self, in_flight: usize, leaving: bool) {
        self.in_flight.store(in_flight, Ordering::Relaxed);
        self.leaving.store(u8::from(leaving), Ordering::Relaxed);
    }

    /// Called by the worker alone, so that two stores do not meet.
    pub(crate) fn sent(&self, requests: u32) {
        let before = self.requests.load(Ordering::Relaxed);
        self.requests.store(before + u64::from(requests), Ordering::Relaxed);
    }

    fn status(&self, number: usize) -> WorkerStatus {
        let connected_at = *self.connected_at.lock().unwrap_or_else(PoisonError::into_inner);
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let state = match (connected_at, self.leaving.load(Ordering::Relaxed), in_flight) {
            (None, ..) => WorkerState::Login,
            (Some(_), 0, 0) => WorkerState::Idle,
            (Some(_), 0, _) => WorkerState::Active,
            (Some(_), ..) => WorkerState::Closing,
        };
        WorkerStatus {
            number,
            state,
            in_flight,
            requests: self.requests.load(Ordering::Relaxed),
            opened: self.opened.load(Ordering::Relaxed),
            connected_for: connected_at.map(|at| at.elapsed()),
        }
    }
}

/// The gauges of all workers by number.
#[derive(Debug, Default)]
pub(crate) struct Gauges(Mutex<BTreeMap<usize, Arc<Gauge>>>);

impl Gauges {
    pub(crate) fn enter(&self, number: usize) -> Arc<Gauge> {
        let gauge = Arc::new(Gauge::default());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::clone(&gauge));
        gauge
    }

    /// Takes a worker off the list, unless another has its number by now.
    pub(crate) fn leave(&self, number: usize, gauge: &Arc<Gauge>) {
        let mut gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gauges.get(&number).is_some_and(|entered| Arc::ptr_eq(entered, gauge)) {
            gauges.remove(&number);
        }
    }

    pub(crate) fn all(&self) -> Vec<WorkerStatus> {
        let gauges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gauges.iter().map(|(number, gauge)| gauge.status(*number)).collect()
    }
}
