//! `[auth]`: who may log in, and what a wrong password costs; `[users.NAME]`: what one user may do.

use std::collections::BTreeMap;

use crate::typed::{section::section, units::Millis};

section! {
    /// `[auth]`
    Auth {
        /// Who decides about logins. `gateway`: `users` of this section. `upstream`: the upstream does. A client logs in
        /// there with its own name and password, and all its requests run on connections that are logged in as that user,
        /// with exactly its rights. A client that does not log in is the upstream's default user, if that needs no
        /// password. Needs a restart.
        mode: String = "gateway".into() => AtStart,
        /// With `upstream`: for how long a login that was right is right for further clients without asking the upstream. A
        /// user that is disabled there may log in here until then. 0: each login is asked of the upstream.
        cache_ms: Millis = Millis(1_000),
        /// With `upstream`: logins that may be in use, each with a pool of connections of its own (`users.NAME.workers`). A
        /// further one gets an error. With a cluster they may have as many pools again at other nodes than the first, where
        /// the one that has been unused for longest makes room for a further one. At most 10,000.
        logins_max: usize = 1_000,
        /// Who may log in: each name with the SHA-256 of its password in hexadecimal. `printf %s PASSWORD |
        /// sha256sum` prints one. `AUTH password` without a name means the user "default". Without users nobody has
        /// to log in. A password may have 512 bytes; a longer one is refused without being hashed.
        users: BTreeMap<String, String> = BTreeMap::new(),
        /// Processes of this machine that need no password on a unix socket, as by PostgreSQL's `peer`: each is
        /// `SYSTEM_USER:USER`, or `USER` where both have one name. A process that runs as that system user (a name or a
        /// number) is that user of `users`.
        peers: Vec<String> = Vec::new(),
        /// Users who may use the console, see `RESPOOL HELP`. Without users, every client on this machine may.
        admins: Vec<String> = Vec::new(),
        /// A client that has to log in is closed if it has not done so after this long. At least 10.
        login_timeout_ms: Millis = Millis(10_000),
        /// How long the answer to a wrong password is delayed. Each further wrong password on the same connection
        /// doubles the delay, up to `login_timeout_ms`. Nobody else waits. 0: no delay, as in Redis.
        failure_delay_ms: Millis = Millis(250),
        /// Wrong passwords that one connection may send. With the last of them it is closed.
        failures_max: usize = 3,
    }
}

section! {
    /// `[users.NAME]`
    User {
        /// Connections of its pool, where it has one: the upstream decides about logins (`auth.mode`), or it has an
        /// `upstream_password_file`. A connection for requests that need one of their own is opened beside them, and closed
        /// when it is not used. At most 64.
        workers: usize = 1,
        /// The user of the upstream as which its requests run, with `upstream_password_file`. Empty: the one of the same name.
        upstream_user: String = String::new(),
        /// A file with the password of that user: its first line. Its requests then run on connections that are logged in as
        /// that user, with exactly its rights. Where the upstream decides about logins, it lets in those whom their
        /// certificate or their socket proves to be this user. Empty: the gateway's own user at the upstream.
        upstream_password_file: String = String::new(),
        /// Clients of this user at the same time. A further one gets an error at its login and has not logged in.
        /// 0: no bound but `clients.clients_max`.
        clients_max: usize = 0,
        /// Requests a second to the upstream, of all clients of this user together. A second's worth may come at once. A
        /// request beyond gets an error that says how long to wait. One that belongs to a transaction which has begun is
        /// counted and not refused. 0: no bound.
        requests_per_second: usize = 0,
        /// Where its reads go, as `upstream.reads` says it. Empty: where those of all go. With `upstream_password_file` they go
        /// to the primary.
        reads: String = String::new(),
        /// Commands that this user may not send, besides those of `commands.deny` and written in the same way.
        deny: Vec<String> = Vec::new(),
    }
}
