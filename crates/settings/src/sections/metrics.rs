//! `[metrics]`: metrics, health and the web console over HTTP.

use std::collections::BTreeMap;

use crate::section::section;

section! {
    /// `[metrics]`
    Metrics {
        /// Address and port for the web console at `/`, and for `/metrics`, `/healthz`, `/readyz` and `/status`, over
        /// HTTP; empty for none. Needs a restart, as all of this section does.
        listen: String = "".into(),
        /// Who may see the web console and `/status`: a name and the SHA-256 of the password, as in `auth.users`.
        /// Without users both are shown only if `metrics.listen` is an address of this machine alone. `/metrics`,
        /// `/healthz` and `/readyz` need no login.
        users: BTreeMap<String, String> = BTreeMap::new(),
        /// Connections there at a time. One more ends the oldest, so that a health check never waits for others.
        connections_max: usize = 16,
        /// Web consoles that may be open at a time, beside `connections_max`. Each costs one snapshot a second.
        consoles_max: usize = 4,
        /// How long a connection may take for its request and the reply; a web console, for one snapshot.
        timeout_ms: u64 = 5_000,
    }
}
