//! A URL that names several hosts: sentinels that look after a service, or nodes of a cluster.

use percent_encoding::percent_decode_str;
use pool::{Endpoint, Password};
use topology::Address;

use crate::{
    ConfigError,
    meaning::{ranges::value, upstream::tls},
    sections::upstream::{Upstream, UpstreamTls},
};

/// The most hosts that a URL may name.
const HOSTS_MAX: usize = 16;

/// What the hosts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// `redis-sentinel://[user[:password]@]host[:26379],host2/service[/db]`.
    Sentinels,
    /// `redis-cluster://[user[:password]@]host[:6379],host2[/db]`.
    Nodes,
}

/// What a URL with several hosts says.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) hosts: Vec<Address>,
    /// The name under which the sentinels know the primary; empty for nodes.
    pub(super) service: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<Password>,
    pub(super) db: u32,
    is_tls: bool,
}

impl Hosts {
    /// What the hosts of `url` are, if it may name several.
    pub(crate) fn of(url: &str) -> Option<Self> {
        Self::split(url).map(|(hosts, ..)| hosts)
    }

    /// The same with whether they are reached by TLS, and what follows the scheme.
    fn split(url: &str) -> Option<(Self, bool, &str)> {
        let (scheme, rest) = url.split_once("://")?;
        let (hosts, is_tls) = match scheme {
            "redis-sentinel" => (Self::Sentinels, false),
            "rediss-sentinel" => (Self::Sentinels, true),
            "redis-cluster" => (Self::Nodes, false),
            "rediss-cluster" => (Self::Nodes, true),
            _ => return None,
        };
        Some((hosts, is_tls, rest))
    }

    /// The port of a host that is named without one.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::Sentinels => 26379,
            Self::Nodes => 6379,
        }
    }

    fn shape(self) -> &'static str {
        match self {
            Self::Sentinels => {
                "names no service: write redis-sentinel://[user[:password]@]host[:26379],host2/service[/db]"
            }
            Self::Nodes => "names no nodes: write redis-cluster://[user[:password]@]host[:6379],host2",
        }
    }
}

impl Named {
    /// What `upstream.url` names, if its hosts are such ones.
    pub(super) fn in_url(upstream: &Upstream, wanted: Hosts) -> Result<Option<Self>, ConfigError> {
        match Self::read(&upstream.url, wanted) {
            Ok(named) => Ok(named),
            // The URL may hold a password and is not repeated.
            Err(problem) => value("upstream.url", problem),
        }
    }

    fn read(url: &str, wanted: Hosts) -> Result<Option<Self>, String> {
        let Some((_, is_tls, rest)) = Hosts::split(url).filter(|(hosts, ..)| *hosts == wanted) else {
            return Ok(None);
        };
        if rest.contains(|next: char| next.is_whitespace() || next.is_control()) {
            return Err("holds a space, which is %20 in a URL".to_owned());
        }
        let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (service, db) = match wanted {
            Hosts::Sentinels => path.split_once('/').unwrap_or((path, "")),
            Hosts::Nodes => ("", path),
        };
        let is_named = if wanted == Hosts::Nodes { !hosts.is_empty() } else { !service.is_empty() };
        if !is_named || rest.contains(['?', '#']) {
            return Err(wanted.shape().to_owned());
        }
        Ok(Some(Self {
            hosts: read_hosts(hosts, wanted.port())?,
            service: decoded(service),
            user: Some(decoded(user)).filter(|user| !user.is_empty()),
            password: password.map(|password| decoded(password).into()),
            db: read_db(db)?,
            is_tls,
        }))
    }

    /// `endpoint` by TLS, where the URL says so.
    pub(super) fn secured(&self, endpoint: Endpoint, tls: &UpstreamTls) -> Result<Endpoint, ConfigError> {
        tls::secure(if self.is_tls { endpoint.by_tls() } else { endpoint }, tls)
    }

