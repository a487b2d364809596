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

/// Why a URL names no upstream. Holds nothing of what stands before an `@`, since it may be a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// It does not parse as a URL; holds why.
    #[error("is not a URL: {0}; write redis://host:port or unix:///path")]
    Malformed(String),
    /// An address without a scheme, `host:port`.
    #[error("has no scheme; write redis://{0}")]
    NoScheme(String),
    /// A scheme other than `redis`, `rediss` and `unix`.
    #[error("has a scheme that is not supported; write redis://host:port, rediss://host:port or unix:///path")]
    Scheme,
    /// A `redis://` URL without a host.
    #[error("names no host; write redis://host:port")]
    Host,
    /// The port is 0, to which nobody can connect.
    #[error("names port 0, to which nobody can connect")]
    Port,
    /// A `unix://` URL with a host, as two slashes make of the first part of a path, or without a path.
    #[error("names no path; after unix: there are three slashes, as in unix:///run/redis.sock")]
    Path,
    /// The database is no number.
    #[error("names a database that is not a number from 0 to 4294967295")]
    Db,
    /// Something after `?` that nobody reads, or a `#`.
    #[error("has something after the address that is not known; {0}")]
    Extra(&'static str),
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

    /// A number that changes when the content of a file for TLS does; `None` without TLS.
    pub fn tls_sum(&self) -> Option<u64> {
        match &self.address {
            Address::Tls { tls, .. } => tls.as_ref().map(ClientTls::sum),
            Address::Tcp { .. } | Address::Unix(_) | Address::Memory(_) => None,
        }
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
        // A user without a password is one of `nopass`: any will do, and without a login this would be another user.
        let password = self.password.as_deref().or(self.user.as_ref().map(|_| ""))?;
        Some(["AUTH"].into_iter().chain(self.user.as_deref()).chain([password]).collect())
    }

    /// Whether the URL holds a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// With a password that comes from elsewhere.
    pub fn with_password(mut self, password: String) -> Self {
        self.password = Some(password);
        self
    }

    /// `redis://[user[:password]@]host[:port][/db]`, `rediss://` for the same by TLS.
    fn from_redis(url: &Url) -> Result<Self, EndpointError> {
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(EndpointError::Host)?;
        let host = decoded(host.trim_start_matches('[').trim_end_matches(']'));
        if url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::Extra(
                "a redis:// URL ends with the database; # and ? in a password are %23 and %3F",
            ));
        }
        let port = url.port().unwrap_or(6379);
        if port == 0 {
            return Err(EndpointError::Port);
        }
        let login = Login { user: url.username(), password: url.password() };
        let db = url.path().strip_prefix('/').unwrap_or_default();
        let is_tls = url.scheme() == "rediss";
        let address = if is_tls { Address::Tls { host, port, tls: None } } else { Address::Tcp { host, port } };
        Ok(Self::new(address, login, read_db(db)?))
    }

    /// `unix://[user[:password]@]/path[?db=N]`, of which `rest` is what follows the two slashes.
    fn from_unix(rest: &str) -> Result<Self, EndpointError> {
        let (login, rest) = match rest.find('/').map(|slash| rest.split_at(slash)) {
            Some(("", _)) => ("", rest),
            Some((before, path)) => (before.strip_suffix('@').ok_or(EndpointError::Path)?, path),
            None => return Err(EndpointError::Path),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path == "/" {
            return Err(EndpointError::Path);
        }
        let db = match query.strip_prefix("db=") {
            Some(db) if !db.is_empty() => read_db(db)?,
            _ if rest.contains(['?', '#']) => {
                return Err(EndpointError::Extra(
                    "a unix:// URL may end with ?db=N; # and ? in a path are %23 and %3F",
                ));
            }
            _ => 0,
        };
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        Ok(Self::new(Address::Unix(PathBuf::from(decoded(path))), Login { user, password }, db))
    }

    fn new(address: Address, login: Login<'_>, db: u32) -> Self {
        let user = Some(decoded(login.user)).filter(|user| !user.is_empty());
        Self { address, user, password: login.password.map(decoded), db, epoch: 0 }
    }
}

/// A login as it stands in a URL.
struct Login<'u> {
    user: &'u str,
    password: Option<&'u str>,
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A database as it stands in a URL; none is 0.
fn read_db(text: &str) -> Result<u32, EndpointError> {
    match text {
        "" => Ok(0),
        digits if digits.bytes().all(|digit| digit.is_ascii_digit()) => digits.parse().map_err(|_| EndpointError::Db),
        _ => Err(EndpointError::Db),
    }
}

