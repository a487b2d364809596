//! What the configuration means: durations, addresses, limits. The only place where values are
//! checked; everything behind it trusts them.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    num::NonZeroUsize,
    time::Duration,
};

use pool::{Endpoint, Settings};

use crate::{
    Config, ConfigError, Listen, Place,
    log_settings::{ExportSettings, LogSettings, export_settings, log_settings},
    logins::users::Users,
    ranges::{at_least_one, count, millis, millis_or_zero, value, within},
    session::{SessionSettings, session_settings, users},
    upstream_tls,
};

/// More connections to one upstream than that are a mistake: a few keep it busy.
const WORKERS_MAX: usize = 1024;

/// The most connections that mini-redis accepts.
const EMBEDDED_WORKERS_MAX: usize = 250;

/// Levels of a reply up to which a connection looks for its end.
const DEPTH_MAX: usize = 64 * 1024;

/// More threads than that are a mistake.
const THREADS_MAX: usize = 1024;

/// All that the gateway needs to know to start.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Where clients come.
    pub listen: Vec<Listen>,
    /// A second process may listen on the same address.
    pub reuse_port: bool,
    /// Changes of the configuration file count as they come.
    pub watch: bool,
    /// Threads that serve clients.
    pub threads: NonZeroUsize,
    /// The upstream is a mini-redis in this process; its address in `pool` is filled in when it listens.
    pub embedded: bool,
    /// What the pool goes by.
    pub pool: Settings,
    /// What sessions go by.
    pub session: SessionSettings,
    /// `None`: each subscriber has a connection of its own.
    pub shared_pubsub: Option<PubSubSettings>,
    /// How long a drain may take.
    pub grace_period: Duration,
    /// What is logged and how.
    pub log: LogSettings,
    /// Where spans are exported to, if anywhere.
    pub export: Option<ExportSettings>,
    /// Where metrics are shown, if anywhere.
    pub http: Option<(SocketAddr, HttpSettings)>,
    /// What to say of an upstream that does not have to prove who it is.
    unproven: Option<&'static str>,
}

/// What those who ask for metrics are bound by.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Who may see the web console and the status; anybody who reaches a loopback address if there are none.
    pub users: Users,
    /// Connections at a time, web consoles not counted.
    pub connections_max: usize,
    /// Web consoles at a time.
    pub consoles_max: usize,
    /// How long a request and its reply may take.
    pub timeout: Duration,
}

/// What shared pub/sub goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PubSubSettings {
    /// Messages of a channel that a subscriber may be behind.
    pub backlog_messages: usize,
    /// Bytes of messages that are kept for subscribers.
    pub backlog_bytes_max: usize,
    /// Channels and patterns, all clients together.
    pub subscriptions_max: usize,
}

impl GatewaySettings {
    /// What `config` means.
    ///
    /// # Errors
    /// A value is out of range, contradicts another, or names nothing. The error names the key.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
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
            unproven: upstream_tls::unproven(config),
        })
    }

    /// What to say if the upstream does not have to prove who it is.
    pub fn unproven(&self) -> Option<&'static str> {
        self.unproven
    }

    /// What to say if some threads have no worker.
    pub fn idle_threads(&self) -> Option<String> {
        let (threads, workers) = (self.threads.get(), self.pool.workers);
        let idle = threads.checked_sub(workers).filter(|idle| *idle > 0)?;
        Some(format!(
            "pool.workers = {workers} leaves {idle} of runtime.threads = {threads} without a worker; what their \
             clients send crosses threads"
        ))
    }
}

