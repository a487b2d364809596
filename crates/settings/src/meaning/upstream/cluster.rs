//! What `redis-cluster://…` means: the nodes at which a cluster is looked for, and how to log in at any of its nodes.

use std::{collections::BTreeMap, time::Duration};

use pool::Endpoint;
use topology::Address;

use crate::{
    Config, ConfigError,
    meaning::{
        ranges::{bytes, millis, value},
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
    /// For the address that a node announces, the one at which it is reached from here, where that is another.
    pub reached_at: BTreeMap<Address, Address>,
    /// Bytes of the texts of loaded scripts that are kept.
    pub scripts_bytes_max: usize,
}

/// The cluster and the login that `upstream.url` means, if it names nodes of one.
pub(crate) fn cluster_settings(config: &Config) -> Result<Option<(ClusterSettings, Endpoint)>, ConfigError> {
    let refresh = millis("cluster.refresh_ms", config.cluster.refresh_ms, 10)?;
    let reached_at = match reached_at(&config.cluster.reached_at) {
        Ok(reached_at) => reached_at,
        Err(problem) => return value("cluster.reached_at", problem),
    };
    let scripts_bytes_max = bytes("cluster.scripts_bytes_max", config.cluster.scripts_bytes_max, 0)?;
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
    Ok(Some((ClusterSettings { seeds: parts.hosts, refresh, reached_at, scripts_bytes_max }, endpoint)))
}

fn reached_at(entries: &[String]) -> Result<BTreeMap<Address, Address>, String> {
    let mut found = BTreeMap::new();
    for entry in entries {
        let (announced, reached) =
            entry.split_once('=').ok_or_else(|| format!("\"{entry}\" is not announced=reached, each host:port"))?;
        let address = |text: &str| Address::with_default_port(text, PORT).map_err(|error| error.to_string());
        if found.insert(address(announced)?, address(reached)?).is_some() {
            return Err(format!("{announced} is named twice"));
        }
    }
    Ok(found)
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
    fn where_nodes_are_reached_that_announce_another_address() {
        let read = |entries: &[&str]| reached_at(&entries.iter().map(ToString::to_string).collect::<Vec<_>>());
        let found = read(&["10.0.0.1:7000=h:1", "n.internal=[::1]:2"]).expect("valid");
        assert_eq!(found[&Address::new("10.0.0.1", 7000)], Address::new("h", 1));
        assert_eq!(found[&Address::new("n.internal", PORT)], Address::new("::1", 2));
        for (wrong, said) in [
            (&["10.0.0.1:7000"][..], "announced=reached"),
            (&["a:x=b:1"], "a:x"),
            (&["a:1="], "is not a host"),
            (&["a:1=b:1", "a:1=c:1"], "twice"),
        ] {
            let problem = read(wrong).expect_err("wrong");
            assert!(problem.contains(said), "{problem}");
        }
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
