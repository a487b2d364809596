//! The configuration file as it is typed: one struct a section, defaults, and the meaning and cost of
//! each key. What it means for the program is decided in `settings`, the only validation.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why there is no configuration to start with. Names the key or the line.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    /// The file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("{}: {problem}", path.display())]
    Parse { path: PathBuf, problem: String },
    /// A value is out of range or contradicts another.
    #[error("{key}: {problem}")]
    Value { key: &'static str, problem: String },
    /// A change to a running configuration that cannot be read.
    #[error("{0}")]
    Console(String),
}

/// What `Debug` shows of a field: logs and panics have no business with credentials.
fn unless_secret<'v>(field: &str, value: &'v dyn fmt::Debug) -> &'v dyn fmt::Debug {
    if matches!(field, "url" | "users") { &"(not shown)" } else { value }
}

macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $($(#[$field_doc])* pub(crate) $field: $type,)*
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    $(.field(stringify!($field), unless_secret(stringify!($field), &self.$field)))*
                    .finish()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

section! {
    /// The whole file.
    Config {
        /// Address and port to listen on. Beyond loopback only with users, or with `protected_mode = false`.
        listen: String = "127.0.0.1:6380".into(),
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
        runtime: Runtime = Runtime::default(),
        upstream: Upstream = Upstream::default(),
        pool: Pool = Pool::default(),
        clients: Clients = Clients::default(),
        auth: Auth = Auth::default(),
        commands: Commands = Commands::default(),
        metrics: Metrics = Metrics::default(),
        slowlog: SlowLog = SlowLog::default(),
        pubsub: PubSub = PubSub::default(),
        shutdown: Shutdown = Shutdown::default(),
        log: Log = Log::default(),
        otel: Otel = Otel::default(),
    }
}

section! {
    /// `[runtime]`
    Runtime {
        /// Threads that serve clients, each with workers of its own in turn: set at least as many workers. Further
        /// ones help when one core is full; each has fewer clients, so batches are smaller and a command costs 10
        /// to 25 % more CPU. Needs a restart.
        threads: usize = 1,
    }
}

section! {
    /// `[upstream]`
    Upstream {
        /// `redis://[user[:password]@]host:port[/db]`, `unix:///path[?db=N]`, or `embedded` for a mini-redis in
        /// this process, which knows GET, SET, PUBLISH and little else.
        url: String = "embedded".into(),
        /// Connecting and logging in, together. Longer tolerates slow networks and delays the news of a dead one.
        connect_timeout_ms: u64 = 2_000,
        /// First pause after a failed attempt to connect; doubles with each failure, half of it by chance.
        reconnect_delay_min_ms: u64 = 5,
        /// Longest pause between attempts. While the upstream is down one worker tries; this is how late its
        /// return can be noticed.
        reconnect_delay_max_ms: u64 = 50,
        /// An idle connection gets a PING this often; the upstream's own `timeout` shortens it. Costs one command
        /// per connection and period.
        keepalive_ms: u64 = 15_000,
        /// Connections older than this, give or take a tenth, are replaced between two jobs, so that they follow
        /// a failover or a DNS change. Shorter costs logins.
        lifetime_ms: u64 = 3_600_000,
    }
}

section! {
    /// `[pool]`
    Pool {
        /// Worker tasks, each with one connection to the upstream. A further connection is used once those
        /// before it are full. More than a few help only an upstream that is far or has several threads.
        workers: usize = 4,
        /// Requests that a worker writes before it has their replies. Larger makes batches larger and a slow
        /// reply delay more others.
        pipeline_depth: usize = 1_024,
        /// Jobs (one a client at most) that wait for a worker. Costs about 200 bytes each when full, besides
        /// their requests. Needs a restart.
        queue_capacity: usize = 16_384,
        /// Bytes of requests, queued and in flight together. Clients whose requests do not fit wait.
        queue_bytes_max: usize = 67_108_864,
        /// How long a request may wait for a worker before it gets an error.
        queue_timeout_ms: u64 = 5_000,
        /// How long a request may be held back by `RESPOOL PAUSE` before it gets an error.
        pause_timeout_ms: u64 = 60_000,
        /// How long a request that was sent may wait for its reply before it gets an error. A connection that
        /// stays silent for twice as long is given up. A blocking request has the time that it asks for besides.
        reply_timeout_ms: u64 = 10_000,
        /// Requests of one client that go to a worker in one piece. Larger makes pipelining clients cheaper and
        /// the others wait longer behind them.
        batch_max: usize = 128,
        /// Bytes of these requests, unless a single one is larger.
        batch_bytes_max: usize = 1_048_576,
        /// What the replies to one such piece should cost, in bytes: a client whose replies are larger gets fewer
        /// requests at a time. Replies of one piece stay in memory until the client has read them.
        batch_reply_bytes: usize = 1_048_576,
        /// Bytes of the replies to one piece; beyond, the client gets an error instead.
        reply_bytes_max: usize = 1_073_741_824,
        /// Bytes of replies on their way or not read by their clients yet, all clients together, beyond 64 KiB
        /// each. Beyond, requests with large replies wait, and large replies nobody expected become an error.
        replies_bytes_max: usize = 268_435_456,
        /// Aggregates inside aggregates in one reply; an upstream that nests deeper is disconnected.
        reply_depth_max: usize = 32,
        /// Exclusive connections, for transactions sent piece by piece, WATCH, blocking commands and subscribers:
        /// the most that there may be beside the workers' own. A client beyond waits for `queue_timeout_ms`.
        exclusive_max: usize = 1_024,
        /// An exclusive connection that nobody borrowed for this long is closed.
        exclusive_idle_ms: u64 = 60_000,
    }
}

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

section! {
    /// `[commands]`
    Commands {
        /// Commands that no client may use, as `COMMAND` or `COMMAND|SUBCOMMAND`, in any case.
        deny: Vec<String> = Vec::new(),
    }
}

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

section! {
    /// `[slowlog]`
    SlowLog {
        /// What takes at least as long, in microseconds, is kept in the log that `RESPOOL SLOWLOG` shows: the wait for
        /// a connection and the upstream's time together. 0 keeps nothing. What is faster costs nothing.
        threshold_us: u64 = 10_000,
        /// Entries kept, and added in one second at most; the oldest go first. Costs up to 5 KiB each.
        entries_max: usize = 128,
    }
}

section! {
    /// `[pubsub]`
    PubSub {
        /// `dedicated`: a subscriber borrows an exclusive connection, and everything is as with Redis itself.
        /// `shared`: one further connection subscribes for all clients together, so that subscribers cost the
        /// upstream nothing; PUBLISH and PUBSUB NUMSUB then count the gateway as one subscriber, and messages
        /// published while the connection is lost and made anew are missed. Needs a restart.
        mode: String = "dedicated".into(),
        /// `shared`: messages of a channel or pattern that a client may be behind before it is closed, rounded up
        /// to a power of two. They are kept once for all clients. Costs 40 bytes each for every channel, used or
        /// not, besides the messages.
        backlog_messages: usize = 1_024,
        /// `shared`: bytes of messages that are kept for clients that have not read them, all channels together.
        /// Beyond, the oldest go, and clients that still had to read them are closed.
        backlog_bytes_max: usize = 67_108_864,
        /// `shared`: channels and patterns subscribed at the same time, all clients together. Further ones get an
        /// error.
        subscriptions_max: usize = 10_000,
    }
}

section! {
    /// `[shutdown]`
    Shutdown {
        /// After SIGTERM or SIGINT: how long accepted requests may take to finish before they are given up.
        grace_period_ms: u64 = 30_000,
    }
}

section! {
    /// `[log]`
    Log {
        /// Which messages: a level, or `target=level` directives separated by commas.
        filter: String = "info,mini_redis=off".into(),
        /// `text` or `json`, one line a message, on standard error.
        format: String = "text".into(),
    }
}

section! {
    /// `[otel]`
    Otel {
        /// Where spans go, as OTLP over HTTP: `http://host:4318` of an OpenTelemetry collector; empty for nowhere. One
        /// span a session and one a job, without keys or values. Costs about a microsecond a job; a collector that is
        /// slow or absent costs spans and nothing else. Only in builds with the feature `otel`. Needs a restart.
        endpoint: String = "".into(),
        /// The share of jobs and sessions that is exported, from 0 to 1. Needs a restart.
        sample_ratio: f64 = 0.01,
    }
}

impl Config {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        Self::parse(&text).map_err(|problem| ConfigError::Parse { path: path.to_owned(), problem })
    }

    /// Reads the text of a file; otherwise where it is wrong and how. What stands there is not repeated, since it
    /// may be a password.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
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
pub(crate) fn without_values(message: &str) -> String {
    let Some(at) = message.find("string \"") else { return message.to_owned() };
    // What was expected follows the value, which itself may hold anything.
    let rest = message.rfind("\", expected").map_or("", |end| &message[end + 1..]);
    format!("{}a string{rest}", &message[..at])
}

impl Config {
    /// As it may be shown: without passwords and their digests.
    pub(crate) fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        shown.auth.users.values_mut().for_each(|digest| *digest = "(set)".into());
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

    const SHIPPED: &str = include_str!("../../../../config/respool.toml");

    #[test]
    fn the_shipped_file_holds_every_key_with_its_default() {
        let shipped: toml::Table = SHIPPED.parse().expect("valid TOML");
        let defaults = toml::Table::try_from(Config::default()).expect("serializable");
        assert_eq!(shipped, defaults);
    }
}
