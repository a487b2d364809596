//! When a batch goes to an upstream on this machine: once the one before it has begun to be answered, or once it is as
//! large as that. Requests that come one by one are so written together, which spares system calls here and there, and
//! the upstream still has one batch to work at while the next one is gathered. It would only have read them later: what
//! is out stands before them, and it does one thing at a time. What a request may lose is the way to the upstream and
//! back. So that has to be short: not over a network, nor through another program that leads there.

use std::time::Duration;

use tokio::time::Instant;

/// The way is short if it takes no longer than this, with the shortest of commands, and with the time after which a busy
/// worker notices a reply.
const SHORT: Duration = Duration::from_micros(500);

/// The shortest way is forgotten by so much of the difference with each that is longer: a busy upstream is no distant one.
const FORGOTTEN: u32 = 64;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::worker) struct Batching {
    /// When the first of what is out was written, as long as nothing of that has been answered.
    written_at: Option<Instant>,
    /// What the way there and back takes at least. Not known, it counts as long.
    way: Duration,
    is_local: bool,
}

impl Batching {
    /// `is_local`: the upstream is on this machine, or what leads there.
    pub(in crate::worker) fn new(is_local: bool) -> Self {
        Self { written_at: None, way: SHORT * 2, is_local }
    }

    /// Something was written, with nothing before it that was to be answered.
    pub(in crate::worker) fn wrote_first(&mut self) {
        self.written_at = self.is_local.then(Instant::now);
    }

    /// The upstream has answered something.
    pub(in crate::worker) fn heard(&mut self, now: Instant) {
        let Some(written_at) = self.written_at.take() else { return };
        let way = now.saturating_duration_since(written_at);
        self.way = if way < self.way { way } else { self.way + (way - self.way) / FORGOTTEN };
    }

    /// Whether so many requests stay here while so many others are out.
    pub(in crate::worker) fn keeps(&self, unwritten: usize, out: usize) -> bool {
        unwritten < out && self.has_gathered(out)
    }

    /// Whether so many are better sent than kept until others have been looked for: those that have come meanwhile are
    /// with them already.
    pub(in crate::worker) fn has_gathered(&self, out: usize) -> bool {
        out > 0 && self.is_local && self.way <= SHORT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `times` ways of `micros`.
    fn travel(batching: &mut Batching, micros: u64, times: usize) {
        for _ in 0..times {
            batching.wrote_first();
            let written_at = batching.written_at.expect("it is local");
            batching.heard(written_at + Duration::from_micros(micros));
            batching.heard(written_at + Duration::from_secs(9));
        }
    }

    fn near() -> Batching {
        let mut batching = Batching::new(true);
        assert!(!batching.keeps(1, 2) && !batching.has_gathered(1), "nobody knows how long the way is");
        travel(&mut batching, 40, 1);
        batching
    }

    #[test]
    fn keeps_less_than_is_out_where_the_way_is_short() {
        let batching = near();
        assert!(
            !batching.keeps(1, 0)
                && !batching.keeps(1, 1)
                && batching.keeps(1, 2)
                && batching.keeps(7, 8)
                && !batching.keeps(8, 8)
        );
        assert!(batching.has_gathered(1) && !batching.has_gathered(0));
    }

    #[test]
    fn keeps_nothing_where_the_way_is_long() {
        let mut batching = near();
        travel(&mut batching, 1_000, 50);
        assert!(!batching.keeps(1, 100) && !batching.has_gathered(100), "a tunnel");
        travel(&mut batching, 40, 1);
        assert!(batching.keeps(1, 2) && batching.has_gathered(1), "it was busy");
    }

    #[test]
    fn keeps_nothing_for_another_machine() {
        let mut batching = Batching::new(false);
        batching.wrote_first();
        batching.heard(Instant::now());
        assert!(!batching.keeps(1, 2) && !batching.has_gathered(1));
    }

    #[test]
    fn a_busy_upstream_is_no_distant_one() {
        let mut batching = near();
        for _ in 0..100 {
            travel(&mut batching, 40, 1);
            travel(&mut batching, 2_000, 10);
            assert!(batching.keeps(1, 2));
        }
        travel(&mut batching, 2_000_000, 1);
        travel(&mut batching, 40, 1);
        assert!(batching.keeps(1, 2), "a script of two seconds");
    }
}
