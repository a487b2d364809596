//! What the lanes of one thread share. Nothing is shared between threads but the budget and the ledger.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{drive::budget::Budget, load::Load, measure::tally::Tally, traffic::ledger::Ledger};

/// What the lanes of one thread share.
#[derive(Debug)]
pub struct Shared {
    /// What to do.
    pub load: Load,
    /// How much more of it.
    pub budget: Arc<Budget>,
    /// The truth about the keys, with `--verify`.
    pub ledger: Option<Arc<Ledger>>,
    /// What was counted.
    pub tally: Arc<Mutex<Tally>>,
}

impl Shared {
    /// The counts, for a short look. A panic elsewhere does not make them less true.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
