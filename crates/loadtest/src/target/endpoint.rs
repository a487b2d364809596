//! What is loaded: a URL as Redis clients write them, how to connect to it, log in, and ask it one
//! question outside the measured traffic.

use std::{fmt, io, path::PathBuf, str::FromStr, time::Duration};

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use resp::{ReplyScanner, Value, write_request};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::target::stream::Stream;

/// Aggregates nested deeper than this are no reply to anything asked here.
pub const DEPTH_MAX: usize = 16;

/// An answer to a handshake or to [`ask`] longer than this is refused, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Where the endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port`
    Tcp(String),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A RESP endpoint: `redis://[user[:password]@]host[:port][/db]` or `unix:///path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    user: Option<String>,
    password: Option<String>,
    database: u32,
}

/// Why a target could not be made ready for requests.
#[derive(Debug, Error)]
pub enum TargetError {
    /// Nobody answers there; holds the address.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    /// The connection was not there in time, or no answer was; holds the address and the time.
    #[error("{0} did not answer within {1:?}")]
    Timeout(String, Duration),
    /// The target closed the connection or it broke.
    #[error("{0} closed the connection: {1}")]
    Closed(String, io::Error),
    /// `AUTH`, `HELLO` or `SELECT` was answered with an error; holds the request's name and the answer.
    #[error("{0} answered {1} with: {2}")]
    Refused(String, String, String),
    /// What came back is no RESP.
    #[error("{0} does not speak RESP: {1}")]
    NotResp(String, String),
}

impl Target {
    /// A target on this machine's loopback.
    pub fn loopback(port: u16) -> Self {
        Self { address: Address::Tcp(format!("127.0.0.1:{port}")), user: None, password: None, database: 0 }
    }

    /// Connects, logs in, speaks `protocol` (2 or 3) and selects the database, all within `limit`.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn connect(&self, protocol: u8, limit: Duration) -> Result<Stream, TargetError> {
        timeout(limit, self.connect_unbounded(protocol))
            .await
            .unwrap_or_else(|_| Err(TargetError::Timeout(self.to_string(), limit)))
    }

    async fn connect_unbounded(&self, protocol: u8) -> Result<Stream, TargetError> {
        let refused = |error| TargetError::Connect(self.to_string(), error);
        let mut stream = match &self.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                stream.set_nodelay(true).map_err(refused)?;
                Stream::Tcp(stream)
            }
            Address::Unix(path) => Stream::Unix(UnixStream::connect(path).await.map_err(refused)?),
        };
        let user = self.user.as_deref().unwrap_or("default");
        let password = self.password.as_deref();
        if protocol == 3 {
            let login = password.map_or(vec![], |password| vec!["AUTH", user, password]);
            self.expect(&mut stream, &[vec!["HELLO", "3"], login].concat()).await?;
        } else if let Some(password) = password {
            let login = if self.user.is_some() { vec!["AUTH", user, password] } else { vec!["AUTH", password] };
            self.expect(&mut stream, &login).await?;
        }
        if self.database != 0 {
            self.expect(&mut stream, &["SELECT", &self.database.to_string()]).await?;
        }
        Ok(stream)
    }

    async fn expect(&self, stream: &mut Stream, args: &[&str]) -> Result<(), TargetError> {
        match self.exchange(stream, args).await? {
            Value::Error(text) => Err(TargetError::Refused(self.to_string(), args[0].to_owned(), text)),
            _ => Ok(()),
        }
    }

    /// Sends one request on an idle connection and reads its reply.
    ///
    /// # Errors
    /// The connection broke or the reply is no RESP; an error reply is a value, not an error.
    pub async fn exchange(&self, stream: &mut Stream, args: &[&str]) -> Result<Value, TargetError> {
        let closed = |error| TargetError::Closed(self.to_string(), error);
        let mut request = Vec::new();
        write_request(&mut request, args);
        stream.write_all(&request).await.map_err(closed)?;
        let (mut scanner, mut reply) = (ReplyScanner::new(DEPTH_MAX), Vec::new());
        loop {
            let seen = reply.len();
            let read = stream.read_buf(&mut reply).await.map_err(closed)?;
            if read == 0 {
                return Err(closed(io::ErrorKind::UnexpectedEof.into()));
            }
            let not_resp = |text: String| TargetError::NotResp(self.to_string(), text);
            let progress = scanner.scan(&reply[seen..]).map_err(|error| not_resp(error.to_string()))?;
            if progress.complete.is_some() {
                let reply = Bytes::from(reply);
                return Value::decode(&reply).map(|(value, _)| value).map_err(|error| not_resp(error.to_string()));
            }
            if reply.len() > ANSWER_BYTES_MAX {
                return Err(not_resp("an answer without end".to_owned()));
            }
        }
    }

    /// Asks one question on a connection of its own, within `limit`.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn ask(&self, args: &[&str], limit: Duration) -> Result<Value, TargetError> {
        timeout(limit, async {
            let mut stream = self.connect_unbounded(2).await?;
            self.exchange(&mut stream, args).await
        })
        .await
        .unwrap_or_else(|_| Err(TargetError::Timeout(self.to_string(), limit)))
    }

    /// `host:port`, or the path, as configuration files of other programs want it.
    pub fn address_text(&self) -> String {
        match &self.address {
            Address::Tcp(address) => address.clone(),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// The TCP port.
    pub fn port(&self) -> Option<u16> {
        match &self.address {
            Address::Tcp(address) => address.rsplit_once(':')?.1.parse().ok(),
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
            Address::Unix(path) => format!("unix://{}", path.display()),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example = "write redis://[user[:password]@]host[:port][/db] or unix:///path";
        let url = url::Url::parse(text).map_err(|error| format!("{error}; {example}"))?;
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let some = |part: &str| Some(decode(part)).filter(|part| !part.is_empty());
        let (user, password) = (some(url.username()), url.password().and_then(some));
        match url.scheme() {
            "redis" => {
                let host = url.host_str().filter(|host| !host.is_empty()).ok_or(format!("no host; {example}"))?;
                let database = match url.path().trim_start_matches('/') {
                    "" => 0,
                    path => path.parse().map_err(|_| format!("`{path}` is no database number; {example}"))?,
                };
                let address = Address::Tcp(format!("{host}:{}", url.port().unwrap_or(6379)));
                Ok(Self { address, user, password, database })
            }
            "unix" if url.path().len() > 1 => {
                Ok(Self { address: Address::Unix(decode(url.path()).into()), user, password, database: 0 })
            }
            other => Err(format!("cannot load `{other}` URLs; {example}")),
        }
    }
}

/// Without user and password, for reports.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(address) => write!(f, "redis://{address}")?,
            Address::Unix(path) => write!(f, "unix://{}", path.display())?,
        }
        if self.database == 0 { Ok(()) } else { write!(f, "/{}", self.database) }
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
        assert!("unix:///run/redis.sock".parse::<Target>().is_ok());
    }

    #[test]
    fn what_is_no_target_says_how_to_write_one() {
        for text in ["localhost:6379", "http://x", "redis://x/y", "unix://", ""] {
            assert!(text.parse::<Target>().unwrap_err().contains("redis://["), "{text}");
        }
    }
}
