//! From an endpoint to a connection that is logged in, named, and known: used by workers and for
//! exclusive connections. One deadline holds for all of it.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use resp::{ReplyScanner, Value, ValueError, write_request};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    settings::endpoint::Endpoint,
    upstream::{facts::Facts, stream::Stream},
};

/// The largest reply that a login reads, in bytes.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum LoginError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("connection failed during login: {0}")]
    Io(#[from] io::Error),
    #[error("no answer within connect_timeout_ms ({} ms)", .0.as_millis())]
    Timeout(Duration),
    #[error("no answer within connect_timeout_ms ({} ms) by TLS: does the upstream speak it there?", .0.as_millis())]
    TlsTimeout(Duration),
    #[error("login refused: {0}")]
    Refused(String),
    #[error("not a Redis: {0}")]
    Malformed(#[from] ValueError),
    #[error("more replies than requests during login")]
    Unasked,
}

/// Connects, logs in, names the connection `name` and asks who is there. The connection is left in
/// database 0 and RESP2.
pub(crate) async fn login(endpoint: &Endpoint, name: &str, deadline: Duration) -> Result<(Stream, Facts), LoginError> {
    timeout(deadline, converse(endpoint, name)).await.unwrap_or_else(|_| {
        Err(if endpoint.is_tls() { LoginError::TlsTimeout(deadline) } else { LoginError::Timeout(deadline) })
    })
}

async fn converse(endpoint: &Endpoint, name: &str) -> Result<(Stream, Facts), LoginError> {
    let stream = Stream::dial(&endpoint.address).await.map_err(LoginError::Connect)?;
    let mut talk = Talk { stream, input: BytesMut::new() };
    if let Some(request) = endpoint.login() {
        talk.send(&[&request]).await?;
        if let Value::Error(text) = talk.value().await? {
            return Err(LoginError::Refused(text));
        }
    }
    talk.send(&[&["HELLO", "3"], &["HELLO", "2"], &["CLIENT", "SETNAME", name], &["CONFIG", "GET", "timeout"]]).await?;
    let hello3 = talk.reply().await?;
    if hello3.starts_with(b"-NOAUTH") || hello3.starts_with(b"-ERR max number") {
        return Err(LoginError::Refused(error_text(&hello3)));
    }
    let hello2 = talk.reply().await?;
    // Managed services refuse the naming or the configuration; both are conveniences.
    let _named = talk.reply().await?;
    let timeout = talk.value().await?;
    if !talk.input.is_empty() {
        // It would be missing from what the connection reads next.
        return Err(LoginError::Unasked);
    }
    let whole = |reply: Bytes| (!reply.starts_with(b"-")).then(|| reply.to_vec());
    let facts = Facts { hello2: whole(hello2), hello3: whole(hello3), idle_timeout: idle_timeout(&timeout) };
    Ok((talk.stream, facts))
}

fn error_text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply.strip_prefix(b"-").unwrap_or(reply)).trim_end().to_owned()
}

fn idle_timeout(reply: &Value) -> Option<Duration> {
    let Value::Array(items) = reply else { return None };
    let seconds: u64 = std::str::from_utf8(items.get(1)?.as_bytes()?).ok()?.parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// A conversation without pipelining, over as soon as the login is.
struct Talk {
    stream: Stream,
    input: BytesMut,
}

impl Talk {
    async fn send(&mut self, requests: &[&[&str]]) -> io::Result<()> {
        let mut out = Vec::new();
        for request in requests {
            write_request(&mut out, request);
        }
        self.stream.write_all(&out).await
    }

    async fn reply(&mut self) -> Result<Bytes, LoginError> {
        let mut scanner = ReplyScanner::new(16);
        let mut scanned = 0;
        loop {
            let progress = scanner.scan(&self.input[scanned..]).map_err(ValueError::from)?;
            scanned += progress.consumed;
            if progress.complete.is_some() {
                return Ok(self.input.split_to(scanned).freeze());
            }
            if scanned > REPLY_BYTES_MAX || self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    async fn value(&mut self) -> Result<Value, LoginError> {
        Ok(Value::decode(&self.reply().await?)?.0)
    }
}
