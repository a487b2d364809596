//! What one client knows of its own keys, and so what it may be told. A write that was answered with an error
//! that leaves it open may take effect once, now or a little later; one that was said not to be executed
//! never; one that was acknowledged is there until another takes its place.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// A reply holds what it must not hold: another request's, another key's, or what nobody has written.
    Wrong,
    /// What was acknowledged is gone, or a request was left without a reply.
    Lost,
    /// Something was executed that had been executed already, or was said not to be.
    Duplicated,
    /// A reply came later than the configuration allows.
    Hung,
}

/// A flaw, with a sentence about it.
pub type Finding = (Flaw, String);

/// How long after its client was told so a write may still take effect: requests may lie in the kernel's
/// buffers, and in the relay, when the gateway has given up the connection.
const LATE_MAX: Duration = Duration::from_secs(10);

/// The versions of a key, from 1; 0 is no value.
#[derive(Debug, Default)]
pub struct Register {
    begun: u64,
    current: u64,
    /// May have been executed or may yet be, and since when that is known.
    open: BTreeMap<u64, Instant>,
    /// How many took effect after a later one was acknowledged.
    pub late: u64,
}

impl Register {
    /// The version of a write that is about to be sent.
    pub fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    /// The write of `version`, sent at `sent`, was acknowledged.
    pub fn acknowledged(&mut self, version: u64, sent: Instant) {
        self.current = version;
        self.open.retain(|_, since| sent.saturating_duration_since(*since) < LATE_MAX);
    }

    /// Nobody can tell whether `version` was written.
    pub fn unknown(&mut self, version: u64, now: Instant) {
        self.open.insert(version, now);
    }

    /// The key was found to hold `version`.
    pub fn seen(&mut self, version: u64) -> Result<(), Finding> {
        if version == self.current {
            return Ok(());
        }
        if self.open.remove(&version).is_some() {
            self.late += u64::from(version < self.current);
            self.current = version;
            return Ok(());
        }
        let (current, begun) = (self.current, self.begun);
        let open: Vec<_> = self.open.keys().collect();
        let text = format!("version {version} where {current} was in force, {begun} begun, {open:?} open");
        Err((if version < current { Flaw::Lost } else { Flaw::Duplicated }, text))
    }
}

/// A counter that one client moves by `step` at a time.
#[derive(Debug)]
pub struct Counter {
    step: u64,
    last: u64,
    acknowledged: u64,
    open: u64,
}

impl Counter {
    pub fn new(step: u64) -> Self {
        Self { step, last: 0, acknowledged: 0, open: 0 }
    }

    /// Nobody can tell whether it was moved.
    pub fn unknown(&mut self) {
        self.open += 1;
    }

    /// It was moved, and is at `value` now.
    pub fn moved(&mut self, value: u64) -> Result<(), Finding> {
        self.acknowledged += 1;
        if value <= self.last {
            return Err((Flaw::Lost, format!("{value} after {}: {self:?}", self.last)));
        }
        self.last = value;
        let checked = self.check(value);
        if checked.is_err() {
            // Found once is enough: from here on what was found is the truth.
            (self.acknowledged, self.open) = (value / self.step, 0);
        }
        checked
    }

    /// It is at `value` in the end.
    pub fn check(&self, value: u64) -> Result<(), Finding> {
        let (least, most) = (self.acknowledged * self.step, (self.acknowledged + self.open) * self.step);
        match value {
            _ if value < least => Err((Flaw::Lost, format!("{value}, at least {least} were acknowledged: {self:?}"))),
            _ if value > most => Err((Flaw::Duplicated, format!("{value}, at most {most} were executed: {self:?}"))),
            _ if !value.is_multiple_of(self.step) => {
                Err((Flaw::Wrong, format!("half a transaction: {value}: {self:?}")))
            }
            _ => Ok(()),
        }
    }
}

/// A list that one client pushes to at one end and pops from at the other.
#[derive(Debug, Default)]
pub struct Queue {
    begun: u64,
    /// Acknowledged, and not popped as far as is known.
    there: BTreeSet<u64>,
    /// May have been pushed, or may yet be.
    open: BTreeSet<u64>,
    /// Pops of which nobody can tell whether they took anything.
    open_pops: usize,
}

