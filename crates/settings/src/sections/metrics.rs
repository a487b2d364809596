//! `[metrics]`: metrics, health and the web console over HTTP.

use std::collections::BTreeMap;

use crate::typed::{section::section, units::Millis};

section! {
    /// `[metrics]`
    Metrics {
        /// The address and port for the web console at `/`, and for `/metrics`, `/healthz`, `/readyz` and `/status`,
        /// over HTTP. Empty: none. They show no keys or values of clients. Needs a restart.
        listen: String = "".into() => AtStart,
        /// Who may see the web console and `/status`: each name with the SHA-256 of its password, as in
        /// `auth.users`. Without users both are shown only if `metrics.listen` is an address of this machine alone.
        /// `/metrics`, `/healthz` and `/readyz` need no login. Needs a restart.
        users: BTreeMap<String, String> = BTreeMap::new() => AtStart,
        /// Connections to this address at the same time. A further one ends the oldest, so that a health check never
        /// waits for others. Needs a restart.
        connections_max: usize = 16 => AtStart,
        /// Web consoles that may be open at the same time, beside `connections_max`. Each costs one snapshot a
        /// second. 0: none. Needs a restart.
        consoles_max: usize = 4 => AtStart,
        /// How long a connection may take for its request and the reply, and a web console for one snapshot. Needs a
        /// restart.
        timeout_ms: Millis = Millis(5_000) => AtStart,
    }
}
