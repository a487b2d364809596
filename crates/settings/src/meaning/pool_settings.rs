//! What the configuration means for the pool: where the upstream is, how to log in there, and all bounds.

use std::{collections::BTreeMap, time::Duration};

use pool::{Endpoint, Login, Role, Settings};
use sha2::{Digest, Sha256};

use crate::{
    Config, ConfigError,
    meaning::{
        command_names::command_names,
        ranges::{bytes, count, millis, millis_or_zero, one_of, value, within},
        secret_file,
        upstream::{
            cluster::{ClusterSettings, cluster_settings},
            logins::{login_workers, logins, pools_max},
            sentinels::{SentinelSettings, sentinel_settings},
            tls,
        },
    },
};

/// The URL of the upstream in this process.
const EMBEDDED: &str = "embedded";

/// The key whose value is the name of a file.
const PASSWORD_FILE: &str = "upstream.password_file";

/// The most connections that mini-redis accepts.
const EMBEDDED_WORKERS_MAX: usize = 250;

/// Levels of a reply up to which a connection looks for its end.
const DEPTH_MAX: usize = 64 * 1024;

/// More connections to one upstream are a mistake: a few keep it busy.
const WORKERS_MAX: usize = 1_024;

/// Each has workers of its own: more is a mistake.
pub(crate) const POOLS_MAX: usize = 10_000;

/// What the pool goes by, and what is not for the pool to know.
pub(crate) struct PoolSettings {
    pub(crate) settings: Settings,
    /// The upstream is the one in this process.
    pub(crate) embedded: bool,
    /// Of users who have one of their own there.
    pub(crate) logins: BTreeMap<String, Login>,
    /// As in the gateway's settings.
    pub(crate) foreign: BTreeMap<String, [u8; 32]>,
    /// How the primary is followed, where sentinels look after the upstream.
    pub(crate) sentinel: Option<SentinelSettings>,
    /// Where the cluster is looked for, if the upstream is one.
    pub(crate) cluster: Option<ClusterSettings>,
}

/// How the upstream is followed, if it moves.
#[derive(Default)]
struct Followed {
    sentinel: Option<SentinelSettings>,
    cluster: Option<ClusterSettings>,
}

/// The upstream, and how it is followed; `note` is told the digest of what comes from a file.
fn endpoint(config: &Config, note: &mut dyn FnMut(&str, &[u8])) -> Result<(Endpoint, Followed), ConfigError> {
    let (url, password_file) = (&config.upstream.url, &config.upstream.password_file);
    let (by_sentinels, in_cluster) = (sentinel_settings(config)?, cluster_settings(config)?);
    if url == EMBEDDED {
        if cfg!(not(feature = "embedded")) {
            return value("upstream.url", "this build has no embedded upstream; name one, as redis://127.0.0.1:6379");
        }
        if !password_file.is_empty() {
            return value(PASSWORD_FILE, "the embedded upstream has no password");
        }
        return Ok((tls::secure(Endpoint::tcp("127.0.0.1", 0), &config.upstream.tls)?, Followed::default()));
    }
    let (endpoint, followed) = match (by_sentinels, in_cluster, url.parse()) {
        (Some((sentinel, endpoint)), _, _) => (endpoint, Followed { sentinel: Some(sentinel), cluster: None }),
        (None, Some((cluster, endpoint)), _) => (endpoint, Followed { sentinel: None, cluster: Some(cluster) }),
        (None, None, Ok(endpoint)) => (tls::secure(endpoint, &config.upstream.tls)?, Followed::default()),
        // The URL may hold a password and is not repeated.
        (None, None, Err(error)) => return value("upstream.url", format!("{error}")),
    };
    if let Some(sum) = endpoint.tls_sum() {
        note("upstream.tls", &sum.to_le_bytes());
    }
    if password_file.is_empty() {
        return Ok((endpoint, followed));
    }
    if endpoint.has_password() {
        return value(PASSWORD_FILE, "upstream.url has a password too; take one of them away");
    }
    let password = secret_file::read(PASSWORD_FILE, password_file)?;
    note(PASSWORD_FILE, password.as_bytes());
    Ok((endpoint.with_password(password.into()), followed))
}

