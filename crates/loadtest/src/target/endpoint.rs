//! What is loaded: a URL as Redis clients write them.

use std::{fmt, path::PathBuf, str::FromStr};

use percent_encoding::percent_decode_str;
use tls::{ClientTls, TlsError};

use crate::target::{tls::TlsArgs, transport::Transport};

/// Where the endpoint is.
#[derive(Debug, Clone, PartialEq)]
pub enum Address {
    /// `host:port`
    Tcp(String),
    /// `host:port`, met by TLS, and how; nobody can be met before that is said.
    Tls(String, Option<ClientTls>),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A RESP endpoint: `redis://[user[:password]@]host[:port][/db]`, `rediss://` likewise for TLS, or
/// `unix:///path[?db=N]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) database: u32,
}

impl Target {
    /// A target on this machine's loopback.
    pub fn loopback(port: u16) -> Self {
        Self { address: Address::Tcp(format!("127.0.0.1:{port}")), user: None, password: None, database: 0 }
    }

    /// A target on this machine's loopback that is met by TLS.
    pub fn secure_loopback(port: u16, tls: ClientTls) -> Self {
        Self { address: Address::Tls(format!("127.0.0.1:{port}"), Some(tls)), ..Self::loopback(port) }
    }

    /// A unix socket.
    pub fn unix(path: PathBuf) -> Self {
        Self { address: Address::Unix(path), ..Self::loopback(0) }
    }

    /// What carries its bytes.
    pub fn transport(&self) -> Transport {
        match self.address {
            Address::Tcp(_) => Transport::Tcp,
            Address::Tls(..) => Transport::Tls,
            Address::Unix(_) => Transport::Unix,
        }
    }

    /// The same target with what TLS needs, if it is met by that.
    ///
    /// # Errors
    /// A file of certificates or a key cannot be used.
    pub fn with_tls(mut self, args: &TlsArgs) -> Result<Self, TlsError> {
        if let Address::Tls(_, tls) = &mut self.address {
            *tls = Some(args.client()?);
        }
        Ok(self)
    }

    /// `host:port`, or the path, as configuration files of other programs want it.
    pub fn address_text(&self) -> String {
        match &self.address {
            Address::Tcp(address) | Address::Tls(address, ..) => address.clone(),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// The TCP port.
    pub fn port(&self) -> Option<u16> {
        match &self.address {
            Address::Tcp(address) | Address::Tls(address, ..) => address.rsplit_once(':')?.1.parse().ok(),
            Address::Unix(_) => None,
        }
    }

    /// The URL with the password, for a configuration file.
    pub fn url(&self) -> String {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let login = match (&self.user, &self.password) {
            (user, Some(password)) => {
                format!("{}:{}@", encode(user.as_deref().unwrap_or_default()), encode(password))
            }
            (Some(user), None) => format!("{}@", encode(user)),
            (None, None) => String::new(),
        };
        match &self.address {
            Address::Tcp(address) => format!("redis://{login}{address}/{}", self.database),
            Address::Tls(address, ..) => format!("rediss://{login}{address}/{}", self.database),
            Address::Unix(path) if self.database == 0 => format!("unix://{login}{}", path.display()),
            Address::Unix(path) => format!("unix://{login}{}?db={}", path.display(), self.database),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write redis://[user[:password]@]host[:port][/db], rediss://… for TLS, or unix:///path[?db=N]";
        let url = url::Url::parse(text).map_err(|error| format!("{error}; {example}"))?;
        let some = |part: &str| Some(decode(part)).filter(|part| !part.is_empty());
        let (user, password) = (some(url.username()), url.password().and_then(some));
        let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is no database number; {example}"));
        let (address, database) = match url.scheme() {
            "redis" | "rediss" => {
                let host = url.host_str().filter(|host| !host.is_empty()).ok_or(format!("no host; {example}"))?;
                let database = match url.path().trim_start_matches('/') {
                    "" => 0,
                    path => number(path)?,
                };
                let address = format!("{host}:{}", url.port().unwrap_or(6379));
                let is_plain = url.scheme() == "redis";
                (if is_plain { Address::Tcp(address) } else { Address::Tls(address, None) }, database)
            }
            "unix" if url.path().len() > 1 => {
                let database = url.query_pairs().find(|(key, _)| key == "db");
                let database = database.map_or(Ok(0), |(_, value)| number(&value))?;
                (Address::Unix(decode(url.path()).into()), database)
            }
            other => return Err(format!("cannot load `{other}` URLs; {example}")),
        };
        Ok(Self { address, user, password, database })
    }
}

fn decode(part: &str) -> String {
    percent_decode_str(part).decode_utf8_lossy().into_owned()
}

/// Without user and password, for reports.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(address) => write!(f, "redis://{address}")?,
            Address::Tls(address, ..) => write!(f, "rediss://{address}")?,
            Address::Unix(path) => write!(f, "unix://{}", path.display())?,
        }
        match (&self.address, self.database) {
            (_, 0) => Ok(()),
            (Address::Tcp(_) | Address::Tls(..), database) => write!(f, "/{database}"),
            (Address::Unix(_), database) => write!(f, "?db={database}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_as_clients_write_them() {
        let target: Target = "redis://u:p%40ss@example.org/3".parse().unwrap();
        assert_eq!(target.address, Address::Tcp("example.org:6379".to_owned()));
        assert_eq!((target.user.as_deref(), target.password.as_deref()), (Some("u"), Some("p@ss")));
        assert_eq!(target.to_string(), "redis://example.org:6379/3");
        assert_eq!(target.url().parse(), Ok(target));
        let target: Target = "unix:///run/redis.sock?db=2".parse().unwrap();
        assert_eq!((target.database, target.to_string()), (2, "unix:///run/redis.sock?db=2".to_owned()));
        assert_eq!(target.url().parse(), Ok(target));
        let target: Target = "rediss://[::1]:7/2".parse().unwrap();
        assert_eq!(
            (&target.address, target.url()),
            (&Address::Tls("[::1]:7".to_owned(), None), "rediss://[::1]:7/2".to_owned())
        );
    }

    #[test]
    fn what_is_no_target_says_how_to_write_one() {
        for text in ["localhost:6379", "http://x", "redis://x/y", "unix://", "unix:///x?db=y", "rediss://", ""] {
            assert!(text.parse::<Target>().unwrap_err().contains("redis://["), "{text}");
        }
    }
}
