//! What the configuration means for sessions. A part of `settings`, which calls it.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroU32,
    time::Duration,
};

use pool::{Login, Settings};
use resp::RequestLimits;
use tls::ServerTls;

use crate::{
    Config, ConfigError, Trusted,
    logins::{
        failed_logins::LoginBounds,
        limits::{Limits, UserLimits},
        peers::Peers,
        users::{Digest32, User, Users},
    },
    meaning::{
        client_tls::{client_tls, names_users},
        denied::{blocking, denied, listed},
        ranges::{bytes, count, micros, millis, millis_or_zero, value, within},
        upstream::{
            cluster::{Presented, presented},
            hosts::Hosts,
            logins::{has_login, is_upstreams},
            reads::{ReadSettings, read_settings, reads_of},
        },
    },
    sections::clients::Clients,
    typed::units::Seconds,
};

/// Fewer bytes in a request, or fewer arguments, and the console could not be asked to raise the bound again.
const REQUEST_BYTES_MIN: usize = 512;
const ARGS_MIN: usize = 8;

/// A shorter wait, and an operator's client could not send its first request in time.
const CLIENT_MILLIS_MIN: u64 = 10;

/// What the system takes for the time of silence, at most.
const KEEPALIVE_SECONDS_MAX: u64 = 32_767;

/// More arguments are a mistake.
const ARGS_MAX: usize = 1 << 24;

/// Longer names are a mistake: every list of clients shows them all.
const NAME_BYTES_MAX: usize = 65_536;

/// More entries of the slow log, of about 5 KiB each, are a mistake.
const SLOW_ENTRIES_MAX: usize = 1 << 20;

impl SessionSettings {
    /// Whether it is a cluster of which clients are not to know.
    pub fn is_hidden_cluster(&self) -> bool {
        self.in_cluster && self.presented.is_none()
    }
}

/// What sessions go by.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// The upstream as error texts name it, without credentials.
    pub upstream: String,
    /// It is the one in this process.
    pub embedded: bool,
    /// It is a cluster.
    pub in_cluster: bool,
    /// Clients see it as a cluster of one node, and not as one Redis.
    pub presented: Option<Presented>,
    /// Connected clients.
    pub clients_max: usize,
    /// What one request may be.
    pub limits: RequestLimits,
    /// Bytes of a client's name.
    pub name_bytes_max: usize,
    /// Bytes of unfinished requests, all clients together, beyond 64 KiB each.
    pub input_bytes_max: usize,
    /// Bytes of requests that are read ahead of a client that does not take its replies.
    pub backlog_bytes_max: usize,
    /// Bytes of replies that all clients together have not read, beyond 64 KiB each.
    pub replies_bytes_max: usize,
    /// Requests in one burst.
    pub batch_max: usize,
    /// Bytes of one burst.
    pub batch_bytes_max: usize,
    /// Bytes that the replies to one burst should have.
    pub batch_reply_bytes: usize,
    /// How long a request may wait for a worker.
    pub queue_timeout: Duration,
    /// How long a reply may take.
    pub reply_timeout: Duration,
    /// A client that takes nothing for this long is closed.
    pub write_timeout: Duration,
    /// A client that sends nothing for this long is closed, if any.
    pub idle_timeout: Option<Duration>,
    /// A client is closed that sends nothing for this long in a transaction or while it watches keys, if any.
    pub transaction_idle: Option<Duration>,
    /// Exclusive connections of clients of one host and user.
    pub exclusive_share: usize,
    /// A client is asked whether it is still there after so long a silence, if ever.
    pub tcp_keepalive: Option<Duration>,
    /// The load balancers that may say where a client is.
    pub trusted: Trusted,
    /// TLS to clients, if there is a certificate to show.
    pub tls: Option<ServerTls>,
    /// The name in a client's certificate is that of its user.
    pub user_from_certificate: bool,
    /// How long a client may take to what comes before its first request.
    pub handshake_timeout: Duration,
    /// How many clients may be at that.
    pub handshakes_max: usize,
    /// The database that a session begins in.
    pub db: u32,
    /// Where reads go, if not all to the primary.
    pub reads: Option<ReadSettings>,
    /// Who may log in.
    pub users: Users,
    /// For how long a login that the upstream has let in need not be asked again.
    pub login_fresh: Duration,
    /// Clients of unix sockets who need no password.
    pub peers: Peers,
    /// Users who may use the console.
    pub admins: Vec<String>,
    /// How long a client may take to log in.
    pub login_timeout: Duration,
    /// What the slow log goes by.
    pub slow_log: SlowLogSettings,
    /// What a wrong password costs.
    pub logins: LoginBounds,
    /// `COMMAND` and `COMMAND|SUBCOMMAND`, in upper case.
    pub denied: HashSet<Vec<u8>>,
    /// Commands of modules that block and do not say so, in upper case.
    pub blocking: HashSet<Vec<u8>>,
    /// What each user may do.
    pub of_users: Limits,
}

