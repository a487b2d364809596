//! `[metrics]`: metrics and health over HTTP.

use crate::section::section;

section! {
    /// `[metrics]`
    Metrics {
        /// Address and port for `/metrics`, `/healthz`, `/readyz` and `/status` over HTTP, without a login; empty
        /// for none. Shows no keys nor values of clients. Needs a restart, as all of this section does.
        listen: String = "".into(),
        /// Connections there at a time; further ones wait.
        connections_max: usize = 16,
        /// How long one of them may last.
        timeout_ms: u64 = 5_000,
    }
}
