//! A conversation with the upstream before a connection is put to use: requests out, whole replies in. Remembers the
//! last error that it heard, because an upstream says why it closes before it does.

use std::io;

use bytes::{Bytes, BytesMut};
use resp::{ReplyScanner, ValueError, write_request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::upstream::{login::login::LoginError, stream::Stream};

/// The largest reply that is read, in bytes.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// More than the framing of an argument, or of a request, has bytes.
const FRAME_BYTES: usize = 32;

/// What is said of a login that was answered by neither of its replies.
pub(crate) const NOT_OK: &str = "ERR the upstream has answered AUTH by neither OK nor an error";

/// See the module's documentation.
pub(crate) struct Talk {
    stream: Stream,
    input: BytesMut,
    last_error: Option<String>,
}

impl Talk {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, input: BytesMut::new(), last_error: None }
    }

    pub(crate) async fn send(&mut self, requests: &[Vec<&[u8]>]) -> Result<(), LoginError> {
        let out = written(requests);
        if let Err(error) = self.stream.write_all(&out).await {
            // It may have said why before it hung up.
            self.reply().await?;
            return Err(self.ended(error));
        }
        Ok(())
    }

    /// The next reply, whole.
    pub(crate) async fn reply(&mut self) -> Result<Bytes, LoginError> {
        let mut scanner = ReplyScanner::new(16);
        let mut scanned = 0;
        loop {
            let progress = scanner.scan(&self.input[scanned..]).map_err(ValueError::from)?;
            scanned += progress.consumed;
            if progress.complete.is_some() {
                let reply = self.input.split_to(scanned).freeze();
                // A command that it does not know is no reason to hang up.
                self.last_error = error_words(&reply).filter(|words| !words.starts_with("ERR unknown"));
                return Ok(reply);
            }
            if scanned > REPLY_BYTES_MAX {
                return Err(LoginError::Unasked);
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(1..) => {}
                Ok(0) => return Err(self.ended(io::ErrorKind::UnexpectedEof.into())),
                Err(error) => return Err(self.ended(error)),
            }
        }
    }

    /// The upstream has hung up: the last that it said is the reason, where that was an error.
    fn ended(&mut self, error: io::Error) -> LoginError {
        match self.last_error.take() {
            Some(words) => LoginError::Refused(words),
            None => LoginError::Io(error),
        }
    }

    /// The stream, once all replies have been read.
    ///
    /// # Errors
    /// There were more replies than requests: they would be missing from what the connection reads next.
    pub(crate) fn end(self) -> Result<Stream, LoginError> {
        if self.input.is_empty() { Ok(self.stream) } else { Err(LoginError::Unasked) }
    }
}

/// Requests as they are sent, which may hold a password: they are wiped when they are dropped, and never moved before.
pub(crate) fn written<R: AsRef<[A]>, A: AsRef<[u8]>>(requests: &[R]) -> Zeroizing<Vec<u8>> {
    let bytes: usize =
        requests.iter().flat_map(|request| request.as_ref()).map(|arg| arg.as_ref().len() + FRAME_BYTES).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(bytes + requests.len() * FRAME_BYTES));
    requests.iter().for_each(|request| write_request(&mut out, request.as_ref()));
    out
}

/// The words of an error reply, if it is one.
pub(crate) fn error_words(reply: &[u8]) -> Option<String> {
    let words = reply.strip_prefix(b"-")?;
    Some(String::from_utf8_lossy(words).trim_end().to_owned())
}
