//! `[clients]`: how many clients there may be, and what each may send and leave unread.

use crate::typed::{
    section::section,
    units::{ByteCount, Millis, Seconds},
};

section! {
    /// `[clients]`
    Clients {
        /// Connected clients. A further client gets Redis's own error and is closed. An idle client costs about
        /// 3 KiB of memory and a file descriptor.
        clients_max: usize = 10_000,
        /// A client that sends nothing for this long is closed. 0: never, as in Redis. Otherwise at least 10.
        idle_timeout_ms: Millis = Millis(0),
        /// A client that has begun a transaction or watches keys, and sends nothing for this long, is closed. It holds an
        /// exclusive connection. 0: never, as in Redis. Otherwise at least 10.
        transaction_idle_ms: Millis = Millis(60_000),
        /// Percent of `pool.exclusive_max` that clients of one host and user may have together, and percent of
        /// `pubsub.subscriptions_max`. The rest is left to others. From 1; 100: all of it.
        share_percent: usize = 75,
        /// A client that reads nothing of its replies for this long is closed. At least 10.
        write_timeout_ms: Millis = Millis(60_000),
        /// How long a client of a TCP address may be silent until the system asks it whether it is still there. A client
        /// that does not answer three times is closed. In seconds, up to 32,767. 0: never.
        tcp_keepalive_s: Seconds = Seconds(300),
        /// How long the TLS handshake of a client may take, and the PROXY header before it, together. A client that takes
        /// longer is closed. At least 10.
        handshake_timeout_ms: Millis = Millis(5_000),
        /// TLS handshakes under way, and clients whose PROXY header has not come. Each costs some 20 KiB. Beyond this bound
        /// new clients wait until one ends. A client that has not gone on with its own for a second makes room.
        handshakes_max: usize = 1_024,
        /// Bytes of one request, with its framing. At least 512, so that the console stays within reach.
        request_bytes_max: ByteCount = ByteCount(536_870_912),
        /// Arguments of one request. At least 8, so that the console stays within reach.
        args_max: usize = 1_048_576,
        /// Bytes of the name that a client gives itself. The name is kept for as long as the client is connected, and
        /// `CLIENT LIST` shows the names of all clients. A longer name is refused. At most 65,536.
        name_bytes_max: ByteCount = ByteCount(1_024),
        /// Bytes of requests that are read ahead from a client which goes on sending without reading its replies.
        /// Without them a program that writes everything before it reads would lock up. Nothing is read ahead of a
        /// client that still has to log in.
        backlog_bytes_max: ByteCount = ByteCount(16_777_216),
        /// Bytes held for requests that have not arrived completely, or have no place in the queue yet, for all clients
        /// together. Of each client the first 64 KiB of either are not counted. Each argument costs up to 16 bytes besides its own. If a client needs more than there is,
        /// the client that holds the most gets an error and is closed: first among those that have not logged in, then of
        /// the user, and of its host, that holds the most. One client at a time may hold more than half, and counts as half.
        /// A second one waits for it, up to `pool.queue_timeout_ms`. What is read ahead takes half of it at most.
        input_bytes_max: ByteCount = ByteCount(1_073_741_824),
    }
}
