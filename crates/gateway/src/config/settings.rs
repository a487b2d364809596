//! What the configuration means: durations, addresses, limits. The only place where values are
//! checked; everything behind it trusts them.

use std::{
    collections::HashSet,
    net::{SocketAddr, ToSocketAddrs},
    num::NonZeroUsize,
    time::Duration,
};

use pool::{Endpoint, Settings};
use resp::RequestLimits;

use crate::config::{
    failed_logins::LoginBounds,
    file::{Config, ConfigError},
    log_settings::{ExportSettings, LogSettings, export_settings, log_settings},
    users::{Digest32, User, Users},
};

/// The most connections that mini-redis accepts.
const EMBEDDED_WORKERS_MAX: usize = 250;

/// More threads than that are a mistake.
const THREADS_MAX: usize = 1024;

/// More of anything than that is a mistake, and could not be set aside.
const COUNT_MAX: usize = 1 << 24;

/// More bytes than that no machine has; sums of a few such bounds are numbers still.
const BYTES_MAX: usize = 1 << 48;

/// More entries of the slow log, of about 5 KiB each, are a mistake.
const SLOW_ENTRIES_MAX: usize = 1 << 20;

/// A year: longer waits are mistakes.
const MILLIS_MAX: u64 = 365 * 24 * 3600 * 1000;

/// All that the gateway needs to know to start.
#[derive(Debug, Clone)]
pub(crate) struct GatewaySettings {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) reuse_port: bool,
    /// Changes of the configuration file count as they come.
    pub(crate) watch: bool,
    pub(crate) threads: NonZeroUsize,
    /// The upstream is a mini-redis in this process; its address in `pool` is filled in when it listens.
    pub(crate) embedded: bool,
    pub(crate) pool: Settings,
    pub(crate) session: SessionSettings,
    /// `None`: each subscriber has a connection of its own.
    pub(crate) shared_pubsub: Option<PubSubSettings>,
    pub(crate) grace_period: Duration,
    pub(crate) log: LogSettings,
    /// Where spans are exported to, if anywhere.
    pub(crate) export: Option<ExportSettings>,
    /// Where metrics are shown, if anywhere.
    pub(crate) http: Option<(SocketAddr, HttpSettings)>,
}

/// What those who ask for metrics are bound by.
#[derive(Debug, Clone)]
pub(crate) struct HttpSettings {
    pub(crate) connections_max: usize,
    pub(crate) timeout: Duration,
}

/// What sessions go by.
#[derive(Debug, Clone)]
pub(crate) struct SessionSettings {
    /// The upstream as error texts name it, without credentials.
    pub(crate) upstream: String,
    /// It is the one in this process.
    pub(crate) embedded: bool,
    pub(crate) clients_max: usize,
    pub(crate) limits: RequestLimits,
    pub(crate) input_bytes_max: usize,
    pub(crate) backlog_bytes_max: usize,
    pub(crate) replies_bytes_max: usize,
    pub(crate) batch_max: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) batch_reply_bytes: usize,
    pub(crate) queue_timeout: Duration,
    pub(crate) reply_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) db: u32,
    pub(crate) users: Users,
    /// Users who may use the console.
    pub(crate) admins: Vec<String>,
    pub(crate) login_timeout: Duration,
    pub(crate) slow_log: SlowLogSettings,
    pub(crate) logins: LoginBounds,
    /// `COMMAND` and `COMMAND|SUBCOMMAND`, in upper case.
    pub(crate) denied: HashSet<Vec<u8>>,
}

/// What the slow log goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlowLogSettings {
    /// What takes as long is slow; without a slow log nothing is.
    pub(crate) threshold_us: u64,
    pub(crate) entries_max: usize,
}

/// What shared pub/sub goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PubSubSettings {
    pub(crate) backlog_messages: usize,
    pub(crate) backlog_bytes_max: usize,
    pub(crate) subscriptions_max: usize,
}

pub(crate) fn value<T>(key: &'static str, problem: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Value { key, problem: problem.into() })
}

fn within(key: &'static str, number: usize, max: usize) -> Result<usize, ConfigError> {
    match number {
        0 => value(key, "must be at least 1"),
        number if number > max => value(key, format!("must be at most {max}")),
        number => Ok(number),
    }
}

