//! `[pool]`: workers, the queue, and what bounds requests and replies on their way.

use crate::section::section;

section! {
    /// `[pool]`
    Pool {
        /// Worker tasks, each with one connection to the upstream. A further connection is used once those
        /// before it are full. More than a few help only an upstream that is far or has several threads.
        /// At most 1,024.
        workers: usize = 4,
        /// Requests that a worker writes before it has their replies. Larger makes batches larger and a slow
        /// reply delay more others.
        pipeline_depth: usize = 1_024,
        /// Jobs (one a client at most) that wait for a worker. Costs about 200 bytes each when full, besides
        /// their requests. Needs a restart.
        queue_capacity: usize = 16_384,
        /// Bytes of requests, queued and in flight together. Clients whose requests do not fit wait.
        queue_bytes_max: usize = 67_108_864,
        /// How long a request may wait for a worker before it gets an error.
        queue_timeout_ms: u64 = 5_000,
        /// How long a request may be held back by `RESPOOL PAUSE` before it gets an error.
        pause_timeout_ms: u64 = 60_000,
        /// How long a request that was sent may wait for its reply before it gets an error. A connection that
        /// stays silent for twice as long is given up. A blocking request has the time that it asks for besides.
        reply_timeout_ms: u64 = 10_000,
        /// Requests of one client that go to a worker in one piece. Larger makes pipelining clients cheaper and
        /// the others wait longer behind them.
        batch_max: usize = 128,
        /// Bytes of these requests, unless a single one is larger.
        batch_bytes_max: usize = 1_048_576,
        /// What the replies to one such piece should cost, in bytes: a client whose replies are larger gets fewer
        /// requests at a time. Replies of one piece stay in memory until the client has read them.
        batch_reply_bytes: usize = 1_048_576,
        /// Bytes of the replies to one piece; beyond, the client gets an error instead.
        reply_bytes_max: usize = 1_073_741_824,
        /// Bytes of replies on their way or not read by their clients yet, all clients together, beyond 64 KiB
        /// each. Beyond, requests with large replies wait, and large replies nobody expected become an error.
        replies_bytes_max: usize = 268_435_456,
        /// Aggregates inside aggregates in one reply, at 8 bytes of memory each while the reply comes. A request whose
        /// reply is nested deeper gets an error. Scripts of Redis nest up to 7,995 levels.
        /// At most 65,536.
        reply_depth_max: usize = 10_000,
        /// Exclusive connections, for transactions sent piece by piece, WATCH, blocking commands and subscribers:
        /// the most that there may be beside the workers' own. A client beyond waits for `queue_timeout_ms`.
        exclusive_max: usize = 1_024,
        /// An exclusive connection that nobody borrowed for this long is closed.
        exclusive_idle_ms: u64 = 60_000,
    }
}
