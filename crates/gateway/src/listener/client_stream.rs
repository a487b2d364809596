//! A client's connection as bytes, whatever kind of address it came to.

use std::{
    io,
    os::fd::AsFd,
    pin::Pin,
    task::{Context, Poll},
};

use rustix::io::ioctl_fionread;
use tls::ServerStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    runtime::Handle,
};

use crate::observe::address::Address;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) enum ClientStream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<ServerStream<TcpStream>>),
}

impl ClientStream {
    /// Has a stream that one thread has accepted belong to another, that of `runtime`.
    pub(crate) fn move_to(self, runtime: &Handle) -> io::Result<Self> {
        let _context = runtime.enter();
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream.into_std()?).map(Self::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream.into_std()?).map(Self::Unix),
            Self::Tls(mut stream) => {
                // It cannot be taken apart and put together again: its socket is changed for another handle of itself.
                let socket = stream.get_mut().0.get_mut();
                let same = std::net::TcpStream::from(socket.as_fd().try_clone_to_owned()?);
                *socket = TcpStream::from_std(same)?;
                Ok(Self::Tls(stream))
            }
        }
    }

    /// The system user that the client runs as, where the system tells.
    pub(crate) fn peer(&self) -> Option<u32> {
        let Self::Unix(stream) = self else { return None };
        stream.peer_cred().ok().map(|credentials| credentials.uid())
    }

    /// Where a client at `address` has come to.
    pub(crate) fn local(&self, address: &Address) -> Address {
        let local = match (self, address) {
            // A unix socket has one address for both.
            (Self::Unix(_), Address::Unix(_)) => return address.clone(),
            (Self::Unix(stream), Address::Tcp(_) | Address::Behind(_)) => stream.local_addr().map(|local| {
                Address::Unix(local.as_pathname().map(|path| path.to_string_lossy()).unwrap_or_default().into())
            }),
            (Self::Tcp(stream), _) => stream.local_addr().map(Address::Tcp),
            (Self::Tls(stream), _) => stream.get_ref().0.get_ref().local_addr().map(Address::Tcp),
        };
        // A connection that is broken has none.
        local.unwrap_or_else(|_| address.clone())
    }

    /// How many bytes the system has received and nobody has read.
    pub(crate) fn bytes_waiting(&self) -> usize {
        let bytes = match self {
            Self::Tcp(stream) => ioctl_fionread(stream),
            Self::Unix(stream) => ioctl_fionread(stream),
            // As much is there as it was sent encrypted, at most.
            Self::Tls(stream) => ioctl_fionread(stream.get_ref().0.get_ref()),
        };
        // A connection that is broken has none.
        bytes.map_or(0, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Writes what the system takes at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
            // It would have to be encrypted first.
            Self::Tls(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            ClientStream::Tcp($stream) => $call,
            ClientStream::Unix($stream) => $call,
            ClientStream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
