//! What `redis-sentinel://…` means: which sentinels are asked for the primary of which service, and how.

use std::{str::FromStr, sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use pool::{Endpoint, Password};
use topology::Address;

use crate::{
    Config, ConfigError,
    meaning::{
        ranges::{millis, millis_or_zero, value},
        upstream::tls,
    },
};

/// The scheme of a URL that names sentinels.
const SCHEME: &str = "redis-sentinel://";
const TLS_SCHEME: &str = "rediss-sentinel://";

/// The port where a URL names none.
const PORT: u16 = 26379;

/// The most hosts that a URL may name.
const HOSTS_MAX: usize = 16;

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

/// The parts of a URL that names several hosts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) hosts: Vec<Address>,
    service: String,
    pub(super) db: u32,
}

/// The sentinels and the upstream that `upstream.url` means, if it names sentinels.
pub(crate) fn sentinel_settings(config: &Config) -> Result<Option<(SentinelSettings, Endpoint)>, ConfigError> {
    let section = &config.sentinel;
    let refresh = millis("sentinel.refresh_ms", section.refresh_ms, 10)?;
    let failover_wait = millis_or_zero("upstream.failover_wait_ms", config.upstream.failover_wait_ms, 1)?;
    if section.password.0.is_empty() && !section.user.is_empty() {
        return value("sentinel.user", "needs sentinel.password as well");
    }
    let url = config.upstream.url.as_str();
    let (rest, is_tls) = match (url.strip_prefix(SCHEME), url.strip_prefix(TLS_SCHEME)) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return Ok(None),
    };
    let secured =
        |endpoint: Endpoint| tls::secure(if is_tls { endpoint.by_tls() } else { endpoint }, &config.upstream.tls);
    // The URL may hold a password and is not repeated.
    let parts: Parts = match rest.parse() {
        Ok(parts) => parts,
        Err(problem) => return value("upstream.url", problem),
    };
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let settings = SentinelSettings {
        service: parts.service.as_str().into(),
        sentinels: parts.hosts,
        login: secured(
            Endpoint::tcp("", 0).with_login(given(&section.user), given(&section.password.0).map(Password::from)),
        )?,
        refresh,
        failover_wait,
    };
    let mut endpoint =
        secured(Endpoint::service(parts.service).with_login(parts.user, parts.password.map(Password::from)))?;
    endpoint.db = parts.db;
    Ok(Some((settings, endpoint)))
}

impl FromStr for Parts {
    type Err = String;

    fn from_str(rest: &str) -> Result<Self, String> {
        Self::read(rest, PORT)
    }
}

impl Parts {
    /// Reads what follows the scheme; hosts without a port have `port`.
    pub(super) fn read(rest: &str, port: u16) -> Result<Self, String> {
        let shape = "write redis-sentinel://[user[:password]@]host[:26379],host2/service[/db]";
        if rest.contains(|next: char| next.is_whitespace() || next.is_control()) {
            return Err("holds a space, which is %20 in a URL".to_owned());
        }
        let (login, rest) = rest.rsplit_once('@').map_or((None, rest), |(login, rest)| (Some(login), rest));
        let (hosts, path) = rest.split_once('/').ok_or_else(|| format!("names no service: {shape}"))?;
        let (service, db) = path.split_once('/').unwrap_or((path, ""));
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = login.unwrap_or_default();
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (decode(user), Some(decode(password))),
            None => (decode(login), None),
        };
        if service.is_empty() || service.contains(['?', '#']) {
            return Err(format!("names no service: {shape}"));
        }
        let hosts = hosts.split(',').map(|host| Address::with_default_port(host, port));
        let hosts: Vec<Address> = hosts.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
        if hosts.len() > HOSTS_MAX {
            return Err(format!("names more than {HOSTS_MAX} hosts; name some, the others are found"));
        }
        let db = match db {
            "" => 0,
            db => {
                let number = db.bytes().all(|digit| digit.is_ascii_digit()).then(|| db.parse().ok()).flatten();
                number.ok_or("names a database that is not a number from 0 to 4294967295")?
            }
        };
        let user = Some(user).filter(|user| !user.is_empty());
        Ok(Self { user, password, hosts, service: decode(service), db })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_and_the_fewest() {
        let parts: Parts = "app:p%40ss@s1,s2:7000,[::1]:7001/my%20service/3".parse().expect("valid");
        let hosts = vec![Address::new("s1", 26379), Address::new("s2", 7000), Address::new("::1", 7001)];
        let (user, password) = (Some("app".to_owned()), Some("p@ss".to_owned()));
        assert_eq!(parts, Parts { user, password, hosts, service: "my service".into(), db: 3 });
        let parts: Parts = "s1/mymaster".parse().expect("valid");
        assert_eq!((parts.user, parts.password, parts.db), (None, None, 0));
        let parts: Parts = ":secret@s1/mymaster/".parse().expect("valid");
        assert_eq!((parts.user, parts.password.as_deref(), parts.db), (None, Some("secret"), 0));
        // One of `nopass`, or whose password stands in a file.
        let parts: Parts = "app@s1/mymaster".parse().expect("valid");
        assert_eq!((parts.user.as_deref(), parts.password), (Some("app"), None));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for rest in
            ["s1", "s1/", "/m", "s1,,s2/m", "s1:x/m", "s1/m/x", "s1/m?timeout=3", "s1/m/+3", "s1, s2/m", ":hunter2@s1"]
        {
            let problem = rest.parse::<Parts>().expect_err(rest);
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        assert!(vec!["s"; 17].join(",").parse::<Parts>().is_err());
    }
}
