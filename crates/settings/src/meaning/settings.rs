//! What the configuration means: durations, addresses, limits. The only place where values are
//! checked; everything behind it trusts them.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroUsize, time::Duration};

use pool::Settings;
use sha2::{Digest, Sha256};

use crate::{
    Config, ConfigError, Listen, Place,
    meaning::{
        log_settings::{LogSettings, log_settings},
        outside::{ExportSettings, HttpSettings, export_settings, http_settings},
        pool_settings::{PoolSettings, pool_settings},
        ranges::{bytes, count, millis_or_zero, one_of, value, within},
        session::{SessionSettings, session_settings, share},
        upstream::{
            cluster::ClusterSettings,
            reads::{SingleSettings, single_settings},
            sentinels::SentinelSettings,
        },
        warnings::warnings,
    },
    reading::environment::expand,
};

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
    /// The process may have transparent huge pages.
    pub huge_pages: bool,
    /// The upstream is a mini-redis in this process; its address in `pool` is filled in when it listens.
    pub embedded: bool,
    /// How the primary is followed, where sentinels look after the upstream.
    pub sentinel: Option<SentinelSettings>,
    /// The node and its replicas, where reads may go to those and no sentinel names them.
    pub single: Option<SingleSettings>,
    /// Where the cluster is looked for, if the upstream is one.
    pub cluster: Option<ClusterSettings>,
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
    /// What is valid and about never meant, each with its key.
    pub warnings: Vec<String>,
    /// For each key or section that names files of its own: a digest of their content, which tells whether it has
    /// changed.
    pub foreign: BTreeMap<String, [u8; 32]>,
}

/// What shared pub/sub goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PubSubSettings {
    /// All that clients subscribe to is shared, and not only events of the nodes of a cluster.
    pub for_all: bool,
    /// Messages of a channel that a subscriber may be behind.
    pub backlog_messages: usize,
    /// Bytes of messages that are kept for subscribers.
    pub backlog_bytes_max: usize,
    /// Channels and patterns, all clients together.
    pub subscriptions_max: usize,
    /// Of these, what clients of one host and user may have.
    pub subscriptions_share: usize,
}

impl GatewaySettings {
    /// What `config` means, with the variables of this process's environment.
    ///
    /// # Errors
    /// A value is out of range, contradicts another, or names nothing. The error names the key.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let expanded = expand(config, &|name| std::env::var(name).ok())?;
        let mut settings = Self::of(&expanded.config).map_err(|error| expanded.hide(error))?;
        // What is typed is what there is to warn of.
        settings.warnings = warnings(config, &settings);
        Ok(settings)
    }

    fn of(config: &Config) -> Result<Self, ConfigError> {
        let threads = within("runtime.threads", config.runtime.threads, 1, THREADS_MAX)?;
        let PoolSettings { settings: pool, embedded, logins, mut foreign, sentinel, cluster } = pool_settings(config)?;
        let session = session_settings(config, &pool, embedded, logins)?;
        if let Some(tls) = &session.tls {
            foreign.insert("tls".to_owned(), Sha256::digest(tls.sum().to_le_bytes()).into());
        }
        let settings = Self {
            listen: listen(config)?,
            reuse_port: config.reuse_port,
            watch: one_of("reload", &config.reload, ["signal", "watch"])? == 1,
            threads: NonZeroUsize::new(threads).unwrap_or(NonZeroUsize::MIN),
            huge_pages: config.runtime.huge_pages,
            embedded,
            sentinel,
            single: single_settings(config, &pool.endpoint)?,
            shared_pubsub: pubsub_settings(config, cluster.is_some())?,
            cluster,
            session,
            foreign,
            pool,
            grace_period: millis_or_zero("shutdown.grace_period_ms", config.shutdown.grace_period_ms, 1)?,
            log: log_settings(config)?,
            export: export_settings(config)?,
            http: http_settings(config)?,
            warnings: Vec::new(),
        };
        settings.refuse_collisions()?;
        Ok(settings)
    }

    /// Two of the addresses are the same, so that one of them could not be used, or the gateway would ask itself.
    fn refuse_collisions(&self) -> Result<(), ConfigError> {
        if let Some((metrics, _)) = self.http.as_ref()
            && let Some(listen) = self.listen.iter().find(|listen| listen.place.collides(&Place::Tcp(vec![*metrics])))
        {
            return value("metrics.listen", format!("{metrics} is taken by listen, \"{listen}\""));
        }
        let upstream = self.session.upstream.as_str();
        if let Some(listen) = self.listen.iter().find(|listen| listen.place.is_at(upstream)) {
            return value(
                "upstream.url",
                format!("leads to listen, \"{listen}\": the gateway would be its own upstream"),
            );
        }
        Ok(())
    }
}

