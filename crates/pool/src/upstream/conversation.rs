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
    settings::{endpoint::Endpoint, ours::Carries},
    upstream::{
        login::talk::{NOT_OK, written},
        stream::Stream,
    },
};

/// Aggregates inside aggregates in one reply.
const DEPTH_MAX: usize = 16;

/// The largest reply that is read, in bytes: `CLUSTER SLOTS` of a cluster in which each slot is a range of its own.
const REPLY_BYTES_MAX: usize = 16 << 20;

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
    /// The same while a connection by TLS was made.
    #[error("no answer within {} ms by TLS: does the upstream speak it there?", .0.as_millis())]
    TlsTimeout(Duration),
    /// The login was refused; holds the error reply without its mark.
    #[error("login refused: {0}")]
    Refused(String),
    /// What came is no reply.
    #[error("not a Redis: {0}")]
    Malformed(#[from] ValueError),
    /// A reply is larger than 16 MiB.
    #[error("a reply of more than {REPLY_BYTES_MAX} bytes")]
    TooLarge,
}

impl ConversationError {
    /// A conversation with this endpoint has not begun within so long.
    fn silent(endpoint: &Endpoint, limit: Duration) -> Self {
        if endpoint.is_tls() { Self::TlsTimeout(limit) } else { Self::Timeout(limit) }
    }
}

/// See the module's documentation. Dropping it closes the connection.
#[derive(Debug)]
pub struct Conversation {
    stream: Stream,
    input: BytesMut,
    scanner: ReplyScanner,
    scanned: usize,
    /// The reply to its name is still to come: what is asked does not wait for it.
    owes_name: bool,
    /// What was asked last has not been answered in full: what comes may belong to it.
    is_broken: bool,
}

impl Conversation {
    /// Connects to `endpoint`, logs in there and is known as `name`, within `limit`. It stays in database 0 and RESP2.
    ///
    /// # Errors
    /// Nobody answers in time, or the login is refused. That one is wanted, and there is none, says the first reply.
    pub async fn open(endpoint: &Endpoint, name: &str, limit: Duration) -> Result<Self, ConversationError> {
        let opened = timeout(limit, Self::log_in(endpoint, &["CLIENT", "SETNAME", name])).await;
        opened.map_err(|_| ConversationError::silent(endpoint, limit))?
    }

    /// Whether `endpoint` lets its login in, or one who has none, within `limit`.
    ///
    /// # Errors
    /// Nobody answers in time, or the login is refused, or wanted.
    pub(crate) async fn prove(endpoint: &Endpoint, name: &str, limit: Duration) -> Result<(), ConversationError> {
        // Unlike the other one, it needs no right: a refusal would stand in the upstream's log of those.
        let named = async { Self::log_in(endpoint, &["HELLO", "2", "SETNAME", name]).await?.named().await };
        timeout(limit, named).await.map_err(|_| ConversationError::silent(endpoint, limit))?
    }

    async fn log_in(endpoint: &Endpoint, naming: &[&str]) -> Result<Self, ConversationError> {
        let stream = Stream::dial(endpoint, Carries::Own).await.map_err(ConversationError::Connect)?;
        let scanner = ReplyScanner::new(DEPTH_MAX);
        let mut conversation =
            Self { stream, input: BytesMut::new(), scanner, scanned: 0, owes_name: false, is_broken: false };
        let login = endpoint.login();
        let naming: Vec<_> = naming.iter().map(|word| word.as_bytes()).collect();
        conversation.write(&login.as_deref().into_iter().chain([&naming[..]]).collect::<Vec<_>>()).await?;
        if login.is_some() {
            match conversation.next().await? {
                Value::Simple(text) if text == "OK" => {}
                Value::Error(text) => return Err(ConversationError::Refused(text)),
                _ => return Err(ConversationError::Refused(NOT_OK.to_owned())),
            }
        }
        conversation.owes_name = true;
        Ok(conversation)
    }

    /// Sends requests and returns their replies, in order, within `limit`.
    ///
    /// # Errors
    /// The connection broke or the replies did not come in time, to these requests or to earlier ones.
    pub async fn ask(&mut self, requests: &[&[&str]], limit: Duration) -> Result<Vec<Value>, ConversationError> {
        if std::mem::replace(&mut self.is_broken, true) {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        let exchange = async {
            self.write(requests).await?;
            let mut replies = Vec::with_capacity(requests.len());
            while replies.len() < requests.len() {
                replies.push(self.next().await?);
            }
            Ok::<_, ConversationError>(replies)
        };
        let replies = timeout(limit, exchange).await.map_err(|_| ConversationError::Timeout(limit))??;
        self.is_broken = false;
        Ok(replies)
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
        self.named().await?;
        self.reply().await
    }

    /// Waits for the reply to its name, if that is still to come.
    async fn named(&mut self) -> Result<(), ConversationError> {
        if !self.owes_name {
            return Ok(());
        }
        let named = self.reply().await?;
        self.owes_name = false;
        match named {
            Value::Error(text) if text.starts_with("NOAUTH") => Err(ConversationError::Refused(text)),
            // Some services know no names of connections; they are a convenience.
            _ => Ok(()),
        }
    }

    async fn reply(&mut self) -> Result<Value, ConversationError> {
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

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt, net::TcpListener};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_login_is_right_if_it_is_answered_by_ok_and_by_nothing_else() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("redis://u:p@{}", listener.local_addr().expect("bound"));
        let endpoint: Endpoint = url.parse().expect("a URL");
        for (said, is_right) in [("+OK", true), (":1", false), ("$-1", false), ("$2\r\nOK", false), ("-ERR no", false)]
        {
            let answers = async {
                let (mut stream, _) = listener.accept().await.expect("it connects");
                let said = format!("{said}\r\n-ERR unknown command\r\n");
                stream.write_all(said.as_bytes()).await.expect("it reads");
                let _ = stream.read_to_end(&mut Vec::new()).await;
            };
            let (proven, ()) = tokio::join!(Conversation::prove(&endpoint, "name", LIMIT), answers);
            assert_eq!(proven.is_ok(), is_right, "{said}");
            assert!(is_right || matches!(proven, Err(ConversationError::Refused(_))), "{said}");
        }
    }

    #[tokio::test]
    async fn what_a_node_says_of_a_large_cluster_is_read_to_its_end() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let endpoint: Endpoint = format!("redis://{}", listener.local_addr().expect("bound")).parse().expect("a URL");
        let slots = 16_384;
        let answers = async {
            let (mut stream, _) = listener.accept().await.expect("it connects");
            let range = "*3\r\n:0\r\n:0\r\n*4\r\n$15\r\n255.255.255.255\r\n:65535\r\n$40\r\n".to_owned()
                + &"0".repeat(40)
                + "\r\n*2\r\n$8\r\nhostname\r\n$11\r\nnode.domain\r\n";
            let said = format!("+OK\r\n*{slots}\r\n{}", range.repeat(slots));
            stream.write_all(said.as_bytes()).await.expect("it reads");
            let _ = stream.read_to_end(&mut Vec::new()).await;
        };
        let asks = async {
            let mut conversation = Conversation::open(&endpoint, "name", LIMIT).await.expect("it answers");
            let replies = conversation.ask(&[&["CLUSTER", "SLOTS"]], LIMIT).await.expect("it answers");
            let [Value::Array(ranges)] = &replies[..] else { panic!("one array") };
            assert_eq!(ranges.len(), slots);
        };
        tokio::join!(answers, asks);
    }
}
