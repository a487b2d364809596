//! What `redis-cluster://…` means: the nodes at which a cluster is looked for, and how to log in at any of its nodes.

use std::{collections::BTreeMap, time::Duration};

use pool::Endpoint;
use topology::Address;

use crate::{
    Config, ConfigError,
    meaning::{
        ranges::{bytes, millis, one_of, value},
        upstream::hosts::{Hosts, Named},
    },
};

/// How clients see a cluster that is shown to them as one of a single node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Where that node is, if not where the client has come to.
    pub at: Option<Address>,
}

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
    let is_presented = presented(config)?.is_some();
    let named = match Named::in_url(&config.upstream, Hosts::Nodes)? {
        Some(named) => named,
        None if is_presented => {
            return value("cluster.present_as", "needs upstream.url to name a cluster: redis-cluster://…");
        }
        None => return Ok(None),
    };
    let shown: Vec<String> = named.hosts.iter().map(Address::to_string).collect();
    let endpoint = named.endpoint(format!("cluster {}", shown.join(",")), &config.upstream.tls)?;
    Ok(Some((ClusterSettings { seeds: named.hosts, refresh, reached_at, scripts_bytes_max }, endpoint)))
}

/// How clients are to see the cluster, if not as one Redis.
pub(crate) fn presented(config: &Config) -> Result<Option<Presented>, ConfigError> {
    let (key, announce) = ("cluster.announce", config.cluster.announce.as_str());
    let is_presented = one_of("cluster.present_as", &config.cluster.present_as, ["standalone", "cluster"])? == 1;
    let at = match Address::with_default_port(announce, Hosts::Nodes.port()) {
        _ if announce.is_empty() => None,
        _ if !is_presented => return value(key, "counts only with cluster.present_as = \"cluster\""),
        Ok(at) => Some(at),
        Err(error) => return value(key, error.to_string()),
    };
    Ok(is_presented.then_some(Presented { at }))
}

fn reached_at(entries: &[String]) -> Result<BTreeMap<Address, Address>, String> {
    let mut found = BTreeMap::new();
    for entry in entries {
        let (announced, reached) =
            entry.split_once('=').ok_or_else(|| format!("\"{entry}\" is not announced=reached, each host:port"))?;
        let address =
            |text: &str| Address::with_default_port(text, Hosts::Nodes.port()).map_err(|error| error.to_string());
        if found.insert(address(announced)?, address(reached)?).is_some() {
            return Err(format!("{announced} is named twice"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nodes_are_reached_that_announce_another_address() {
        let read = |entries: &[&str]| reached_at(&entries.iter().map(ToString::to_string).collect::<Vec<_>>());
        let found = read(&["10.0.0.1:7000=h:1", "n.internal=[::1]:2"]).expect("valid");
        assert_eq!(found[&Address::new("10.0.0.1", 7000)], Address::new("h", 1));
        assert_eq!(found[&Address::new("n.internal", 6379)], Address::new("::1", 2));
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
}
