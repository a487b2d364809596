//! What a trial counts, shared by all that take part: requests, faults, and what was found to be wrong. Also
//! the slack that a busy machine needs: whoever times others has to know when it did not run itself.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::history::{Finding, Flaw};
use crate::support::{Machine, Process};

/// Findings that are kept in words.
const SHOWN_MAX: usize = 10;

#[derive(Debug)]
pub struct Tally {
    machine: Machine,
    pub over: AtomicBool,
    /// The gateway has been asked to end: whatever it has not accepted it may leave.
    pub draining: AtomicBool,
    /// Requests whose replies were held against what they may be.
    pub verified: AtomicU64,
    /// Requests answered with an error that says that they were not executed.
    pub refused: AtomicU64,
    /// Requests answered with an error that leaves it open.
    pub open: AtomicU64,
    /// Clients that went away in the middle of something.
    pub vanished: AtomicU64,
    /// The longest that an operator held requests back, in milliseconds.
    held_ms: AtomicU64,
    /// The most memory that the gateway had, in bytes.
    memory_peak: AtomicU64,
    findings: Mutex<Vec<Finding>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tally {
    pub fn new() -> Self {
        Self {
            machine: Machine::watch(),
            over: AtomicBool::default(),
            draining: AtomicBool::default(),
            verified: AtomicU64::default(),
            refused: AtomicU64::default(),
            open: AtomicU64::default(),
            vanished: AtomicU64::default(),
            held_ms: AtomicU64::default(),
            memory_peak: AtomicU64::default(),
            findings: Mutex::default(),
            faults: Mutex::default(),
        }
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes note of a finding; `who` says whose it is.
    pub fn hold(&self, who: &str, checked: Result<(), Finding>) {
        if let Err((flaw, text)) = checked {
            lock(&self.findings).push((flaw, format!("{who}: {text}")));
        }
    }

    pub fn injected(&self, fault: &'static str) {
        *lock(&self.faults).entry(fault).or_default() += 1;
    }

    /// Requests were held back for that long.
    pub fn held(&self, time: Duration) {
        self.held_ms.fetch_max(millis(time), Ordering::Relaxed);
    }

    /// Takes note of the memory that the gateway has had so far.
    pub fn memory(&self, gateway: &Process) {
        self.memory_peak.fetch_max(gateway.peak_rss_bytes(), Ordering::Relaxed);
    }

    /// What a reply may take here and now that the configuration gives `limit`.
    pub fn allowed(&self, limit: Duration) -> Duration {
        let held = Duration::from_millis(self.held_ms.load(Ordering::Relaxed));
        self.machine.stretch(limit + Duration::from_secs(1)) + held
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What came of one trial, or of several.
#[derive(Debug, Default)]
pub struct Report {
    pub trials: u64,
    pub verified: u64,
    refused: u64,
    open: u64,
    /// Writes that took effect after a later one had been acknowledged, having been left open.
    late: u64,
    vanished: u64,
    faults: BTreeMap<&'static str, u64>,
    findings: Vec<Finding>,
    /// Of the gateway, in bytes.
    pub memory_peak: u64,
    pub memory_bound: u64,
}

impl Report {
    pub fn of(tally: &Tally, late: u64, memory_bound: u64) -> Self {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            trials: 1,
            verified: load(&tally.verified),
            refused: load(&tally.refused),
            open: load(&tally.open),
            late,
            vanished: load(&tally.vanished),
            faults: lock(&tally.faults).clone(),
            findings: lock(&tally.findings).clone(),
            memory_peak: load(&tally.memory_peak),
            memory_bound,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.trials += other.trials;
        self.verified += other.verified;
        self.refused += other.refused;
        self.open += other.open;
        self.late += other.late;
        self.vanished += other.vanished;
        other.faults.into_iter().for_each(|(fault, count)| *self.faults.entry(fault).or_default() += count);
        self.findings.extend(other.findings);
        self.memory_peak = self.memory_peak.max(other.memory_peak);
        self.memory_bound = self.memory_bound.max(other.memory_bound);
    }

    /// What is wrong, in words; empty if nothing is.
    pub fn complaints(&self) -> String {
        let mut lines: Vec<_> = self.findings.iter().map(|(flaw, text)| format!("{flaw:?}: {text}")).collect();
        if self.memory_peak > self.memory_bound {
            lines.push(format!("{} bytes of memory, {} are the bound", self.memory_peak, self.memory_bound));
        }
        let further = lines.len().saturating_sub(SHOWN_MAX);
        lines.truncate(SHOWN_MAX);
        if further > 0 {
            lines.push(format!("and {further} more"));
        }
        lines.join("\n")
    }
}

/// The table.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        writeln!(f, "{:<34}{:>12}", "trials", self.trials)?;
        writeln!(f, "{:<34}{:>12}", "requests verified", self.verified)?;
        writeln!(f, "{:<34}{:>12}", "  refused, not executed", self.refused)?;
        writeln!(f, "{:<34}{:>12}", "  left open", self.open)?;
        writeln!(f, "{:<34}{:>12}", "  left open, took effect late", self.late)?;
        writeln!(f, "{:<34}{:>12}", "clients that vanished", self.vanished)?;
        writeln!(f, "{:<34}{:>12}", "faults injected", self.faults.values().sum::<u64>())?;
        for (fault, count) in &self.faults {
            writeln!(f, "  {fault:<32}{count:>12}")?;
        }
        for flaw in [Flaw::Wrong, Flaw::Lost, Flaw::Duplicated, Flaw::Hung] {
            let count = self.findings.iter().filter(|(found, _)| *found == flaw).count();
            writeln!(f, "{:<34}{count:>12}", format!("{flaw:?}").to_lowercase())?;
        }
        writeln!(f, "{:<34}{:>12}", "peak memory of the gateway", mib(self.memory_peak))?;
        write!(f, "{:<34}{:>12}", "  its bound", mib(self.memory_bound))
    }
}