/// A number of things of which each costs memory.
fn count(key: &'static str, number: usize) -> Result<usize, ConfigError> {
    within(key, number, COUNT_MAX)
}

/// A number of bytes, or of what else costs nothing before it is there.
fn at_least_one(key: &'static str, number: usize) -> Result<usize, ConfigError> {
    within(key, number, BYTES_MAX)
}

fn millis(key: &'static str, number: u64) -> Result<Duration, ConfigError> {
    match number {
        0 => value(key, "must be at least 1 ms"),
        1..=MILLIS_MAX => Ok(Duration::from_millis(number)),
        _ => value(key, format!("must be at most {MILLIS_MAX} ms")),
    }
}

fn millis_or_zero(key: &'static str, number: u64) -> Result<Duration, ConfigError> {
    if number == 0 { Ok(Duration::ZERO) } else { millis(key, number) }
}

impl GatewaySettings {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let threads = within("runtime.threads", config.runtime.threads, THREADS_MAX)?;
        let (embedded, endpoint) = endpoint(config)?;
        let pool = pool_settings(config, endpoint)?;
        if embedded && pool.workers > EMBEDDED_WORKERS_MAX {
            return value("pool.workers", format!("the embedded upstream takes {EMBEDDED_WORKERS_MAX} at most"));
        }
        Ok(Self {
            listen: listen(config)?,
            reuse_port: config.reuse_port,
            watch: watch(config)?,
            threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
            embedded,
            session: session_settings(config, &pool, embedded)?,
            pool,
            shared_pubsub: pubsub_settings(config)?,
            grace_period: millis_or_zero("shutdown.grace_period_ms", config.shutdown.grace_period_ms)?,
            log: log_settings(config)?,
            export: export_settings(config)?,
            http: http_settings(config)?,
        })
    }

    /// What to say if some threads have no worker.
    pub(crate) fn idle_threads(&self) -> Option<String> {
        let (threads, workers) = (self.threads.get(), self.pool.workers);
        let idle = threads.checked_sub(workers).filter(|idle| *idle > 0)?;
        Some(format!(
            "pool.workers = {workers} leaves {idle} of runtime.threads = {threads} without a worker; what their \
             clients send crosses threads"
        ))
    }
}

fn listen(config: &Config) -> Result<Vec<SocketAddr>, ConfigError> {
    let addresses: Vec<_> = match config.listen.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(error) => return value("listen", format!("\"{}\" is no address and port: {error}", config.listen)),
    };
    let open = config.protected_mode && config.auth.users.is_empty();
    if open && addresses.iter().any(|address| !address.ip().is_loopback()) {
        let problem = format!(
            "\"{}\" reaches beyond this machine and nobody has to log in; add auth.users, or set protected_mode = false if that is meant",
            config.listen
        );
        return value("listen", problem);
    }
    Ok(addresses)
}

fn watch(config: &Config) -> Result<bool, ConfigError> {
    match config.reload.as_str() {
        "signal" => Ok(false),
        "watch" => Ok(true),
        other => value("reload", format!("\"{other}\" is neither \"signal\" nor \"watch\"")),
    }
}

fn endpoint(config: &Config) -> Result<(bool, Endpoint), ConfigError> {
    if config.upstream.url == "embedded" {
        if cfg!(feature = "embedded") {
            return Ok((true, Endpoint::tcp("127.0.0.1", 0)));
        }
        return value("upstream.url", "this build has no embedded upstream, name one");
    }
    match config.upstream.url.parse() {
        Ok(endpoint) => Ok((false, endpoint)),
        // The URL may hold a password and is not repeated.
        Err(error) => value("upstream.url", error.to_string()),
    }
}

