//! `[slowlog]`: which requests are kept to be looked at.

use crate::typed::{section::section, units::Micros};

section! {
    /// `[slowlog]`
    SlowLog {
        /// Requests that take at least this long, in microseconds, are kept for `RESPOOL SLOWLOG`. The wait for a
        /// connection and the upstream's time count together. 0: none. Faster requests cost nothing.
        threshold_us: Micros = Micros(10_000),
        /// Requests that are kept, and that are added in one second at most. The oldest go first. Each costs up to
        /// 5 KiB.
        entries_max: usize = 128,
    }
}
