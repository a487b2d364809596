//! Where an upstream is and how to log in there: `redis://[user[:password]@]host:port[/db]`, `rediss://` for the same by
//! TLS, and `unix:///path[?db=N]`. Owns no connection; `stream` dials, `login` logs in.

use std::{fmt, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use thiserror::Error;
use tls::ClientTls;
use tokio::io::DuplexStream;
use url::Url;

/// An upstream: its address, and the credentials and database that its URL names.
#[derive(Clone)]
pub struct Endpoint {
    /// Where to connect.
    pub(crate) address: Address,
    /// ACL user; `None` for the password of `requirepass`.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// The database that sessions begin in.
    pub db: u32,
    /// Rises when all connections are to be replaced though nothing else has changed.
    pub(crate) epoch: u64,
}

#[derive(Clone)]
pub(crate) enum Address {
    /// Resolved anew for each connection.
    Tcp {
        host: String,
        port: u16,
    },
    /// As `Tcp`. Without TLS until [`Endpoint::secure`] has said how: it cannot be dialled until then.
    Tls {
        host: String,
        port: u16,
        tls: Option<ClientTls>,
    },
    Unix(PathBuf),
    /// Hands the other end of an in-memory stream to whoever listens, for tests.
    Memory(async_channel::Sender<DuplexStream>),
}

/// Why a URL names no upstream.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// It does not parse as a URL; holds why.
    #[error("not a URL: {0}")]
    Malformed(String),
    /// A scheme other than `redis`, `rediss` and `unix`.
    #[error("scheme \"{0}\" is not supported, use redis://, rediss:// or unix://")]
    Scheme(String),
    /// A `redis://` URL without a host.
    #[error("no host")]
    Host,
    /// The database is no number.
    #[error("the database is not a number from 0 to 4294967295")]
    Db,
}

impl Endpoint {
    /// An upstream at `host:port` without login.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self { address: Address::Tcp { host: host.into(), port }, user: None, password: None, db: 0, epoch: 0 }
    }

    /// Whether connections are made by TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.address, Address::Tls { .. })
    }

    /// Has connections made by `tls`, if they are made by TLS at all.
    pub fn secure(&mut self, with: &ClientTls) {
        if let Address::Tls { tls, .. } = &mut self.address {
            *tls = Some(with.clone());
        }
    }

    /// Connections are in-memory streams of 64 KiB each way, whose other ends arrive at the receiver.
    /// For tests under a paused clock.
    pub fn memory() -> (Self, async_channel::Receiver<DuplexStream>) {
        let (sender, receiver) = async_channel::bounded(64);
        (Self { address: Address::Memory(sender), user: None, password: None, db: 0, epoch: 0 }, receiver)
    }

    /// Whether connections of one are as good as connections of the other.
    pub(crate) fn leads_where(&self, other: &Self) -> bool {
        let same_address = match (&self.address, &other.address) {
            (Address::Memory(one), Address::Memory(two)) => one.same_channel(two),
            (Address::Tcp { .. }, Address::Tcp { .. }) | (Address::Unix(_), Address::Unix(_)) => {
                self.to_string() == other.to_string()
            }
            (Address::Tls { tls: one, .. }, Address::Tls { tls: two, .. }) => {
                one == two && self.to_string() == other.to_string()
            }
            (Address::Tcp { .. } | Address::Tls { .. } | Address::Unix(_) | Address::Memory(_), _) => false,
        };
        same_address && self.epoch == other.epoch && self.user == other.user && self.password == other.password
    }

    /// The request that logs in, if the upstream wants one.
    pub(crate) fn login(&self) -> Option<Vec<&str>> {
        let password = self.password.as_deref()?;
        Some(["AUTH"].into_iter().chain(self.user.as_deref()).chain([password]).collect())
    }

    fn from_url(url: &Url) -> Result<Self, EndpointError> {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (address, db) = match url.scheme() {
            scheme @ ("redis" | "rediss") => {
                let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EndpointError::Host)?;
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let db = Some(url.path().trim_start_matches('/').to_owned()).filter(|db| !db.is_empty());
                let port = url.port().unwrap_or(6379);
                let is_tls = scheme == "rediss";
                (if is_tls { Address::Tls { host, port, tls: None } } else { Address::Tcp { host, port } }, db)
            }
            "unix" => {
                let db = url.query_pairs().find(|(key, _)| key == "db").map(|(_, db)| db.into_owned());
                (Address::Unix(PathBuf::from(decode(url.path()))), db)
            }
            other => return Err(EndpointError::Scheme(other.to_owned())),
        };
        let db = db.map_or(Ok(0), |db| db.parse().map_err(|_| EndpointError::Db))?;
        let user = Some(decode(url.username())).filter(|user| !user.is_empty());
        Ok(Self { address, user, password: url.password().map(decode), db, epoch: 0 })
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_url(&Url::parse(text).map_err(|error| EndpointError::Malformed(error.to_string()))?)
    }
}

/// The address, without credentials.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { host, port } | Address::Tls { host, port, .. } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Address::Tcp { host, port } | Address::Tls { host, port, .. } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Memory(_) => f.write_str("memory"),
        }
    }
}

/// As `Display`: passwords never reach a log.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self}, db {})", self.db)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_redis_clients_write_them() {
        let endpoint: Endpoint = "redis://user:p%40ss@example:7000/3".parse().unwrap();
        assert_eq!(endpoint.to_string(), "example:7000");
        assert_eq!(
            (endpoint.user.as_deref(), endpoint.password.as_deref(), endpoint.db),
            (Some("user"), Some("p@ss"), 3)
        );
        assert!(!format!("{endpoint:?}").contains("p@ss"));
        let endpoint: Endpoint = "redis://:secret@[::1]".parse().unwrap();
        assert_eq!(endpoint.to_string(), "[::1]:6379");
        assert_eq!((endpoint.user, endpoint.password.as_deref(), endpoint.db), (None, Some("secret"), 0));
        let endpoint: Endpoint = "rediss://example/1".parse().unwrap();
        assert_eq!((endpoint.to_string().as_str(), endpoint.db, endpoint.is_tls()), ("example:6379", 1, true));
        let endpoint: Endpoint = "unix:///run/redis.sock?db=2".parse().unwrap();
        assert_eq!((endpoint.to_string().as_str(), endpoint.db), ("/run/redis.sock", 2));
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        assert_eq!("redis://host/x".parse::<Endpoint>().unwrap_err(), EndpointError::Db);
        assert_eq!("http://host".parse::<Endpoint>().unwrap_err(), EndpointError::Scheme("http".into()));
        assert!(matches!("nonsense".parse::<Endpoint>(), Err(EndpointError::Malformed(_))));
    }
}