fn pool_settings(config: &Config, endpoint: Endpoint) -> Result<Settings, ConfigError> {
    let (pool, upstream) = (&config.pool, &config.upstream);
    let reconnect_delay_min = millis("upstream.reconnect_delay_min_ms", upstream.reconnect_delay_min_ms)?;
    let reconnect_delay_max = millis("upstream.reconnect_delay_max_ms", upstream.reconnect_delay_max_ms)?;
    if reconnect_delay_max < reconnect_delay_min {
        return value("upstream.reconnect_delay_max_ms", "must not be less than reconnect_delay_min_ms");
    }
    Ok(Settings {
        workers: count("pool.workers", pool.workers)?,
        pipeline_depth: count("pool.pipeline_depth", pool.pipeline_depth)?,
        queue_capacity: count("pool.queue_capacity", pool.queue_capacity)?,
        queue_bytes_max: at_least_one("pool.queue_bytes_max", pool.queue_bytes_max)?,
        queue_timeout: millis("pool.queue_timeout_ms", pool.queue_timeout_ms)?,
        pause_timeout: millis("pool.pause_timeout_ms", pool.pause_timeout_ms)?,
        reply_timeout: millis("pool.reply_timeout_ms", pool.reply_timeout_ms)?,
        reply_bytes_max: at_least_one("pool.reply_bytes_max", pool.reply_bytes_max)?,
        replies_bytes_max: at_least_one("pool.replies_bytes_max", pool.replies_bytes_max)?,
        reply_depth_max: count("pool.reply_depth_max", pool.reply_depth_max)?,
        connect_timeout: millis("upstream.connect_timeout_ms", upstream.connect_timeout_ms)?,
        reconnect_delay_min,
        reconnect_delay_max,
        keepalive: millis("upstream.keepalive_ms", upstream.keepalive_ms)?,
        lifetime: millis("upstream.lifetime_ms", upstream.lifetime_ms)?,
        exclusive_max: count("pool.exclusive_max", pool.exclusive_max)?,
        exclusive_idle: millis("pool.exclusive_idle_ms", pool.exclusive_idle_ms)?,
        endpoint,
    })
}

fn session_settings(config: &Config, pool: &Settings, embedded: bool) -> Result<SessionSettings, ConfigError> {
    let clients = &config.clients;
    let login_timeout = millis("auth.login_timeout_ms", config.auth.login_timeout_ms)?;
    let request_bytes_max = at_least_one("clients.request_bytes_max", clients.request_bytes_max)?;
    Ok(SessionSettings {
        upstream: if embedded { "embedded".to_owned() } else { pool.endpoint.to_string() },
        embedded,
        clients_max: count("clients.clients_max", clients.clients_max)?,
        limits: RequestLimits {
            request_bytes_max,
            args_max: count("clients.args_max", clients.args_max)?,
            bulk_bytes_max: RequestLimits::default().bulk_bytes_max,
            unauthenticated: false,
        },
        input_bytes_max: clients.input_bytes_max.min(BYTES_MAX),
        backlog_bytes_max: clients.backlog_bytes_max.min(BYTES_MAX),
        replies_bytes_max: pool.replies_bytes_max,
        batch_max: count("pool.batch_max", config.pool.batch_max)?,
        batch_bytes_max: at_least_one("pool.batch_bytes_max", config.pool.batch_bytes_max)?,
        batch_reply_bytes: at_least_one("pool.batch_reply_bytes", config.pool.batch_reply_bytes)?,
        queue_timeout: pool.queue_timeout,
        reply_timeout: pool.reply_timeout,
        write_timeout: millis("clients.write_timeout_ms", clients.write_timeout_ms)?,
        idle_timeout: Some(millis_or_zero("clients.idle_timeout_ms", clients.idle_timeout_ms)?)
            .filter(|timeout| !timeout.is_zero()),
        db: pool.endpoint.db,
        users: users(config)?,
        admins: admins(config)?,
        login_timeout,
        logins: LoginBounds {
            delay_min: millis_or_zero("auth.failure_delay_ms", config.auth.failure_delay_ms)?,
            delay_max: login_timeout,
            failures_max: count("auth.failures_max", config.auth.failures_max)?.try_into().unwrap_or(u32::MAX),
        },
        slow_log: slow_log_settings(config)?,
        denied: config.commands.deny.iter().map(|name| name.to_ascii_uppercase().into_bytes()).collect(),
    })
}

fn pubsub_settings(config: &Config) -> Result<Option<PubSubSettings>, ConfigError> {
    let pubsub = &config.pubsub;
    let settings = PubSubSettings {
        backlog_messages: count("pubsub.backlog_messages", pubsub.backlog_messages)?,
        backlog_bytes_max: at_least_one("pubsub.backlog_bytes_max", pubsub.backlog_bytes_max)?,
        subscriptions_max: count("pubsub.subscriptions_max", pubsub.subscriptions_max)?,
    };
    match pubsub.mode.as_str() {
        "dedicated" => Ok(None),
        "shared" => Ok(Some(settings)),
        other => value("pubsub.mode", format!("\"{other}\" is neither \"dedicated\" nor \"shared\"")),
    }
}

