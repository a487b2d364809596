//! What `redis-sentinel://…` means: which sentinels are asked for the primary of which service, and how.

use std::{sync::Arc, time::Duration};

use pool::{Endpoint, Password};
use topology::Address;

use crate::{
    Config, ConfigError,
    meaning::{
        ranges::{millis, millis_or_zero, value},
        upstream::hosts::{Hosts, Named},
    },
};

/// How the primary is followed.
#[derive(Debug, Clone)]
pub struct SentinelSettings {
    /// The name under which the sentinels know the primary.
    pub service: Arc<str>,
    /// Those that the URL names, in its order.
    pub sentinels: Vec<Address>,
    /// How to log in at any of them; the address says nothing.
    pub login: Endpoint,
    /// How often they and the nodes are asked when nothing happens.
    pub refresh: Duration,
    /// How long requests may wait for a primary.
    pub failover_wait: Duration,
}

/// The sentinels and the upstream that `upstream.url` means, if it names sentinels.
pub(crate) fn sentinel_settings(config: &Config) -> Result<Option<(SentinelSettings, Endpoint)>, ConfigError> {
    let section = &config.sentinel;
    let refresh = millis("sentinel.refresh_ms", section.refresh_ms, 10)?;
    let failover_wait = millis_or_zero("upstream.failover_wait_ms", config.upstream.failover_wait_ms, 1)?;
    if section.password.0.is_empty() && !section.user.is_empty() {
        return value("sentinel.user", "needs sentinel.password as well");
    }
    let Some(named) = Named::in_url(&config.upstream, Hosts::Sentinels)? else { return Ok(None) };
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let login = Endpoint::tcp("", 0).with_login(given(&section.user), given(&section.password.0).map(Password::from));
    let login = named.secured(login, &config.upstream.tls)?;
    let endpoint = named.endpoint(named.service.clone(), &config.upstream.tls)?;
    let service = named.service.as_str().into();
    Ok(Some((SentinelSettings { service, sentinels: named.hosts, login, refresh, failover_wait }, endpoint)))
}
