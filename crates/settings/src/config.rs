//! The configuration file as a whole, as it is typed, and how it is read. What it means for the program is decided
//! in `settings`, the only validation.

use std::path::Path;

use crate::{
    ConfigError, OneOrMore,
    section::section,
    sections::{
        auth::Auth,
        clients::Clients,
        commands::Commands,
        log::{Log, Otel},
        metrics::Metrics,
        pool::Pool,
        process::{Runtime, Shutdown},
        pubsub::PubSub,
        slowlog::SlowLog,
        upstream::Upstream,
    },
};

section! {
    /// The whole file.
    Config {
        /// Where clients connect: one address or a list of them, each `host:port` or
        /// `unix:/path?mode=660&group=NAME`. An address beyond this machine needs users, or `protected_mode = false`.
        /// Needs a restart.
        listen: OneOrMore = "127.0.0.1:6380".into(),
        /// Refuse to listen beyond loopback while nobody has to log in. Off: anyone who can reach the port can
        /// use the upstream.
        protected_mode: bool = true,
        /// Let a second process listen on the same address, so that a new one takes over while the old one
        /// drains. Off: a second one is refused, which tells of a mistake. Needs a restart.
        reuse_port: bool = false,
        /// When the configuration file is read again: `signal` for SIGHUP and `RESPOOL RELOAD` only; `watch` also when
        /// what is in it has changed. Replace a watched file by renaming rather than writing in place: half a file may
        /// be valid, too. Needs a restart.
        reload: String = "signal".into(),
        /// `[runtime]`
        runtime: Runtime = Runtime::default(),
        /// `[upstream]`
        upstream: Upstream = Upstream::default(),
        /// `[pool]`
        pool: Pool = Pool::default(),
        /// `[clients]`
        clients: Clients = Clients::default(),
        /// `[auth]`
        auth: Auth = Auth::default(),
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
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        Self::parse(&text).map_err(|problem| ConfigError::Parse { path: path.to_owned(), problem })
    }

    /// Reads the text of a file; otherwise where it is wrong and how. What stands there is not repeated, since it
    /// may be a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let number = before.matches('\n').count() + 1;
            let line = before.rsplit('\n').next().unwrap_or_default();
            let key = line.split_once('=').map_or(String::new(), |(key, _)| format!("{}: ", key.trim()));
            format!("line {number}, column {}: {key}{}", line.chars().count() + 1, without_values(error.message()))
        })
    }
}

/// A reader's message without the value that it found to be of the wrong type.
pub fn without_values(message: &str) -> String {
    let Some(at) = message.find("string \"") else { return message.to_owned() };
    // What was expected follows the value, which itself may hold anything.
    let rest = message.rfind("\", expected").map_or("", |end| &message[end + 1..]);
    format!("{}a string{rest}", &message[..at])
}

impl Config {
    /// As it may be shown: without passwords and their digests.
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        let digests = shown.auth.users.values_mut().chain(shown.metrics.users.values_mut());
        digests.for_each(|digest| *digest = "(set)".into());
        if let Some((before, address)) = self.upstream.url.rsplit_once('@')
            && let Some((scheme, _)) = before.split_once("://")
        {
            shown.upstream.url = format!("{scheme}://(login)@{address}");
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_secret() {
        let mut config = Config::default();
        config.upstream.url = "redis://user:p%40ss@host:1/2".into();
        config.auth.users.insert("app".into(), "f52f".into());
        let shown = config.without_secrets();
        assert_eq!(shown.upstream.url, "redis://(login)@host:1/2");
        assert_eq!(shown.auth.users["app"], "(set)");
        let debug = format!("{config:?}");
        assert!(debug.contains("login_timeout_ms") && !debug.contains("p%40ss") && !debug.contains("f52f"), "{debug}");
        assert_eq!(Config::default().without_secrets(), Config::default());
    }

    #[test]
    fn an_error_tells_the_place_and_not_what_stands_there() {
        for (text, place) in [
            ("[upstream]\nurl = \"redis://:hunter2@host", "line 2, column "),
            ("[auth.users]\napp = hunter2", "line 2, column 7: "),
            ("[auth]\nusers = \"hunter2\"", "line 2, column 9: "),
            ("[pool]\nworkers = \"hunter2\\\", expected hunter2\"", "line 2, column 11: "),
            ("[auth]\nadmins = [\"a\"]\nfailures_max = \"hunter2\"", "line 3, column 16: "),
        ] {
            let problem = Config::parse(text).expect_err("refused");
            assert!(problem.starts_with(place) && !problem.contains("hunter2"), "{problem}");
        }
        let problem = Config::parse("[pool]\nworkers = \"x\"").expect_err("refused");
        assert_eq!(problem, "line 2, column 11: workers: invalid type: a string, expected usize");
    }

    const SHIPPED: &str = include_str!("../../../config/respool.toml");

    #[test]
    fn the_shipped_file_holds_every_key_with_its_default() {
        let shipped: toml::Table = SHIPPED.parse().expect("valid TOML");
        let defaults = toml::Table::try_from(Config::default()).expect("serializable");
        assert_eq!(shipped, defaults);
    }
}
