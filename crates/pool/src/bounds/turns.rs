//! Turns of the pools whose connections lead to one upstream, each with a login of its own. The upstream serves its
//! connections in turns, and so do we; what one of them has in flight is what a request of another waits for. So each
//! has little in flight while others are at work. It is known of two pools when they last were, which is enough to tell
//! each of all whether there is another.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use tokio::time::Instant;

use crate::time::timestamp::Moment;

/// Who had work so long ago may have some again. In milliseconds.
const RECENT: u32 = 100;

/// Of `pipeline_depth`, what a connection has in flight while other pools are at work. A request of another waits for
/// them twice: for the upstream, some 1 us each, and for the bursts of those who get the replies. With 64, and a burst of
/// up to `batch_max` on top, that is about as long as it waits alone.
const PART: usize = 16;

/// What those pools have in common.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    pools: AtomicUsize,
    last_number: AtomicU32,
    /// Numbers of two pools, each above the millisecond in which it last had work; 0 for none.
    latest: [AtomicU64; 2],
}

/// One of the pools.
#[derive(Debug)]
pub(crate) struct Part {
    turns: Arc<Turns>,
    /// From 1.
    number: u32,
}

impl Part {
    pub(crate) fn new(turns: Arc<Turns>) -> Self {
        turns.pools.fetch_add(1, Ordering::Relaxed);
        let number = turns.last_number.fetch_add(1, Ordering::Relaxed).wrapping_add(1).max(1);
        Self { turns, number }
    }

    /// Those that it takes part in.
    pub(crate) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.turns)
    }

    /// How many requests a connection of this pool, which has work, may have in flight of `depth`. One load where there
    /// is no other pool.
    pub(crate) fn depth(&self, depth: usize, now: Instant) -> usize {
        let is_alone = self.turns.pools.load(Ordering::Relaxed) < 2;
        if is_alone || !self.others_are_at_work(now) { depth } else { (depth / PART).max(1) }
    }

    fn others_are_at_work(&self, now: Instant) -> bool {
        // It begins anew after 49 days, and so do differences.
        let now = (Moment::from(now).micros() / 1_000) as u32;
        let latest = self.turns.latest.each_ref().map(|place| place.load(Ordering::Relaxed));
        let [one, other] = latest.map(read);
        let is_first = match self.number {
            number if number == one.0 => true,
            number if number == other.0 => false,
            // Whoever has been away for longer makes room.
            _ => age(one.1, now) >= age(other.1, now),
        };
        let (place, theirs) = if is_first { (0, other) } else { (1, one) };
        let own = u64::from(self.number) << 32 | u64::from(now);
        if latest[place] != own {
            self.turns.latest[place].store(own, Ordering::Relaxed);
        }
        theirs.0 != 0 && age(theirs.1, now) <= RECENT
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.turns.pools.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The pool's number, and when it had work.
fn read(place: u64) -> (u32, u32) {
    ((place >> 32) as u32, place as u32)
}

/// Milliseconds between the two, whichever came first.
fn age(then: u32, now: u32) -> u32 {
    now.wrapping_sub(then).min(then.wrapping_sub(now))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_alone_at_work_has_all_and_others_leave_each_other_turns() {
        let turns = Arc::<Turns>::default();
        let at = |millis| Instant::now() + Duration::from_millis(millis);
        let first = Part::new(Arc::clone(&turns));
        assert_eq!(first.depth(1024, at(0)), 1024);
        let others: Vec<Part> = (0..5).map(|_| Part::new(Arc::clone(&turns))).collect();
        assert_eq!(first.depth(1024, at(0)), 1024, "the others have no work");
        for round in 0..10 {
            for (number, other) in others.iter().enumerate() {
                let depth = other.depth(1024, at(1_000 + 20 * round));
                assert!(depth == 64 || (round == 0 && number == 0), "{number} in round {round}: {depth}");
            }
        }
        assert_eq!(first.depth(7, at(1_200)), 1, "one at least");
        assert_eq!(first.depth(1024, at(1_200)), 64);
        assert_eq!(first.depth(1024, at(1_400)), 1024, "the others have had none for long");
        drop(others);
        assert_eq!(first.depth(1024, at(1_400)), 1024);
    }
}
