//! `[clients]`: how many clients there may be, and what each may send and leave unread.

use crate::section::section;

section! {
    /// `[clients]`
    Clients {
        /// Connected clients; a further one gets Redis's own error and is closed. An idle one costs about 3 KiB
        /// and a file descriptor.
        clients_max: usize = 10_000,
        /// A client that sends nothing for this long is closed; 0 is never, as in Redis.
        idle_timeout_ms: u64 = 0,
        /// A client that takes nothing of its replies for this long is closed.
        write_timeout_ms: u64 = 60_000,
        /// Seconds of silence after which the system asks a client of a TCP address whether it is still there. A client
        /// that does not answer three times is closed. 0: never.
        tcp_keepalive_s: usize = 300,
        /// Bytes of one request, framing included.
        request_bytes_max: usize = 536_870_912,
        /// Arguments of one request.
        args_max: usize = 1_048_576,
        /// Bytes of requests that are read ahead from a client that sends on without taking its replies, so that
        /// a program that writes all before it reads does not lock up.
        backlog_bytes_max: usize = 16_777_216,
        /// Bytes of requests that have not come completely yet, all clients together, beyond 64 KiB each. A
        /// client that would pass it gets an error and is closed.
        input_bytes_max: usize = 1_073_741_824,
    }
}