fn listen(config: &Config) -> Result<Vec<Listen>, ConfigError> {
    let mut all: Vec<Listen> = Vec::new();
    for text in config.listen.texts() {
        let listen: Listen = match text.parse() {
            Ok(listen) => listen,
            Err(error) => return value("listen", format!("\"{text}\": {error}")),
        };
        if all.iter().any(|other| other.place.collides(&listen.place)) {
            return value("listen", format!("\"{text}\" is taken by an address before it"));
        }
        if listen.tls && config.tls.cert_file.is_empty() && config.tls.certificates.is_empty() {
            let problem = format!("\"{text}\" needs a certificate to show; name tls.cert_file and tls.key_file");
            return value("listen", problem);
        }
        if listen.proxy_protocol && matches!(listen.place, Place::Tcp(_)) && config.trusted.is_empty() {
            let problem = format!("\"{text}\" needs the addresses of the load balancers; name them in trusted");
            return value("listen", problem);
        }
        let proves = listen.tls && config.tls.client_auth == "required";
        let decided = !config.auth.users.is_empty() || config.auth.mode == "upstream";
        if config.protected_mode && !decided && !proves && listen.place.is_open() {
            let problem = format!(
                "\"{text}\" reaches beyond this machine and nobody has to log in; add auth.users, or set \
                 protected_mode = false if that is meant"
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

/// Of a cluster, events of keys are shared in any case.
fn pubsub_settings(config: &Config, is_cluster: bool) -> Result<Option<PubSubSettings>, ConfigError> {
    let pubsub = &config.pubsub;
    let subscriptions_max = count("pubsub.subscriptions_max", pubsub.subscriptions_max)?;
    let for_all = one_of("pubsub.mode", &pubsub.mode, ["dedicated", "shared"])? == 1;
    let settings = PubSubSettings {
        for_all,
        backlog_messages: count("pubsub.backlog_messages", pubsub.backlog_messages)?,
        backlog_bytes_max: bytes("pubsub.backlog_bytes_max", pubsub.backlog_bytes_max, 1)?,
        subscriptions_max,
        subscriptions_share: share(&config.clients, subscriptions_max)?,
    };
    Ok((for_all || is_cluster).then_some(settings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OneOrMore;

    fn problem(texts: &[&str]) -> String {
        let listen = OneOrMore::More(texts.iter().map(|text| (*text).to_owned()).collect());
        GatewaySettings::new(&Config { listen, ..Config::default() }).expect_err("refused").to_string()
    }

    #[test]
    fn each_address_to_listen_on_is_checked() {
        assert_eq!(problem(&[]), "listen: names no address");
        assert!(problem(&["127.0.0.1:1", "0.0.0.0:2"]).contains("\"0.0.0.0:2\" reaches beyond this machine"));
        assert!(problem(&["127.0.0.1:1", "unix:/r", "127.0.0.1:1"]).contains("\"127.0.0.1:1\" is taken by"));
        assert!(problem(&["127.0.0.1:0", "unix:/r", "unix:/r?mode=600"]).contains("\"unix:/r?mode=600\" is taken by"));
        assert!(problem(&["unix:/r", ":6380"]).starts_with("listen: \":6380\": no host"));
    }

    #[test]
    fn load_balancers_are_named_where_their_word_counts() {
        let proxied = "127.0.0.1:1?proxy_protocol=on";
        let wanted = format!("listen: \"{proxied}\" needs the addresses of the load balancers; name them in trusted");
        assert_eq!(problem(&[proxied]), wanted);
        let of = |listen: &str, trusted: &str| {
            let trusted = vec![trusted.to_owned()];
            GatewaySettings::new(&Config { listen: listen.into(), trusted, ..Config::default() })
        };
        let refused = of(proxied, "balancer").expect_err("no address").to_string();
        assert_eq!(refused, "trusted: \"balancer\" is neither an address nor a network as 10.0.0.0/8");
        let warnings = |listen, trusted| of(listen, trusted).expect("valid").warnings.join("\n");
        assert_eq!(warnings(proxied, "127.0.0.1"), "");
        assert!(warnings(proxied, "0.0.0.0/0").starts_with("trusted: every address is trusted"));
        assert!(warnings("127.0.0.1:1", "127.0.0.1").starts_with("trusted: no TCP address of listen"));
        assert!(warnings("unix:/r?proxy_protocol=on", "127.0.0.1").starts_with("trusted: no TCP address"));
    }

    #[test]
    fn the_defaults_are_valid() {
        let settings = GatewaySettings::new(&Config::default()).expect("valid");
        assert!(settings.embedded && settings.warnings.is_empty() && settings.foreign.is_empty());
        assert_eq!(settings.listen, ["127.0.0.1:6380".parse().expect("an address")]);
    }
}