impl Queue {
    /// The number of an element that is about to be pushed.
    pub fn begin(&mut self) -> u64 {
        self.begun += 1;
        self.begun
    }

    pub fn pushed(&mut self, element: u64) {
        self.there.insert(element);
    }

    pub fn push_unknown(&mut self, element: u64) {
        self.open.insert(element);
    }

    pub fn pop_unknown(&mut self) {
        self.open_pops += 1;
    }

    pub fn popped(&mut self, element: u64) -> Result<(), Finding> {
        if self.there.remove(&element) || self.open.remove(&element) {
            return Ok(());
        }
        Err((Flaw::Duplicated, format!("element {element} was popped again, or never to be pushed: {self:?}")))
    }

    /// It holds `elements`, and nothing else.
    pub fn holds(&mut self, elements: &[u64]) -> Result<(), Finding> {
        let distinct: BTreeSet<u64> = elements.iter().copied().collect();
        let known = distinct.iter().all(|element| self.there.contains(element) || self.open.contains(element));
        if distinct.len() < elements.len() || !known {
            return Err((Flaw::Duplicated, format!("holds {elements:?}: {self:?}")));
        }
        let missing = self.there.difference(&distinct).count();
        if missing > self.open_pops {
            return Err((Flaw::Lost, format!("{missing} elements gone, holds {elements:?}: {self:?}")));
        }
        self.open_pops -= missing;
        self.there.retain(|element| distinct.contains(element));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(found: Result<(), Finding>) -> Option<Flaw> {
        found.err().map(|(flaw, _)| flaw)
    }

    #[test]
    fn a_key_holds_its_last_acknowledged_version_or_one_that_is_open() {
        let (mut register, now) = (Register::default(), Instant::now());
        let [one, two, three, four] = [(); 4].map(|()| register.begin());
        register.acknowledged(one, now);
        assert_eq!((flaw(register.seen(one)), flaw(register.seen(0))), (None, Some(Flaw::Lost)));
        register.unknown(two, now);
        register.acknowledged(three, now);
        assert_eq!(flaw(register.seen(one)), Some(Flaw::Lost), "stale");
        assert_eq!((flaw(register.seen(two)), register.late), (None, 1));
        assert_eq!(flaw(register.seen(three)), Some(Flaw::Duplicated), "executed again");
        assert_eq!(flaw(register.seen(four)), Some(Flaw::Duplicated), "was said not to be executed");
        register.acknowledged(three, now + LATE_MAX);
        register.unknown(four, now);
        register.acknowledged(three, now + LATE_MAX);
        assert_eq!(flaw(register.seen(four)), Some(Flaw::Duplicated), "much too late");
    }

    #[test]
    fn a_counter_moves_once_for_each_that_was_acknowledged_and_at_most_once_for_each_that_is_open() {
        let mut counter = Counter::new(2);
        assert_eq!(flaw(counter.moved(2)), None);
        counter.unknown();
        assert_eq!((flaw(counter.check(4)), flaw(counter.check(5))), (None, Some(Flaw::Duplicated)));
        assert_eq!((flaw(counter.check(3)), flaw(counter.check(0))), (Some(Flaw::Wrong), Some(Flaw::Lost)));
        assert_eq!(flaw(counter.moved(2)), Some(Flaw::Lost), "not above the last");
    }

    #[test]
    fn a_queue_gives_each_element_once() {
        let mut queue = Queue::default();
        let [one, two, three] = [(); 3].map(|()| queue.begin());
        queue.pushed(one);
        queue.pushed(two);
        queue.push_unknown(three);
        assert_eq!((flaw(queue.popped(one)), flaw(queue.popped(one))), (None, Some(Flaw::Duplicated)));
        assert_eq!(flaw(queue.holds(&[two, two])), Some(Flaw::Duplicated));
        assert_eq!(flaw(queue.holds(&[three])), Some(Flaw::Lost));
        queue.pop_unknown();
        assert_eq!(flaw(queue.holds(&[three])), None);
        assert_eq!(flaw(queue.popped(three)), None);
    }
}