/// What the slow log goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowLogSettings {
    /// What takes as long is slow; without a slow log nothing is.
    pub threshold_us: u64,
    /// How many are kept.
    pub entries_max: usize,
}

pub(crate) fn session_settings(
    config: &Config,
    pool: &Settings,
    embedded: bool,
    logins: BTreeMap<String, Login>,
) -> Result<SessionSettings, ConfigError> {
    let (clients, auth) = (&config.clients, &config.auth);
    let idle_timeout = millis_or_zero("clients.idle_timeout_ms", clients.idle_timeout_ms, CLIENT_MILLIS_MIN)?;
    let transaction_idle =
        millis_or_zero("clients.transaction_idle_ms", clients.transaction_idle_ms, CLIENT_MILLIS_MIN)?;
    let login_timeout = millis("auth.login_timeout_ms", auth.login_timeout_ms, CLIENT_MILLIS_MIN)?;
    let request_bytes_max = bytes("clients.request_bytes_max", clients.request_bytes_max, REQUEST_BYTES_MIN)?;
    Ok(SessionSettings {
        upstream: if embedded { "embedded".to_owned() } else { pool.endpoint.to_string() },
        embedded,
        in_cluster: Hosts::of(&config.upstream.url) == Some(Hosts::Nodes),
        presented: presented(config)?,
        clients_max: count("clients.clients_max", clients.clients_max)?,
        limits: RequestLimits {
            request_bytes_max,
            args_max: within("clients.args_max", clients.args_max, ARGS_MIN, ARGS_MAX)?,
            bulk_bytes_max: RequestLimits::default().bulk_bytes_max,
            unauthenticated: false,
        },
        name_bytes_max: within("clients.name_bytes_max", clients.name_bytes_max.0, 0, NAME_BYTES_MAX)?,
        input_bytes_max: bytes("clients.input_bytes_max", clients.input_bytes_max, 0)?,
        backlog_bytes_max: bytes("clients.backlog_bytes_max", clients.backlog_bytes_max, 0)?,
        replies_bytes_max: pool.replies_bytes_max,
        batch_max: count("pool.batch_max", config.pool.batch_max)?,
        batch_bytes_max: bytes("pool.batch_bytes_max", config.pool.batch_bytes_max, 1)?,
        batch_reply_bytes: bytes("pool.batch_reply_bytes", config.pool.batch_reply_bytes, 1)?,
        queue_timeout: pool.queue_timeout,
        reply_timeout: pool.reply_timeout,
        write_timeout: millis("clients.write_timeout_ms", clients.write_timeout_ms, CLIENT_MILLIS_MIN)?,
        idle_timeout: Some(idle_timeout).filter(|timeout| !timeout.is_zero()),
        transaction_idle: Some(transaction_idle).filter(|timeout| !timeout.is_zero()),
        exclusive_share: share(clients, pool.exclusive_max)?,
        tcp_keepalive: tcp_keepalive(clients.tcp_keepalive_s)?,
        trusted: trusted(&config.trusted)?,
        tls: client_tls(config)?,
        user_from_certificate: names_users(config)?,
        handshake_timeout: millis("clients.handshake_timeout_ms", clients.handshake_timeout_ms, CLIENT_MILLIS_MIN)?,
        handshakes_max: count("clients.handshakes_max", clients.handshakes_max)?,
        db: pool.endpoint.db,
        reads: read_settings(config)?,
        users: Users { elsewhere: is_upstreams(config)?, upstream: logins, ..users("auth.users", &auth.users)? },
        login_fresh: millis_or_zero("auth.cache_ms", auth.cache_ms, 1)?,
        peers: peers(config)?,
        admins: admins(config)?,
        login_timeout,
        logins: LoginBounds {
            delay_min: millis_or_zero("auth.failure_delay_ms", auth.failure_delay_ms, 1)?,
            delay_max: login_timeout,
            failures_max: count("auth.failures_max", auth.failures_max)?.try_into().unwrap_or(u32::MAX),
        },
        slow_log: slow_log_settings(config)?,
        denied: denied(&config.commands)?,
        blocking: blocking(&config.commands)?,
        of_users: limits(config)?,
    })
}

fn trusted(texts: &[String]) -> Result<Trusted, ConfigError> {
    match Trusted::parse(texts) {
        Ok(trusted) => Ok(trusted),
        Err(text) => value("trusted", format!("\"{text}\" is neither an address nor a network as 10.0.0.0/8")),
    }
}

