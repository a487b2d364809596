//! The process: its threads and its end.

use crate::section::section;

section! {
    /// `[runtime]`
    Runtime {
        /// Threads that serve clients, each with workers of its own in turn: set at least as many workers. Further
        /// ones help when one core is full; each has fewer clients, so batches are smaller and a command costs 10
        /// to 25 % more CPU. Needs a restart.
        threads: usize = 1,
    }
}

section! {
    /// `[shutdown]`
    Shutdown {
        /// After SIGTERM or SIGINT: how long accepted requests may take to finish before they are given up.
        grace_period_ms: u64 = 30_000,
    }
}
