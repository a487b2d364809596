//! Amounts by whom they belong to, and whose is the largest.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Ranking<K> {
    amounts: HashMap<K, usize>,
    order: BTreeSet<(usize, K)>,
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self { amounts: HashMap::new(), order: BTreeSet::new() }
    }
}

impl<K: Clone + Eq + Hash + Ord> Ranking<K> {
    pub(crate) fn amount(&self, key: &K) -> usize {
        self.amounts.get(key).copied().unwrap_or(0)
    }

    /// Whose amount is the largest.
    pub(crate) fn most(&self) -> Option<&K> {
        self.order.last().map(|(_, key)| key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.amounts.is_empty()
    }

    /// Makes it `amount`; those who have nothing are not kept.
    pub(crate) fn set(&mut self, key: &K, amount: usize) {
        if let Some(before) = self.amounts.get_mut(key) {
            if *before == amount {
                return;
            }
            self.order.remove(&(*before, key.clone()));
            *before = amount;
        } else if amount > 0 {
            self.amounts.insert(key.clone(), amount);
        }
        if amount > 0 {
            self.order.insert((amount, key.clone()));
        } else {
            self.amounts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_known_after_every_change() {
        let mut ranking = Ranking::default();
        for (key, amount, most) in
            [("a", 3, Some("a")), ("b", 5, Some("b")), ("b", 2, Some("a")), ("a", 0, Some("b")), ("b", 0, None)]
        {
            ranking.set(&key, amount);
            assert_eq!((ranking.amount(&key), ranking.most().copied()), (amount, most));
        }
        assert!(ranking.is_empty());
    }
}
