//! Requests that are counted as begun until it is said what became of them. Dropped before that, with a session that is
//! closed at once, they have failed.

use crate::stats::tally::Tally;

/// Requests of one class, from their beginning to their end.
#[derive(Debug)]
pub struct UnderWay<'t> {
    tally: &'t Tally,
    requests: u32,
}

impl<'t> UnderWay<'t> {
    /// Counts so many requests as begun.
    pub fn begin(tally: &'t Tally, requests: u32) -> Self {
        tally.began(requests);
        Self { tally, requests }
    }

    /// So many of them have failed, and the others have their replies.
    pub fn end(mut self, failed: u32) {
        let failed = failed.min(self.requests);
        self.tally.replied(self.requests - failed);
        self.requests = failed;
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.tally.failed(self.requests);
    }
}

#[cfg(all(test, not(feature = "uncounted")))]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_has_ended_however_that_came() {
        let tally = Tally::default();
        UnderWay::begin(&tally, 3).end(1);
        drop(UnderWay::begin(&tally, 2));
        let totals = tally.totals();
        assert_eq!((totals.requests, totals.replied, totals.failed, totals.under_way()), (5, 2, 3, 0));
    }
}
