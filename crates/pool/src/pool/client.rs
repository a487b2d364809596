//! A typed handle for programs that embed the pool: a command in, a [`Value`] or what it means out.

use std::time::Duration;

use bytes::Bytes;
use resp::{Value, ValueError, write_request};
use thiserror::Error;
use tokio::runtime::Handle;

use crate::{caller::caller::Caller, error::JobError, queue::job::Burst};

/// Executes single commands through the queue. Clones are cheap and independent; commands of one
/// clone are executed one after the other, those of different clones at the same time.
#[derive(Debug, Clone)]
pub struct Client {
    caller: Caller,
}

/// Why a command gave no value.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The pool could not get it executed; see there whether it may have been.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The upstream answered with this error.
    #[error("{0}")]
    Upstream(String),
    /// The reply could not be read.
    #[error(transparent)]
    Reply(#[from] ValueError),
    /// The reply was of another type than the command gives.
    #[error("unexpected reply: {0:?}")]
    Unexpected(Value),
}

type Result<T> = std::result::Result<T, ClientError>;

impl Client {
    pub(crate) fn new(caller: Caller) -> Self {
        Self { caller }
    }

    /// Executes any command that needs no connection of its own. Error replies are errors here.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value> {
        let mut burst = Burst { replies_due: 1, ..Default::default() };
        burst.needs.db = self.caller.shared().settings.borrow().endpoint.db;
        write_request(&mut burst.requests, args);
        let answer = self.caller.call(burst).await;
        if let Some(failure) = answer.failure {
            return Err(failure.into());
        }
        match Value::decode(&Bytes::from(answer.burst.replies))?.0 {
            Value::Error(text) => Err(ClientError::Upstream(text)),
            value => Ok(value),
        }
    }

    /// The value of `key`, if it has one.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn get(&mut self, key: &str) -> Result<Option<Bytes>> {
        match self.command(&["GET", key]).await? {
            Value::Bulk(bytes) => Ok(Some(bytes)),
            // mini-redis answers small values as simple strings.
            Value::Simple(text) => Ok(Some(text.into())),
            Value::Null => Ok(None),
            other => Err(ClientError::Unexpected(other)),
        }
    }

    /// Sets `key`, to expire after `expiry` (in whole milliseconds) if given.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn set(&mut self, key: &str, value: impl AsRef<[u8]>, expiry: Option<Duration>) -> Result<()> {
        let millis = expiry.map(|expiry| expiry.as_millis().to_string());
        let mut args = vec![b"SET".as_slice(), key.as_bytes(), value.as_ref()];
        if let Some(millis) = &millis {
            args.extend([b"PX".as_slice(), millis.as_bytes()]);
        }
        self.command(&args).await.map(drop)
    }

    /// Deletes `keys`; how many there were.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn del(&mut self, keys: &[&str]) -> Result<i64> {
        let args: Vec<&str> = std::iter::once("DEL").chain(keys.iter().copied()).collect();
        self.integer(&args).await
    }

    /// Adds one to the number at `key`; the new number.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn incr(&mut self, key: &str) -> Result<i64> {
        self.integer(&["INCR", key]).await
    }

    /// Publishes `message`; how many subscribers got it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn publish(&mut self, channel: &str, message: impl AsRef<[u8]>) -> Result<i64> {
        self.integer(&[b"PUBLISH".as_slice(), channel.as_bytes(), message.as_ref()]).await
    }

    /// Asks the upstream for a sign of life.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn ping(&mut self) -> Result<()> {
        self.command(&["PING"]).await.map(drop)
    }

    async fn integer<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<i64> {
        match self.command(args).await? {
            Value::Integer(number) => Ok(number),
            other => Err(ClientError::Unexpected(other)),
        }
    }

    /// A handle for threads that are not async, which has this runtime do the work.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn blocking(&self) -> BlockingClient {
        BlockingClient { client: self.clone(), runtime: Handle::current() }
    }
}

/// As [`Client`], for threads that are not async. The runtime has to be driven by another thread.
#[derive(Debug, Clone)]
pub struct BlockingClient {
    client: Client,
    runtime: Handle,
}

impl BlockingClient {
    /// As [`Client::command`].
    ///
    /// # Errors
    /// See [`ClientError`].
    ///
    /// # Panics
    /// This and all other methods panic on a thread that drives async tasks.
    pub fn command<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Value> {
        self.runtime.block_on(self.client.command(args))
    }

    /// As [`Client::get`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn get(&mut self, key: &str) -> Result<Option<Bytes>> {
        self.runtime.block_on(self.client.get(key))
    }

    /// As [`Client::set`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn set(&mut self, key: &str, value: impl AsRef<[u8]>, expiry: Option<Duration>) -> Result<()> {
        self.runtime.block_on(self.client.set(key, value, expiry))
    }

    /// As [`Client::del`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn del(&mut self, keys: &[&str]) -> Result<i64> {
        self.runtime.block_on(self.client.del(keys))
    }

    /// As [`Client::incr`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn incr(&mut self, key: &str) -> Result<i64> {
        self.runtime.block_on(self.client.incr(key))
    }

    /// As [`Client::publish`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn publish(&mut self, channel: &str, message: impl AsRef<[u8]>) -> Result<i64> {
        self.runtime.block_on(self.client.publish(channel, message))
    }

    /// As [`Client::ping`].
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn ping(&mut self) -> Result<()> {
        self.runtime.block_on(self.client.ping())
    }
}
