//! An upstream as a text names it: `redis://[user[:password]@]host:port[/db]`, `rediss://` for the same by TLS, and
//! `unix:///path[?db=N]`.

use std::{path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use thiserror::Error;
use url::Url;

use crate::settings::endpoint::{Address, Endpoint};

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
        Self {
            db,
            ..Self::with_address(address).with_login(user, login.password.map(|password| decoded(password).into()))
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_as_redis_clients_write_them() {
        let endpoint: Endpoint = "redis://user:p%40ss@example:7000/3".parse().unwrap();
        assert_eq!(endpoint.to_string(), "example:7000");
        assert!(!format!("{endpoint:?}").contains("p@ss"));
        assert_eq!((endpoint.user.as_deref(), endpoint.password, endpoint.db), (Some("user"), Some("p@ss".into()), 3));
        let endpoint: Endpoint = "redis://:secret@[::1]".parse().unwrap();
        assert_eq!(endpoint.to_string(), "[::1]:6379");
        assert_eq!((endpoint.user, endpoint.password, endpoint.db), (None, Some("secret".into()), 0));
        let endpoint: Endpoint = "rediss://example/1".parse().unwrap();
        assert_eq!((endpoint.to_string().as_str(), endpoint.db, endpoint.is_tls()), ("example:6379", 1, true));
        let endpoint: Endpoint = "unix:///run/redis.sock?db=2".parse().unwrap();
        assert_eq!((endpoint.to_string().as_str(), endpoint.db), ("/run/redis.sock", 2));
    }

    #[test]
    fn a_user_without_a_password_logs_in_with_an_empty_one() {
        let login = |url: &str| {
            url.parse::<Endpoint>().unwrap().login().map(|words| String::from_utf8(words.join(&b' ')).unwrap())
        };
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