fn role(name: &str) -> Result<Option<Role>, ConfigError> {
    let roles = [Some(Role::Primary), Some(Role::Replica), None];
    Ok(roles[one_of("upstream.role", name, ["primary", "replica", "any"])?])
}

/// What the configuration means for the pool.
pub(crate) fn pool_settings(config: &Config) -> Result<PoolSettings, ConfigError> {
    let embedded = config.upstream.url == EMBEDDED;
    let mut foreign = BTreeMap::new();
    let mut note = |key: &str, content: &[u8]| {
        foreign.insert(key.to_owned(), Sha256::digest(content).into());
    };
    let (endpoint, Followed { sentinel, cluster }) = endpoint(config, &mut note)?;
    let logins = logins(config, &mut note)?;
    // Said even where it does not count.
    let failover_wait = millis_or_zero("upstream.failover_wait_ms", config.upstream.failover_wait_ms, 1)?;
    let (pool, upstream) = (&config.pool, &config.upstream);
    let reconnect_delay_min = millis("upstream.reconnect_delay_min_ms", upstream.reconnect_delay_min_ms, 1)?;
    let reconnect_delay_max = millis("upstream.reconnect_delay_max_ms", upstream.reconnect_delay_max_ms, 1)?;
    if reconnect_delay_max < reconnect_delay_min {
        return value("upstream.reconnect_delay_max_ms", "must not be less than upstream.reconnect_delay_min_ms");
    }
    let (own_max, logins_max) = pools_max(config)?;
    let settings = Settings {
        workers: within("pool.workers", pool.workers, 1, WORKERS_MAX)?,
        pipeline_depth: count("pool.pipeline_depth", pool.pipeline_depth)?,
        queue_capacity: count("pool.queue_capacity", pool.queue_capacity)?,
        queue_bytes_max: bytes("pool.queue_bytes_max", pool.queue_bytes_max, 1)?,
        queue_timeout: millis("pool.queue_timeout_ms", pool.queue_timeout_ms, 1)?,
        failover_wait: if sentinel.is_some() || cluster.is_some() { failover_wait } else { Duration::ZERO },
        pause_timeout: millis("pool.pause_timeout_ms", pool.pause_timeout_ms, 1)?,
        reply_timeout: millis("pool.reply_timeout_ms", pool.reply_timeout_ms, 1)?,
        reply_bytes_max: bytes("pool.reply_bytes_max", pool.reply_bytes_max, 1)?,
        replies_bytes_max: bytes("pool.replies_bytes_max", pool.replies_bytes_max, 1)?,
        reply_depth_max: within("pool.reply_depth_max", pool.reply_depth_max, 1, DEPTH_MAX)?,
        connect_timeout: millis("upstream.connect_timeout_ms", upstream.connect_timeout_ms, 1)?,
        reconnect_delay_min,
        reconnect_delay_max,
        refused_delay_max: millis("upstream.refused_delay_max_ms", upstream.refused_delay_max_ms, 1)?,
        role: role(&upstream.role)?,
        check_interval: millis_or_zero("upstream.check_interval_ms", upstream.check_interval_ms, 100)?,
        keepalive: millis("upstream.keepalive_ms", upstream.keepalive_ms, 1)?,
        lifetime: millis("upstream.lifetime_ms", upstream.lifetime_ms, 1)?,
        exclusive_max: count("pool.exclusive_max", pool.exclusive_max)?,
        exclusive_idle: millis("pool.exclusive_idle_ms", pool.exclusive_idle_ms, 1)?,
        pools_max: own_max,
        logins_max,
        pools_idle: millis("pool.pools_idle_ms", pool.pools_idle_ms, 1)?,
        login_workers: login_workers(config)?,
        command_names: if embedded { &[] } else { command_names() },
        endpoint,
    };
    if embedded && settings.workers > EMBEDDED_WORKERS_MAX {
        return value("pool.workers", format!("the embedded upstream takes {EMBEDDED_WORKERS_MAX} at most"));
    }
    Ok(PoolSettings { settings, embedded, logins, foreign, sentinel, cluster })
}
