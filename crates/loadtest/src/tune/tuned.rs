//! What a search for the pool has found.

use serde::Serialize;

use crate::tune::{point::Point, verdict::Choice};

/// One pool with its medians.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The pool.
    pub point: Point,
    /// Rounds it was measured.
    pub rounds: usize,
    /// Operations a second.
    pub rate: f64,
    /// Latency that 99 % kept, in milliseconds.
    pub p99_ms: f64,
}

/// The result.
#[derive(Debug, Serialize)]
pub struct Tuned {
    /// The upstream, without its password.
    pub upstream: String,
    /// The load in words.
    pub load: String,
    /// The answer.
    pub choice: Choice,
    /// The target, if there is one.
    pub p99_ms_max: Option<f64>,
    /// Every pool that was measured, by size.
    pub curve: Vec<Measured>,
    /// Why the search ended before it was through.
    pub ended_early: Option<String>,
}
