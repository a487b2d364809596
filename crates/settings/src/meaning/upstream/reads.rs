//! What the configuration says of reads: to which nodes they go, and how far a replica may be behind.

use std::time::Duration;

use pool::Endpoint;
use topology::Address;

use crate::{
    Config, ConfigError,
    meaning::{
        ranges::{millis, millis_or_zero, one_of, value},
        upstream::hosts::Hosts,
    },
};

/// The port where a replica's address names none.
const PORT: u16 = 6379;

/// The most replicas that may be listed.
const REPLICAS_MAX: usize = 32;

/// A node is asked this often within `replica_lag_max_ms`, so that a replica that keeps up is known to.
const QUESTIONS: u32 = 4;

/// Where reads go, if not all to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// To a replica, or to the primary where none may have them.
    PreferReplica,
    /// To a replica, or nowhere.
    Replica,
    /// To the node that answers soonest.
    Nearest,
}

/// What reads go by where they need not go to the primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadSettings {
    /// Where they go.
    pub reads: Reads,
    /// How long after a write its client reads from the primary in any case.
    pub own_writes: Duration,
    /// How far a replica may be behind.
    pub lag_max: Duration,
}

/// A primary that no sentinel looks after, and the replicas that are listed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleSettings {
    /// Where the URL leads.
    pub primary: Address,
    /// Beside those that the primary knows.
    pub replicas: Vec<Address>,
    /// How often they are asked when nothing happens.
    pub refresh: Duration,
}

impl ReadSettings {
    /// How often nodes have to be asked.
    pub fn period(&self) -> Duration {
        self.lag_max / QUESTIONS
    }
}

/// What `config` says of reads, for those who have nodes looked after: whether anybody's may go elsewhere.
pub(crate) fn read_settings(config: &Config) -> Result<Option<ReadSettings>, ConfigError> {
    let all = reads_of(config, "upstream.reads", "")?;
    let of_users =
        config.users.iter().map(|(name, user)| reads_of(config, &format!("users.{name}.reads"), &user.reads));
    of_users.into_iter().try_fold(all, |found, reads| Ok(found.or(reads?)))
}

/// What holds for the reads of a user with this `word` under `key`; where it is empty, what holds for all.
pub(crate) fn reads_of(config: &Config, key: &str, word: &str) -> Result<Option<ReadSettings>, ConfigError> {
    let upstream = &config.upstream;
    // Said even where it does not count.
    let own_writes = millis_or_zero("upstream.read_own_writes_ms", upstream.read_own_writes_ms, 1)?;
    let lag_max = millis("upstream.replica_lag_max_ms", upstream.replica_lag_max_ms, 50)?;
    let kinds = [None, Some(Reads::PreferReplica), Some(Reads::Replica), Some(Reads::Nearest)];
    let words = ["primary", "prefer_replica", "replica", "nearest"];
    let reads = if word.is_empty() { &upstream.reads } else { word };
    let reads = kinds[one_of(key, reads, words)?];
    Ok(reads.map(|reads| ReadSettings { reads, own_writes, lag_max }))
}

/// The node and its replicas, where reads need not go to it and no sentinel names the nodes.
pub(crate) fn single_settings(config: &Config, endpoint: &Endpoint) -> Result<Option<SingleSettings>, ConfigError> {
    let upstream = &config.upstream;
    let hosts = Hosts::of(&upstream.url);
    let (follows, is_cluster) = (hosts == Some(Hosts::Sentinels), hosts == Some(Hosts::Nodes));
    let listed = upstream.replicas.iter().map(|text| Address::with_default_port(text, PORT));
    let replicas = match listed.collect::<Result<Vec<_>, _>>() {
        Ok(replicas) => replicas,
        Err(error) => return value("upstream.replicas", error.to_string()),
    };
    if replicas.len() > REPLICAS_MAX {
        return value("upstream.replicas", format!("names more than {REPLICAS_MAX} replicas"));
    }
    if (follows || is_cluster) && !replicas.is_empty() {
        let who = if follows { "sentinels name" } else { "a cluster names" };
        return value("upstream.replicas", format!("{who} the replicas; list none"));
    }
    let Some(reads) = read_settings(config)?.filter(|_| !follows && !is_cluster) else { return Ok(None) };
    let Some((host, port)) = endpoint.host_and_port().filter(|_| upstream.url != "embedded") else {
        let problem = "only an upstream of redis://, redis-sentinel:// or redis-cluster:// has replicas";
        return value("upstream.reads", problem);
    };
    Ok(Some(SingleSettings { primary: Address::new(host, port), replicas, refresh: reads.period() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GatewaySettings;

    fn settings(upstream: &str) -> Result<GatewaySettings, String> {
        let config = toml::from_str(&format!("[upstream]\n{upstream}")).expect("TOML");
        GatewaySettings::new(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn replicas_are_known_where_there_may_be_some() {
        let all = "url = \"redis://h:7000\"\nreads = \"nearest\"\nreplicas = [\"r\", \"[::1]:7001\"]";
        let found = settings(all).unwrap();
        let single = found.single.unwrap();
        assert_eq!(
            (single.primary, single.replicas),
            (Address::new("h", 7000), vec![Address::new("r", 6379), Address::new("::1", 7001)])
        );
        assert_eq!(found.session.reads.map(|reads| reads.reads), Some(Reads::Nearest));
        assert!(settings("url = \"redis://h\"").unwrap().single.is_none(), "nobody asks for them");
        let followed = settings("url = \"redis-sentinel://s/m\"\nreads = \"replica\"").unwrap();
        assert!(followed.single.is_none() && followed.session.reads.is_some());
        let cluster = settings("url = \"redis-cluster://h\"\nreads = \"nearest\"").unwrap();
        assert!(cluster.single.is_none() && cluster.session.reads.is_some());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (upstream, key) in [
            ("reads = \"replica\"", "upstream.reads: only"),
            ("url = \"unix:///r\"\nreads = \"replica\"", "upstream.reads: only"),
            ("url = \"redis-cluster://h\"\nreplicas = [\"r\"]", "upstream.replicas: a cluster names"),
            ("url = \"redis://h\"\nreads = \"all\"", "upstream.reads: \"all\""),
            ("url = \"redis://h\"\nreplicas = [\"h:x\"]", "upstream.replicas: "),
            ("url = \"redis-sentinel://s/m\"\nreplicas = [\"h\"]", "upstream.replicas: sentinels"),
            ("url = \"redis://h\"\nreplica_lag_max_ms = 1", "upstream.replica_lag_max_ms: "),
        ] {
            let problem = settings(upstream).unwrap_err();
            assert!(problem.starts_with(key), "{problem}");
        }
    }
}
