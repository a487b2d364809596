//! What somebody has of a budget.

use std::sync::Arc;

use crate::bounds::budget::Budget;

/// Bytes taken from a [`Budget`], given back on drop.
#[derive(Debug)]
pub struct Share {
    pub(super) budget: Arc<Budget>,
    pub(super) grant: Grant,
}

/// Bytes that a budget has granted.
#[derive(Debug, Default)]
pub(super) struct Grant {
    pub(super) bytes: usize,
    /// Of these, as they count.
    pub(super) counted: usize,
    /// Where they may be more than half of the budget.
    pub(super) large: Option<Large>,
}

/// The right to hold more than half of a budget, which one share has at a time.
#[derive(Debug)]
pub(super) struct Large(Arc<Budget>);

/// What somebody holds who wants more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Own {
    pub(super) bytes: usize,
    pub(super) counted: usize,
    pub(super) is_large: bool,
}

impl Own {
    pub(super) const NOTHING: Self = Self { bytes: 0, counted: 0, is_large: false };
}

impl Large {
    pub(super) fn claim(budget: &Arc<Budget>) -> Option<Self> {
        budget.claim().then(|| Self(Arc::clone(budget)))
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        self.0.end_claim();
    }
}

impl Share {
    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.grant.bytes
    }

    pub(crate) fn own(&self) -> Own {
        Own { bytes: self.grant.bytes, counted: self.grant.counted, is_large: self.grant.large.is_some() }
    }

    /// Makes it a share of `bytes` if that fits under `max` now; it does not shrink.
    pub fn grow(&mut self, bytes: usize, max: usize) -> bool {
        let more = bytes.saturating_sub(self.grant.bytes);
        if more == 0 {
            return true;
        }
        let grant = self.budget.grant(self.own(), more, max);
        grant.map(|grant| self.grant.join(grant)).is_some()
    }

    /// Gives back what it has beyond `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        if bytes >= self.grant.bytes {
            return;
        }
        let counted = self.grant.counted.min(bytes);
        let rest = Grant { bytes: self.grant.bytes - bytes, counted: self.grant.counted - counted, large: None };
        (self.grant.bytes, self.grant.counted) = (bytes, counted);
        self.budget.give_back(&rest);
        if bytes == counted {
            self.grant.large = None;
        }
        self.budget.tell();
    }

    /// Makes one of two shares of the same budget.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.grant.join(std::mem::take(&mut other.grant));
    }

    /// Adds to what is `held`, if anything is, what there is `more` of the same budget.
    pub fn add(held: &mut Option<Box<Self>>, more: Option<Box<Self>>) {
        match (held, more) {
            (Some(held), Some(more)) => held.join(*more),
            (none @ None, more) => *none = more,
            (Some(_), None) => {}
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.leave();
        self.budget.give_back(&self.grant);
        self.budget.tell();
    }
}

impl Grant {
    fn join(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.counted += other.counted;
        self.large = self.large.take().or(other.large);
    }
}
