//! How far the primary was, and when: what a replica's offset is held against. A replica that has as much as the primary
//! had at some time has every write that was acknowledged before it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// Times that are remembered; a replica that is further behind is not known to have anything.
const HEADS_MAX: usize = 64;

/// Times that are closer to each other count as the earlier one.
const APART: Duration = Duration::from_millis(20);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// The history that the offsets are of, if the primary says; those of another cannot be compared.
    history: Option<Arc<str>>,
    /// When the primary was asked, and what it had then; both rise.
    known: VecDeque<(Instant, u64)>,
}

impl Heads {
    /// Another node is the primary.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The primary, asked at this time, had so many bytes of this history.
    pub(crate) fn note(&mut self, asked: Instant, history: Option<&Arc<str>>, offset: u64) {
        if self.history.as_ref() != history || self.known.back().is_some_and(|(_, known)| *known > offset) {
            self.forget();
            self.history = history.cloned();
        }
        match self.known.back_mut() {
            Some((at, known)) if *known == offset => *at = asked.max(*at),
            Some((at, _)) if asked < *at + APART => {}
            Some(_) | None => self.known.push_back((asked, offset)),
        }
        if self.known.len() > HEADS_MAX {
            self.known.pop_front();
        }
    }

    /// The last time at which the primary had no more than one who has so many bytes of this history.
    pub(crate) fn reached(&self, history: Option<&Arc<str>>, offset: u64) -> Option<Instant> {
        if self.history.as_ref() != history {
            return None;
        }
        self.known.iter().rev().find(|(_, known)| *known <= offset).map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_replica_has_says_until_when_it_has_everything() {
        let (start, history) = (Instant::now(), Some(Arc::from("one")));
        let (at, history) = (|millis| start + Duration::from_millis(millis), history.as_ref());
        let mut heads = Heads::default();
        assert_eq!(heads.reached(history, 100), None);
        for (millis, offset) in [(0, 100), (100, 150), (105, 160), (200, 200), (300, 200)] {
            heads.note(at(millis), history, offset);
        }
        let reached = |offset| heads.reached(history, offset);
        assert_eq!((reached(99), reached(100), reached(149)), (None, Some(at(0)), Some(at(0))));
        // What was noted too soon after another is not.
        assert_eq!((reached(150), reached(199)), (Some(at(100)), Some(at(100))));
        assert_eq!((reached(200), reached(900)), (Some(at(300)), Some(at(300))));
        assert_eq!(heads.reached(Some(&Arc::from("two")), 900), None);
        heads.note(at(400), Some(&Arc::from("two")), 50);
        assert_eq!(heads.reached(history, 900), None);
        (0..1000).for_each(|number| heads.note(at(500 + 20 * number), Some(&Arc::from("two")), 51 + number));
        assert_eq!(heads.known.len(), HEADS_MAX);
    }
}
