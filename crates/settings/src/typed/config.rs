//! The configuration file as a whole, as it is typed: what stands before the first section, and the sections. What
//! it means for the program is decided in `meaning`, the only validation.

use std::collections::BTreeMap;

use crate::{
    OneOrMore,
    sections::{
        auth::{Auth, User},
        clients::Clients,
        commands::Commands,
        log::{Log, Otel},
        metrics::Metrics,
        pool::Pool,
        process::{Runtime, Shutdown},
        pubsub::PubSub,
        sentinel::{Cluster, Sentinel},
        slowlog::SlowLog,
        tls::Tls,
        upstream::Upstream,
    },
    typed::{kind::Typed, section::section},
};

section! {
    /// The whole file.
    Config {
        /// Where clients connect: one address or a list of them, each `host:port`,
        /// `tls://host:port` or `unix:/path?mode=660&group=NAME`. Of the addresses of a name only the first is listened at
        /// that can be, so list `127.0.0.1` and `[::1]` for both. `fd:NAME` in the place of `host:port` is a socket that
        /// systemd passes by this name. `?proxy_protocol=on` behind an address says that load
        /// balancers stand in front of it, which send a PROXY header first. An address beyond this machine needs users,
        /// or `protected_mode = false`. Needs a restart.
        listen: OneOrMore = "127.0.0.1:6380".into() => AtStart,
        /// The load balancers of addresses with `proxy_protocol=on`: addresses, or networks as `10.0.0.0/8`. Others are
        /// refused there, since they could pass for any client.
        trusted: Vec<String> = Vec::new(),
        /// Refuse to listen beyond loopback while nobody has to log in. With `false`, anyone who can reach the
        /// port can use the upstream. Needs a restart.
        protected_mode: bool = true => AtStart,
        /// Let a second process listen on the same address. Then a new process can take over while the old one
        /// drains. With `false` a second process is refused, so that a mistake is noticed. Needs a restart.
        reuse_port: bool = false => AtStart,
        /// When the gateway reads this file again. `signal`: at SIGHUP and at `RESPOOL RELOAD`. `watch`: also when
        /// the content of the file changes. Replace a watched file by renaming another file to its name: half a
        /// file may be valid too. Needs a restart.
        reload: String = "signal".into() => AtStart,
        /// `[runtime]`
        runtime: Runtime = Runtime::default(),
        /// `[upstream]`
        upstream: Upstream = Upstream::default(),
        /// How sentinels are asked, where the URL of the upstream names some.
        sentinel: Sentinel = Sentinel::default(),
        /// How the nodes of a cluster are asked, where the URL of the upstream names some.
        cluster: Cluster = Cluster::default(),
        /// `[pool]`
        pool: Pool = Pool::default(),
        /// `[clients]`
        clients: Clients = Clients::default(),
        /// `[tls]`
        tls: Tls = Tls::default(),
        /// `[auth]`
        auth: Auth = Auth::default(),
        /// What clients that have logged in as the user NAME may do. The section `[users."*"]` holds for each user without
        /// a section of its own. Where nobody has to log in, all clients are the user `default`.
        users: BTreeMap<String, User> = BTreeMap::new(),
        /// `[commands]`
        commands: Commands = Commands::default(),
        /// `[metrics]`
        metrics: Metrics = Metrics::default(),
        /// `[slowlog]`
        slowlog: SlowLog = SlowLog::default(),
        /// `[pubsub]`
        pubsub: PubSub = PubSub::default(),
        /// `[shutdown]`
        shutdown: Shutdown = Shutdown::default(),
        /// `[log]`
        log: Log = Log::default(),
        /// `[otel]`
        otel: Otel = Otel::default(),
    }
}

impl Config {
    /// As it may be shown: without passwords and their digests.
    pub fn without_secrets(&self) -> Self {
        self.shown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    #[test]
    fn what_is_shown_holds_no_secret() {
        let mut config = Config::default();
        config.upstream.url = "redis://user:p%40ss@host:1/2".into();
        config.otel.endpoint = "http://me:hunter2@host:4318".into();
        config.auth.users.insert("app".into(), "f52f".into());
        config.sentinel.password = Secret("of-sentinels".to_owned().into());
        let shown = config.without_secrets();
        assert_eq!(shown.upstream.url, "redis://(login)@host:1/2");
        assert_eq!(shown.auth.users["app"], "(set)");
        assert_eq!(*shown.sentinel.password.0, "(set)");
        let debug = format!("{config:?}");
        assert!(debug.contains("login_timeout_ms"), "{debug}");
        assert!(!["p%40ss", "hunter2", "f52f", "of-sentinels"].iter().any(|secret| debug.contains(secret)), "{debug}");
        assert_eq!(Config::default().without_secrets(), Config::default());
    }
}
