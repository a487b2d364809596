//! How to connect to a target, log in, and ask it one question outside the measured traffic.

use std::{io, time::Duration};

use bytes::Bytes;
use resp::{ReplyScanner, Value, write_request};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use crate::target::{Address, Target, stream::Stream};

/// Aggregates nested deeper than this are no reply to anything asked here.
pub const DEPTH_MAX: usize = 16;

/// An answer to a handshake or to [`Target::ask`] longer than this is refused, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Why a target could not be made ready for requests.
#[derive(Debug, Error)]
pub enum TargetError {
    /// Nobody answers there; holds the address.
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    /// TLS could not be agreed upon; holds the address.
    #[error("{0}: no TLS: {1}")]
    Handshake(String, io::Error),
    /// A connection by TLS was not there in time, as with an endpoint that waits for a request of its own;
    /// holds the address and the time.
    #[error("{0} did not answer within {1:?}: does it speak TLS?")]
    HandshakeTimeout(String, Duration),
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
    /// Connects, logs in, speaks `protocol` (2 or 3) and selects the database, all within `limit`.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn connect(&self, protocol: u8, limit: Duration) -> Result<Stream, TargetError> {
        timeout(limit, self.connect_unbounded(protocol)).await.unwrap_or_else(|_| {
            Err(match self.address {
                Address::Tls(..) => TargetError::HandshakeTimeout(self.to_string(), limit),
                Address::Tcp(_) | Address::Unix(_) => TargetError::Timeout(self.to_string(), limit),
            })
        })
    }

    async fn connect_unbounded(&self, protocol: u8) -> Result<Stream, TargetError> {
        let refused = |error| TargetError::Connect(self.to_string(), error);
        let mut stream = match &self.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                stream.set_nodelay(true).map_err(refused)?;
                Stream::Tcp(stream)
            }
            Address::Tls(address, tls) => {
                let Some(tls) = tls else { return Err(refused(io::Error::other("nobody has said whom to trust"))) };
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                stream.set_nodelay(true).map_err(refused)?;
                let secured = tls.connect(host(address), stream).await;
                Stream::Tls(Box::new(secured.map_err(|error| TargetError::Handshake(self.to_string(), error))?))
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
        stream.flush().await.map_err(closed)?;
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
}

/// The host of `host:port`, without the brackets of IPv6.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}
