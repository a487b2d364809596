//! Reads from a stream in large pieces, where rustls would ask for 4 KiB at a time: a record of 16 KiB costs one system
//! call instead of five. The buffer belongs to the thread, so that a stream at which nothing comes holds none.

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// See the module's documentation.
#[derive(Debug)]
pub struct ReadAhead<S> {
    stream: S,
    /// What was read and not asked for yet.
    ahead: Vec<u8>,
    /// How much of it has been given out.
    given: usize,
}

impl<S> ReadAhead<S> {
    /// Reads from `stream`.
    pub fn new(stream: S) -> Self {
        Self { stream, ahead: Vec::new(), given: 0 }
    }

    /// The stream itself. What is read from it directly may be missing here.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// To put another stream in place of the stream, at the same point.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let bytes = buf.remaining().min(self.ahead.len() - self.given);
        buf.put_slice(&self.ahead[self.given..self.given + bytes]);
        self.given += bytes;
        if self.given == self.ahead.len() {
            (self.ahead, self.given) = (Vec::new(), 0);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.ahead.is_empty() {
            this.give(buf);
            return Poll::Ready(Ok(()));
        }
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut read))?;
            let (now, later) = read.filled().split_at(read.filled().len().min(buf.remaining()));
            buf.put_slice(now);
            this.ahead.extend_from_slice(later);
            Poll::Ready(Ok(()))
        })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn small_reads_get_all_bytes_in_order_and_nothing_is_kept() {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let sent: Vec<u8> = (0..150_000_u32).map(|number| number as u8).collect();
        far.write_all(&sent).await.unwrap();
        drop(far);
        let (mut reader, mut read) = (ReadAhead::new(near), Vec::new());
        let mut chunk = [0; 4096];
        loop {
            match reader.read(&mut chunk).await.unwrap() {
                0 => break,
                bytes => read.extend_from_slice(&chunk[..bytes]),
            }
        }
        assert!(read == sent);
        assert_eq!(reader.ahead.capacity(), 0);
    }
}
