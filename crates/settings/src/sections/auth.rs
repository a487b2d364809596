//! `[auth]`: who may log in, and what a wrong password costs.

use std::collections::BTreeMap;

use crate::section::section;

section! {
    /// `[auth]`
    Auth {
        /// Who may log in: a name and the SHA-256 of the password in hexadecimal, as from
        /// `printf %s PASSWORD | sha256sum`. `AUTH password` means the user \"default\". Nobody has to log in
        /// while there are none.
        users: BTreeMap<String, String> = BTreeMap::new(),
        /// Users who may use the console, `RESPOOL HELP`. While nobody has to log in, every client on this
        /// machine may.
        admins: Vec<String> = Vec::new(),
        /// A client that has to log in and has not done so after this long is closed.
        login_timeout_ms: u64 = 10_000,
        /// How long the answer to a wrong password is held back; doubles with each further one on the same
        /// connection, up to `login_timeout_ms`. Nobody else waits for it. 0 is not at all, as in Redis.
        failure_delay_ms: u64 = 250,
        /// Wrong passwords that one connection may send; with the last of them it is closed.
        failures_max: usize = 3,
    }
}