fn listen(config: &Config) -> Result<Vec<Listen>, ConfigError> {
    let mut all: Vec<Listen> = Vec::new();
    for text in config.listen.texts() {
        let listen: Listen = match text.parse() {
            Ok(listen) => listen,
            Err(error) => return value("listen", format!("\"{text}\": {error}")),
        };
        if all.iter().any(|other| other.place == listen.place && !is_any_port(&listen)) {
            return value("listen", format!("\"{text}\" stands there twice"));
        }
        if config.protected_mode && config.auth.users.is_empty() && is_open(&listen) {
            let problem = format!(
                "\"{text}\" reaches beyond this machine and nobody has to log in; add auth.users, or set protected_mode = false if that is meant"
            );
            return value("listen", problem);
        }
        all.push(listen);
    }
    if all.is_empty() {
        return value("listen", "names no address");
    }
    Ok(all)
}

/// Whether clients of other machines can come there.
fn is_open(listen: &Listen) -> bool {
    match &listen.place {
        Place::Tcp(addresses) => addresses.iter().any(|address| !address.ip().is_loopback()),
        Place::Unix(_) => false,
    }
}

/// Whether the system chooses the port.
fn is_any_port(listen: &Listen) -> bool {
    match &listen.place {
        Place::Tcp(addresses) => addresses.iter().all(|address| address.port() == 0),
        Place::Unix(_) => false,
    }
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
    match config.upstream.url.parse::<Endpoint>() {
        Ok(endpoint) => Ok((false, upstream_tls::secure(endpoint, config)?)),
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
        workers: within("pool.workers", pool.workers, WORKERS_MAX)?,
        pipeline_depth: count("pool.pipeline_depth", pool.pipeline_depth)?,
        queue_capacity: count("pool.queue_capacity", pool.queue_capacity)?,
        queue_bytes_max: at_least_one("pool.queue_bytes_max", pool.queue_bytes_max)?,
        queue_timeout: millis("pool.queue_timeout_ms", pool.queue_timeout_ms)?,
        pause_timeout: millis("pool.pause_timeout_ms", pool.pause_timeout_ms)?,
        reply_timeout: millis("pool.reply_timeout_ms", pool.reply_timeout_ms)?,
        reply_bytes_max: at_least_one("pool.reply_bytes_max", pool.reply_bytes_max)?,
        replies_bytes_max: at_least_one("pool.replies_bytes_max", pool.replies_bytes_max)?,
        reply_depth_max: within("pool.reply_depth_max", pool.reply_depth_max, DEPTH_MAX)?,
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

fn http_settings(config: &Config) -> Result<Option<(SocketAddr, HttpSettings)>, ConfigError> {
    let metrics = &config.metrics;
    let settings = HttpSettings {
        users: users("metrics.users", &metrics.users)?,
        consoles_max: metrics.consoles_max,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OneOrMore;

    fn problem(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        GatewaySettings::new(&config).expect_err("refused").to_string()
    }

    #[test]
    fn every_refusal_names_its_key() {
        assert!(problem(|config| config.pool.workers = 0).starts_with("pool.workers: "));
        assert!(problem(|config| config.pool.workers = 251).starts_with("pool.workers: "));
        let remote = |workers| {
            move |config: &mut Config| {
                config.upstream.url = "redis://h".into();
                config.pool.workers = workers;
            }
        };
        assert_eq!(problem(remote(8000)), "pool.workers: must be at most 1024");
        assert!(problem(|config| config.pool.reply_depth_max = 70_000).starts_with("pool.reply_depth_max: "));
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

    #[test]
    fn each_address_to_listen_on_is_checked() {
        let listen = |texts: &[&str]| {
            problem(|config| config.listen = OneOrMore::More(texts.iter().map(|text| (*text).to_owned()).collect()))
        };
        assert_eq!(listen(&[]), "listen: names no address");
        assert!(listen(&["127.0.0.1:1", "0.0.0.0:2"]).contains("\"0.0.0.0:2\" reaches beyond this machine"));
        assert!(listen(&["127.0.0.1:1", "unix:/r", "127.0.0.1:1"]).contains("\"127.0.0.1:1\" stands there twice"));
        assert!(listen(&["unix:/r", ":6380"]).starts_with("listen: \":6380\": no host"));
    }
}