/// A text that is an address and no URL, as `localhost:6379`. It holds no password.
fn bare_address(text: &str) -> Option<&str> {
    let (host, port) = text.rsplit_once(':')?;
    let is_host = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte));
    (is_host && port.parse::<u16>().is_ok()).then_some(text)
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(address) = bare_address(text) {
            return Err(EndpointError::NoScheme(address.to_owned()));
        }
        if text.contains(|next: char| next.is_whitespace() || next.is_control()) {
            return Err(EndpointError::Malformed("it holds a space, which is %20 in a URL".to_owned()));
        }
        if let Some(rest) = text.strip_prefix("unix:") {
            return rest.strip_prefix("//").ok_or(EndpointError::Path).and_then(Self::from_unix);
        }
        let url = Url::parse(text).map_err(|error| EndpointError::Malformed(error.to_string()))?;
        match url.scheme() {
            "redis" | "rediss" => Self::from_redis(&url),
            _ => Err(EndpointError::Scheme),
        }
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
    fn a_user_without_a_password_logs_in_with_an_empty_one() {
        let login = |url: &str| url.parse::<Endpoint>().unwrap().login().map(|words| words.join(" "));
        assert_eq!(login("redis://app@host").as_deref(), Some("AUTH app "));
        assert_eq!(login("redis://app:@host").as_deref(), Some("AUTH app "));
        assert_eq!(login("redis://app:pw@host").as_deref(), Some("AUTH app pw"));
        assert_eq!(login("redis://:pw@host").as_deref(), Some("AUTH pw"));
        assert_eq!(login("unix://app@/run/x").as_deref(), Some("AUTH app "));
        assert_eq!(login("unix://app:p%40w@/run/x").as_deref(), Some("AUTH app p@w"));
        assert_eq!((login("redis://host"), login("redis://@host"), login("unix:///run/x")), (None, None, None));
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        let refusal = |url: &str| url.parse::<Endpoint>().expect_err(url);
        assert_eq!(refusal("localhost:6379"), EndpointError::NoScheme("localhost:6379".into()));
        assert_eq!(refusal("[::1]:6379"), EndpointError::NoScheme("[::1]:6379".into()));
        for url in ["http://host", "redis-sentinel://host", "mailto:x"] {
            assert_eq!(refusal(url), EndpointError::Scheme, "{url}");
        }
        for url in [
            "redis://host/x",
            "redis://host/-1",
            "redis://host/+1",
            "redis://host/1/2",
            "redis://host/4294967296",
            "unix:///x?db=x",
        ] {
            assert_eq!(refusal(url), EndpointError::Db, "{url}");
        }
        for url in [
            "redis://h/0?timeout=3",
            "redis://h?db=3",
            "redis://h/0#1",
            "redis://:pa#ss@h",
            "unix:///x?timeout=3",
            "unix:///x?db=",
            "unix:///x#y",
            "unix:///x?",
        ] {
            assert!(matches!(refusal(url), EndpointError::Extra(_) | EndpointError::Malformed(_)), "{url}");
        }
        for url in [
            "unix://tmp/x.sock",
            "unix:tmp/x.sock",
            "unix:/tmp/x.sock",
            "unix://",
            "unix:///",
            "unix://app:pw/x",
            "unix://app:pw@",
        ] {
            assert_eq!(refusal(url), EndpointError::Path, "{url}");
        }
        for url in ["redis://", "redis:///0", "redis://:6379", "redis://app:pw@"] {
            assert!(matches!(refusal(url), EndpointError::Host | EndpointError::Malformed(_)), "{url}");
        }
        assert_eq!(refusal("redis://host:0"), EndpointError::Port);
        for url in ["", "nonsense", "redis://host:70000", "redis://host ", " redis://host", "redis://ho\nst"] {
            assert!(matches!(refusal(url), EndpointError::Malformed(_)), "{url:?}");
        }
        for url in [
            "redis://:hunter2@",
            "http://:hunter2@h",
            "redis://:hunter2@h/x",
            "hunter2@h:1",
            "unix://:hunter2@h",
            "redis://:hunter2@h:99999",
        ] {
            assert!(!refusal(url).to_string().contains("hunter2"), "{url}");
        }
    }
}
