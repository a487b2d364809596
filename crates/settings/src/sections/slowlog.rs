//! `[slowlog]`: which requests are kept to be looked at.

use crate::section::section;

section! {
    /// `[slowlog]`
    SlowLog {
        /// What takes at least as long, in microseconds, is kept in the log that `RESPOOL SLOWLOG` shows: the wait for
        /// a connection and the upstream's time together. 0 keeps nothing. What is faster costs nothing.
        threshold_us: u64 = 10_000,
        /// Entries kept, and added in one second at most; the oldest go first. Costs up to 5 KiB each.
        entries_max: usize = 128,
    }
}