/// Of `max`, what clients of one host and user may have together.
pub(crate) fn share(clients: &Clients, max: usize) -> Result<usize, ConfigError> {
    let percent = within("clients.share_percent", clients.share_percent, 1, 100)?;
    let share = max.saturating_mul(percent).div_ceil(100);
    // The bound itself holds where the share is all of it, and says so.
    Ok(if share < max { share } else { usize::MAX })
}

fn tcp_keepalive(seconds: Seconds) -> Result<Option<Duration>, ConfigError> {
    match seconds.0 {
        0 => Ok(None),
        seconds @ ..=KEEPALIVE_SECONDS_MAX => Ok(Some(Duration::from_secs(seconds))),
        seconds => {
            value("clients.tcp_keepalive_s", format!("{seconds} s are not from 0 s to {KEEPALIVE_SECONDS_MAX} s"))
        }
    }
}

fn slow_log_settings(config: &Config) -> Result<SlowLogSettings, ConfigError> {
    let threshold_us = match micros("slowlog.threshold_us", config.slowlog.threshold_us)? {
        0 => u64::MAX,
        micros => micros,
    };
    let entries_max = within("slowlog.entries_max", config.slowlog.entries_max, 1, SLOW_ENTRIES_MAX)?;
    Ok(SlowLogSettings { threshold_us, entries_max })
}

/// The users of `key`, with the digests of their passwords.
pub(crate) fn users(key: &str, listed: &BTreeMap<String, String>) -> Result<Users, ConfigError> {
    let mut users = Vec::new();
    for (name, digest) in listed {
        if name.is_empty() || name.contains(|next: char| next.is_whitespace() || next == '\0') {
            return value(key, format!("\"{name}\" is no name of a user: it is empty or holds a space"));
        }
        let Some(digest) = Digest32::parse(digest) else {
            let problem = format!(
                "the password of \"{name}\" is not 64 hexadecimal digits; printf %s PASSWORD | sha256sum prints them"
            );
            return value(key, problem);
        };
        users.push(User { name: name.clone(), digest });
    }
    Ok(Users { list: users, ..Users::default() })
}

fn peers(config: &Config) -> Result<Peers, ConfigError> {
    let peers = match Peers::parse(&config.auth.peers) {
        Ok(peers) => peers,
        Err(problem) => return value("auth.peers", problem),
    };
    let is_upstreams = is_upstreams(config)?;
    let unknown = peers.users().find(|name| match is_upstreams {
        true => !config.users.get(*name).is_some_and(has_login),
        false => !config.auth.users.contains_key(*name),
    });
    match unknown {
        Some(name) if is_upstreams => value(
            "auth.peers",
            format!("\"{name}\" has no users.{name}.upstream_password_file to log in with upstream"),
        ),
        Some(name) => value("auth.peers", format!("\"{name}\" is not in auth.users")),
        None => Ok(peers),
    }
}

/// The name of the section that holds for users without one.
pub(crate) const ALL_OTHERS: &str = "*";

fn limits(config: &Config) -> Result<Limits, ConfigError> {
    let denied_to_all = denied(&config.commands)?;
    let reads = reads_of(config, "upstream.reads", &config.upstream.reads)?;
    let mut others = UserLimits { denied: denied_to_all.clone(), reads, ..UserLimits::default() };
    let mut named = Vec::new();
    for (name, user) in &config.users {
        let key = |key: &str| format!("users.{name}.{key}");
        let rate = within(&key("requests_per_second"), user.requests_per_second, 0, u32::MAX as usize)?;
        let limits = UserLimits {
            clients_max: Some(user.clients_max).filter(|max| *max > 0),
            requests_per_second: u32::try_from(rate).ok().and_then(NonZeroU32::new),
            reads: reads_of(config, &key("reads"), &user.reads)?.filter(|_| !has_login(user)),
            denied: denied_to_all.union(&listed(&key("deny"), &user.deny, &config.commands)?).cloned().collect(),
        };
        match name.as_str() {
            ALL_OTHERS => others = limits,
            _ => named.push((name.clone(), limits)),
        }
    }
    Ok(Limits::new(others, named))
}

fn admins(config: &Config) -> Result<Vec<String>, ConfigError> {
    match config.auth.admins.iter().find(|name| !config.auth.users.contains_key(*name)) {
        Some(_) if is_upstreams(config)? => Ok(config.auth.admins.clone()),
        Some(name) => value("auth.admins", format!("\"{name}\" is not in auth.users")),
        None => Ok(config.auth.admins.clone()),
    }
}
