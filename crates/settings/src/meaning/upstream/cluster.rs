//! What `redis-cluster://…` means: the nodes at which a cluster is looked for, and how to log in at any of its nodes.

use std::time::Duration;

use pool::Endpoint;
use topology::Address;

use crate::{
    Config, ConfigError,
    meaning::{
        ranges::{millis, value},
        upstream::{sentinels::Parts, tls},
    },
};

/// The scheme of a URL that names nodes of a cluster.
const SCHEME: &str = "redis-cluster://";
const TLS_SCHEME: &str = "rediss-cluster://";

/// The port where a URL names none.
const PORT: u16 = 6379;

/// How a cluster is found.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// The nodes that the URL names, in its order.
    pub seeds: Vec<Address>,
    /// How often a node is asked when nothing happens.
    pub refresh: Duration,
}

/// The cluster and the login that `upstream.url` means, if it names nodes of one.
pub(crate) fn cluster_settings(config: &Config) -> Result<Option<(ClusterSettings, Endpoint)>, ConfigError> {
    let refresh = millis("cluster.refresh_ms", config.cluster.refresh_ms, 10)?;
    let url = config.upstream.url.as_str();
    let (rest, is_tls) = match (url.strip_prefix(SCHEME), url.strip_prefix(TLS_SCHEME)) {
        (Some(rest), _) => (rest, false),
        (None, Some(rest)) => (rest, true),
        (None, None) => return Ok(None),
    };
    let parts = match read(rest) {
        Ok(parts) => parts,
        // The URL may hold a password and is not repeated.
        Err(problem) => return value("upstream.url", problem),
    };
    let shown: Vec<String> = parts.hosts.iter().map(Address::to_string).collect();
    let endpoint = Endpoint::service(format!("cluster {}", shown.join(",")))
        .with_login(parts.user, parts.password.map(Into::into));
    let mut endpoint = tls::secure(if is_tls { endpoint.by_tls() } else { endpoint }, &config.upstream.tls)?;
    endpoint.db = parts.db;
    Ok(Some((ClusterSettings { seeds: parts.hosts, refresh }, endpoint)))
}

fn read(rest: &str) -> Result<Parts, String> {
    let shape = "write redis-cluster://[user[:password]@]host[:6379],host2";
    let (login, hosts) = rest.rsplit_once('@').map_or(("", rest), |(login, hosts)| (login, hosts));
    let at = if rest.contains('@') { "@" } else { "" };
    let (hosts, db) = hosts.split_once('/').unwrap_or((hosts, ""));
    if hosts.is_empty() || hosts.contains(['?', '#']) || db.contains('/') {
        return Err(format!("names no nodes: {shape}"));
    }
    Parts::read(&format!("{login}{at}{hosts}/cluster/{db}"), PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_and_the_fewest() {
        let parts = read("app:p%40ss@n1,n2:7001,[::1]:7002/3").expect("valid");
        assert_eq!(parts.hosts, [Address::new("n1", 6379), Address::new("n2", 7001), Address::new("::1", 7002)]);
        assert_eq!((parts.user.as_deref(), parts.password.as_deref(), parts.db), (Some("app"), Some("p@ss"), 3));
        let parts = read("n1").expect("valid");
        assert_eq!((parts.hosts.len(), parts.user, parts.password, parts.db), (1, None, None, 0));
        assert_eq!(read(":pw@n1/").expect("valid").password.as_deref(), Some("pw"));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for rest in
            ["", "/0", "n1,,n2", "n1:x", "n1/x", "n1/0/1", "n1?timeout=3", "n1, n2", ":hunter2@", ":hunter2@n1:0"]
        {
            let problem = read(rest).expect_err(rest);
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }
}
