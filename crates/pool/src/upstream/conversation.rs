//! A connection by itself, beside any pool: requests out, replies in as trees. For those who want to know something of
//! a node or of a sentinel. Its owner sets the deadlines and decides when to open another.

use std::{future::poll_fn, io, pin::Pin, time::Duration};

use bytes::BytesMut;
use resp::{ReplyScanner, Value, ValueError};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use crate::{
    settings::endpoint::Endpoint,
    upstream::{login::talk::written, stream::Stream},
};

/// Aggregates inside aggregates in one reply.
const DEPTH_MAX: usize = 16;

/// The largest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Bytes of one read.
const READ_BYTES: usize = 4 * 1024;

/// Why a conversation has ended, or did not begin. It is of no further use.
#[derive(Debug, Error)]
pub enum ConversationError {
    /// Nobody answers at the address.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection broke.
    #[error("connection lost: {0}")]
    Io(#[from] io::Error),
    /// The other end takes or says nothing; holds how long it was waited for.
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// The login was refused; holds the error reply without its mark.
    #[error("login refused: {0}")]
    Refused(String),
    /// What came is no reply.
    #[error("not a Redis: {0}")]
    Malformed(#[from] ValueError),
    /// A reply is larger than 1 MiB.
    #[error("a reply of more than {REPLY_BYTES_MAX} bytes")]
    TooLarge,
}

/// See the module's documentation. Dropping it closes the connection.
#[derive(Debug)]
pub struct Conversation {
    stream: Stream,
    input: BytesMut,
    scanner: ReplyScanner,
    scanned: usize,
}

impl Conversation {
    /// Connects to `endpoint`, logs in there and is known as `name`, within `limit`. It stays in database 0 and RESP2.
    ///
    /// # Errors
    /// Nobody answers in time, or the login is refused.
    pub async fn open(endpoint: &Endpoint, name: &str, limit: Duration) -> Result<Self, ConversationError> {
        let opened = timeout(limit, Self::log_in(endpoint, name)).await;
        opened.map_err(|_| ConversationError::Timeout(limit))?
    }

    async fn log_in(endpoint: &Endpoint, name: &str) -> Result<Self, ConversationError> {
        let stream = Stream::dial(&endpoint.address).await.map_err(ConversationError::Connect)?;
        let scanner = ReplyScanner::new(DEPTH_MAX);
        let mut conversation = Self { stream, input: BytesMut::new(), scanner, scanned: 0 };
        let login = endpoint.login();
        let name: &[&[u8]] = &[b"CLIENT", b"SETNAME", name.as_bytes()];
        conversation.write(&login.as_deref().into_iter().chain([name]).collect::<Vec<_>>()).await?;
        if login.is_some()
            && let Value::Error(text) = conversation.next().await?
        {
            return Err(ConversationError::Refused(text));
        }
        // Some services know no names of connections; they are a convenience.
        match conversation.next().await? {
            Value::Error(text) if text.starts_with("NOAUTH") => Err(ConversationError::Refused(text)),
            _ => Ok(conversation),
        }
    }

    /// Sends requests and returns their replies, in order, within `limit`.
    ///
    /// # Errors
    /// The connection broke or the replies did not come in time.
    pub async fn ask(&mut self, requests: &[&[&str]], limit: Duration) -> Result<Vec<Value>, ConversationError> {
        let exchange = async {
            self.write(requests).await?;
            let mut replies = Vec::with_capacity(requests.len());
            while replies.len() < requests.len() {
                replies.push(self.next().await?);
            }
            Ok(replies)
        };
        timeout(limit, exchange).await.map_err(|_| ConversationError::Timeout(limit))?
    }

    /// Sends requests within `limit`; their replies come from [`next`](Self::next).
    ///
    /// # Errors
    /// The connection broke, or the other end takes nothing.
    pub async fn send(&mut self, requests: &[&[&str]], limit: Duration) -> Result<(), ConversationError> {
        timeout(limit, self.write(requests)).await.map_err(|_| ConversationError::Timeout(limit))?
    }

    async fn write<A: AsRef<[u8]>>(&mut self, requests: &[&[A]]) -> Result<(), ConversationError> {
        Ok(self.stream.write_all(&written(requests)).await?)
    }

    /// The next reply or message, whenever it comes.
    ///
    /// # Errors
    /// The connection broke or was closed.
    ///
    /// # Cancel safety
    /// What was read before the future was dropped is kept for the next call.
    pub async fn next(&mut self) -> Result<Value, ConversationError> {
        loop {
            let progress = self.scanner.scan(&self.input[self.scanned..]).map_err(ValueError::from)?;
            self.scanned += progress.consumed;
            if progress.complete.is_some() {
                let reply = self.input.split_to(std::mem::take(&mut self.scanned)).freeze();
                return Ok(Value::decode(&reply)?.0);
            }
            if self.input.len() > REPLY_BYTES_MAX {
                return Err(ConversationError::TooLarge);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        let mut space = [0; READ_BYTES];
        let mut buffer = ReadBuf::new(&mut space);
        poll_fn(|cx| Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).await?;
        if buffer.filled().is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.input.extend_from_slice(buffer.filled());
        Ok(())
    }
}
