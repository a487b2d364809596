//! `[pool]`: workers, the queue, and what bounds requests and replies on their way.

use crate::typed::{
    section::section,
    units::{ByteCount, Millis},
};

section! {
    /// `[pool]`
    Pool {
        /// Workers; each has one connection to the upstream. The gateway uses a further connection once those
        /// before it are full. More than a few help only with an upstream that is far away or has several threads.
        /// At most 1,024.
        workers: usize = 4,
        /// Requests that a worker sends before it has their replies. A larger number makes larger batches. A slow
        /// reply then delays more other requests. While users with logins of their own at the upstream are at work together,
        /// each connection sends a sixteenth of it; make it larger for an upstream that is far away.
        pipeline_depth: usize = 1_024,
        /// Jobs that may wait for a worker. A job is the requests that one client sent together; a client has one
        /// job at a time. A full queue costs about 200 bytes for each job, besides its requests. Needs a restart.
        queue_capacity: usize = 16_384 => AtStart,
        /// Bytes of requests in the queue and on their way to the upstream. A client whose requests do not fit
        /// waits. Requests of a user with a login of its own at the upstream have half of it at most.
        queue_bytes_max: ByteCount = ByteCount(67_108_864),
        /// How long a request may wait for a worker. Then it gets an error.
        queue_timeout_ms: Millis = Millis(5_000),
        /// How long `RESPOOL PAUSE` may hold a request back. Then the request gets an error.
        pause_timeout_ms: Millis = Millis(60_000),
        /// How long a request that was sent may wait for its reply. Then it gets an error. A connection that is
        /// silent for twice as long is closed. A blocking request may also wait for the time that it asks for.
        reply_timeout_ms: Millis = Millis(10_000),
        /// Requests of one client in one job. A larger number makes clients with long pipelines cheaper. Other
        /// clients then wait longer behind them.
        batch_max: usize = 128,
        /// Bytes of the requests in one job. A single request may be larger.
        batch_bytes_max: ByteCount = ByteCount(1_048_576),
        /// Bytes that the replies to one job should have. A client with larger replies gets fewer requests into its
        /// next job. The replies to a job stay in memory until the client has read them, but for those larger than
        /// 256 KiB, which reach it as they come.
        batch_reply_bytes: ByteCount = ByteCount(1_048_576),
        /// Bytes of replies to one job that may be held here, or that are known to come. Beyond this the client gets an
        /// error instead.
        reply_bytes_max: ByteCount = ByteCount(1_073_741_824),
        /// Bytes of replies that have not reached their clients yet, for all clients together. The first 64 KiB of
        /// each client are not counted. Beyond this, requests whose replies are known to be large wait. A large
        /// reply that nobody expected becomes an error, or ends its client if that has the beginning of it already.
        replies_bytes_max: ByteCount = ByteCount(268_435_456),
        /// How deep arrays may stand in arrays in one reply. A request whose reply is nested deeper gets an error.
        /// Scripts of Redis nest up to 7,995 levels. Costs 8 bytes of memory for each level while the reply comes.
        /// At most 65,536.
        reply_depth_max: usize = 10_000,
        /// Exclusive connections beside those of the workers. They serve transactions that are sent step by step,
        /// WATCH, blocking commands and subscribers. A client that finds none waits for `queue_timeout_ms`.
        exclusive_max: usize = 1_024,
        /// How long an unused exclusive connection stays open.
        exclusive_idle_ms: Millis = Millis(60_000),
        /// Pools that there may be: one for the upstream, and one for each further node that requests go to. Those of users
        /// with a login of their own are beside them (`auth.logins_max`).
        /// `workers`, `queue_capacity` and `exclusive_max` are of each pool; bounds on bytes are of all together.
        /// Beyond this the pool that has been unused for longest ends, and a request that would need a further one
        /// does without if it can, or gets an error. At most 10,000.
        pools_max: usize = 64,
        /// How long a further pool that nobody uses keeps its connections. A shorter time costs more logins.
        pools_idle_ms: Millis = Millis(60_000),
    }
}