fn slow_log_settings(config: &Config) -> Result<SlowLogSettings, ConfigError> {
    let threshold_us = match config.slowlog.threshold_us {
        0 => u64::MAX,
        micros => micros,
    };
    let entries_max = at_least_one("slowlog.entries_max", config.slowlog.entries_max)?;
    if entries_max > SLOW_ENTRIES_MAX {
        return value("slowlog.entries_max", format!("must be at most {SLOW_ENTRIES_MAX}"));
    }
    Ok(SlowLogSettings { threshold_us, entries_max })
}

fn users(config: &Config) -> Result<Users, ConfigError> {
    let mut users = Vec::new();
    for (name, digest) in &config.auth.users {
        let Some(digest) = Digest32::parse(digest) else {
            return value(
                "auth.users",
                format!("the password of \"{name}\" is not 64 hexadecimal digits of a SHA-256"),
            );
        };
        users.push(User { name: name.clone(), digest });
    }
    Ok(Users(users))
}

fn http_settings(config: &Config) -> Result<Option<(SocketAddr, HttpSettings)>, ConfigError> {
    let metrics = &config.metrics;
    let settings = HttpSettings {
        connections_max: count("metrics.connections_max", metrics.connections_max)?,
        timeout: millis("metrics.timeout_ms", metrics.timeout_ms)?,
    };
    if metrics.listen.is_empty() {
        return Ok(None);
    }
    match metrics.listen.to_socket_addrs().map(|mut addresses| addresses.next()) {
        Ok(Some(address)) => Ok(Some((address, settings))),
        _ => value("metrics.listen", format!("\"{}\" is no address and port", metrics.listen)),
    }
}

fn admins(config: &Config) -> Result<Vec<String>, ConfigError> {
    match config.auth.admins.iter().find(|name| !config.auth.users.contains_key(*name)) {
        Some(name) => value("auth.admins", format!("\"{name}\" is not in auth.users")),
        None => Ok(config.auth.admins.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        GatewaySettings::new(&config).expect_err("refused").to_string()
    }

    #[test]
    fn every_refusal_names_its_key() {
        assert!(problem(|config| config.pool.workers = 0).starts_with("pool.workers: "));
        assert!(problem(|config| config.pool.workers = 251).starts_with("pool.workers: "));
        assert!(problem(|config| config.listen = "nonsense".into()).starts_with("listen: "));
        assert!(problem(|config| config.listen = "0.0.0.0:1".into()).contains("protected_mode"));
        assert!(problem(|config| config.pubsub.mode = "both".into()).starts_with("pubsub.mode: "));
        assert!(problem(|config| config.pool.queue_capacity = usize::MAX).starts_with("pool.queue_capacity: "));
        assert!(problem(|config| config.clients.clients_max = usize::MAX).starts_with("clients.clients_max: "));
        assert!(problem(|config| config.clients.idle_timeout_ms = u64::MAX).starts_with("clients.idle_timeout_ms: "));
        assert!(problem(|config| config.pubsub.backlog_messages = 0).starts_with("pubsub.backlog_messages: "));
        assert!(problem(|config| config.log.format = "xml".into()).starts_with("log.format: "));
        assert!(problem(|config| config.otel.endpoint = "gopher://x".into()).starts_with("otel.endpoint: "));
        assert!(problem(|config| config.otel.sample_ratio = f64::NAN).starts_with("otel.sample_ratio: "));
        assert!(problem(|config| config.reload = "never".into()).starts_with("reload: "));
        let secret = problem(|config| config.upstream.url = "http://:hunter2@host".into());
        assert!(secret.starts_with("upstream.url: ") && !secret.contains("hunter2"), "{secret}");
    }

    #[test]
    fn the_defaults_are_valid() {
        let settings = GatewaySettings::new(&Config::default()).expect("valid");
        assert!(settings.embedded);
        assert_eq!(settings.listen, ["127.0.0.1:6380".parse().expect("an address")]);
    }
}
