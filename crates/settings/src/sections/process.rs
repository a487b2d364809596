//! `[runtime]` and `[shutdown]`: the threads of the process, and its end.

use crate::typed::{section::section, units::Millis};

section! {
    /// `[runtime]`
    Runtime {
        /// Threads that serve clients. Each thread has workers of its own, so set at least as many workers.
        /// More threads help when one core is full. They make batches smaller: a command costs 10 to 25 % more
        /// CPU. Needs a restart.
        threads: usize = 1 => AtStart,
        /// Let the system use pages of 2 MiB, where it has them. With 4,000 clients a command costs some 7 % less CPU
        /// then. But such a page is resident whole as soon as a byte of it is used: a few MiB more with clients that do
        /// the same, several times as much with clients that ask for much at once. Needs a restart.
        huge_pages: bool = false => AtStart,
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
