//! `[runtime]` and `[shutdown]`: the threads of the process, and its end.

use crate::typed::{section::section, units::Millis};

section! {
    /// `[runtime]`
    Runtime {
        /// Threads that serve clients. Each thread has workers of its own, so set at least as many workers.
        /// More threads help when one core is full. They make batches smaller: a command costs 10 to 25 % more
        /// CPU. Needs a restart.
        threads: usize = 1 => AtStart,
    }
}

section! {
    /// `[shutdown]`
    Shutdown {
        /// How long accepted requests may take to finish after SIGTERM or SIGINT. Then the gateway gives them up.
        /// 0: it gives them up at once.
        grace_period_ms: Millis = Millis(30_000),
    }
}