    /// The login and the database of the URL at what is `called` so.
    pub(super) fn endpoint(&self, called: String, tls: &UpstreamTls) -> Result<Endpoint, ConfigError> {
        let endpoint = Endpoint::service(called).with_login(self.user.clone(), self.password.clone());
        let mut endpoint = self.secured(endpoint, tls)?;
        endpoint.db = self.db;
        Ok(endpoint)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn read_hosts(hosts: &str, port: u16) -> Result<Vec<Address>, String> {
    // Without an @ it may be a login: its text is not repeated.
    let read = |(number, host)| {
        Address::with_default_port(host, port)
            .map_err(|_| format!("names a host that is not host[:port], number {number}"))
    };
    let hosts: Vec<Address> = (1..).zip(hosts.split(',')).map(read).collect::<Result<_, _>>()?;
    match hosts.len() {
        0..=HOSTS_MAX => Ok(hosts),
        _ => Err(format!("names more than {HOSTS_MAX} hosts; name some, the others are found")),
    }
}

/// A database as it stands in a URL; none is 0.
fn read_db(text: &str) -> Result<u32, String> {
    let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
    match text {
        "" => Ok(0),
        digits => is_number
            .then(|| digits.parse().ok())
            .flatten()
            .ok_or_else(|| "names a database that is not a number from 0 to 4294967295".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinels(rest: &str) -> Result<Named, String> {
        Named::read(&format!("redis-sentinel://{rest}"), Hosts::Sentinels).map(|named| named.expect("its scheme"))
    }

    fn nodes(rest: &str) -> Result<Named, String> {
        Named::read(&format!("rediss-cluster://{rest}"), Hosts::Nodes).map(|named| named.expect("its scheme"))
    }

    fn login(named: &Named) -> (Option<&str>, Option<&str>) {
        let password = named.password.as_ref().map(|password| std::str::from_utf8(password.reveal()).expect("text"));
        (named.user.as_deref(), password)
    }

    #[test]
    fn all_parts_and_the_fewest() {
        let named = sentinels("app:p%40ss@s1,s2:7000,[::1]:7001/my%20service/3").expect("valid");
        assert_eq!(named.hosts, [Address::new("s1", 26379), Address::new("s2", 7000), Address::new("::1", 7001)]);
        assert_eq!((login(&named), named.db), ((Some("app"), Some("p@ss")), 3));
        assert_eq!((named.service.as_str(), named.is_tls), ("my service", false));
        let named = sentinels("s1/mymaster").expect("valid");
        assert_eq!((login(&named), named.db), ((None, None), 0));
        assert_eq!(login(&sentinels(":secret@s1/mymaster/").expect("valid")), (None, Some("secret")));
        // One of `nopass`, or whose password stands in a file.
        assert_eq!(login(&sentinels("app@s1/mymaster").expect("valid")), (Some("app"), None));

        let named = nodes("app:p%40ss@n1,n2:7001,[::1]:7002/3").expect("valid");
        assert_eq!(named.hosts, [Address::new("n1", 6379), Address::new("n2", 7001), Address::new("::1", 7002)]);
        assert_eq!((login(&named), named.db, named.is_tls), ((Some("app"), Some("p@ss")), 3, true));
        let named = nodes("n1").expect("valid");
        assert_eq!((named.hosts.len(), login(&named), named.db), (1, (None, None), 0));
        assert_eq!(login(&nodes(":pw@n1/").expect("valid")), (None, Some("pw")));
    }

    #[test]
    fn a_url_of_another_scheme_is_another_reader_s() {
        for url in ["redis://h", "embedded", "http://h/redis-cluster://n", "redis-cluster:/n"] {
            assert_eq!(Hosts::of(url), None, "{url}");
        }
        assert!(Named::read("redis-cluster://n", Hosts::Sentinels).expect("not read").is_none());
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        let wrong_sentinels = [
            "s1",
            "s1/",
            "/m",
            "s1,,s2/m",
            "s1:x/m",
            "s1/m/x",
            "s1/m?timeout=3",
            "s1/m/+3",
            "s1, s2/m",
            ":hunter2@s1",
            "app:hunter2/m",
        ];
        let wrong_nodes = [
            "",
            "/0",
            "n1,,n2",
            "n1:x",
            "n1/x",
            "n1/0/1",
            "n1?timeout=3",
            "n1, n2",
            ":hunter2@",
            ":hunter2@n1:0",
            "app:hunter2",
        ];
        let problems = wrong_sentinels.map(sentinels).into_iter().chain(wrong_nodes.map(nodes));
        for problem in problems {
            let problem = problem.expect_err("wrong");
            assert!(!problem.contains("hunter2"), "{problem}");
        }
        assert!(sentinels(&format!("{}/m", vec!["s"; 17].join(","))).is_err());
    }
}
