//! Databases that the upstream is known to have, because a `SELECT` of them has succeeded: what is written behind one
//! that fails would run in another database.

use std::sync::{Mutex, PoisonError};

/// Databases that are remembered; beyond, they are asked for again.
const KNOWN_MAX: usize = 256;

/// See the module's documentation. Database 0 is always there.
#[derive(Debug, Default)]
pub(crate) struct Databases(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Of the upstream that has them.
    generation: u64,
    numbers: Vec<u32>,
}

impl Databases {
    fn with<R>(&self, generation: u64, look: impl FnOnce(&mut Vec<u32>) -> R) -> R {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.generation != generation {
            *known = Known { generation, numbers: Vec::new() };
        }
        look(&mut known.numbers)
    }

    /// Whether the upstream of this generation has it and lets it be selected.
    pub(crate) fn has(&self, generation: u64, db: u32) -> bool {
        db == 0 || self.with(generation, |numbers| numbers.contains(&db))
    }

    /// It has been selected.
    pub(crate) fn selected(&self, generation: u64, db: u32) {
        self.with(generation, |numbers| {
            if numbers.len() >= KNOWN_MAX {
                numbers.clear();
            }
            if !numbers.contains(&db) {
                numbers.push(db);
            }
        });
    }

    /// It was refused.
    pub(crate) fn refused(&self, generation: u64, db: u32) {
        self.with(generation, |numbers| numbers.retain(|number| *number != db));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_upstream_has_says_nothing_of_another() {
        let databases = Databases::default();
        assert!(databases.has(1, 0) && !databases.has(1, 3));
        databases.selected(1, 3);
        assert!(databases.has(1, 3) && !databases.has(2, 3) && !databases.has(1, 3));
        databases.selected(1, 3);
        databases.refused(1, 3);
        assert!(!databases.has(1, 3));
    }
}
