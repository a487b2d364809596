//! The one seam for connections to an upstream: TCP, TLS over it, unix sockets, and in-memory
//! streams for tests.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tls::ClientStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
    task::JoinSet,
    time::timeout,
};

use crate::settings::{
    endpoint::{Address, Endpoint},
    ours::{Carries, Open},
};

/// The kernel asks a silent peer this often whether it is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// How long an address of a name may be silent before the next one is tried beside it. A further one costs a connection that
/// is closed again, and all are to be tried within a connect time-out.
const SILENT: Duration = Duration::from_millis(100);

/// A connection to an upstream, as bytes.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Where it has an address of its own, as the upstream sees it. In front, so that it is over before another connection can
    /// get that address.
    _open: Option<Open>,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Tcp(TcpStream),
    Tls(Box<ClientStream<TcpStream>>),
    Unix(UnixStream),
    Memory(DuplexStream),
}

impl Stream {
    /// Connects, resolving the name anew, and takes note of what the connection `carries`. The caller sets the deadline.
    pub(crate) async fn dial(endpoint: &Endpoint, carries: Carries) -> io::Result<Self> {
        let mut open = None;
        let bytes = match &endpoint.address {
            Address::Tcp { host, port } => {
                let stream = dial_tcp(host, *port).await?;
                open = stream.local_addr().ok();
                Bytes::Tcp(stream)
            }
            Address::Tls { tls: None, .. } => {
                return Err(io::Error::other("nobody has said how to make the connection by TLS"));
            }
            Address::Tls { host, port, tls: Some(tls) } => {
                let stream = dial_tcp(host, *port).await?;
                open = stream.local_addr().ok();
                let secured = tls.connect(host, stream).await;
                let secured = secured.map_err(|error| io::Error::new(error.kind(), format!("no TLS: {error}")))?;
                Bytes::Tls(Box::new(secured))
            }
            Address::Unix(path) => Bytes::Unix(UnixStream::connect(path).await?),
            Address::Memory(peers) => {
                let (near, far) = tokio::io::duplex(64 * 1024);
                peers.send(far).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Bytes::Memory(near)
            }
        };
        Ok(Self { _open: open.map(|address| endpoint.ours.open(address, carries)), bytes })
    }

    /// Whether it leads to this machine.
    pub(crate) fn is_local(&self) -> bool {
        let of_tcp = |stream: &TcpStream| match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(peer)) => local.ip() == peer.ip(),
            _ => false,
        };
        match &self.bytes {
            Bytes::Tcp(stream) => of_tcp(stream),
            Bytes::Tls(stream) => of_tcp(stream.get_ref().0.get_ref()),
            Bytes::Unix(_) | Bytes::Memory(_) => true,
        }
    }

    /// Fails if the upstream has ended it and all that was said before has been read: what is written then is certainly
    /// not executed. Asks the system, because the runtime looks less often: when an upstream dies, the requests of all
    /// who had a reply just before would still be written. Cheaper than the write that follows by far.
    fn must_last(&self) -> io::Result<()> {
        let socket = match &self.bytes {
            Bytes::Tcp(stream) => SockRef::from(stream),
            Bytes::Tls(stream) => SockRef::from(stream.get_ref().0.get_ref()),
            Bytes::Unix(stream) => SockRef::from(stream),
            Bytes::Memory(_) => return Ok(()),
        };
        match socket.peek(&mut [MaybeUninit::uninit()]) {
            Ok(0) => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed by the upstream")),
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

async fn dial_tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = connect(lookup_host((host, port)).await?.collect()).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

/// Connects to the first of these addresses that answers. Each is tried once the ones before have failed or are silent: a
/// silent one must not take the time of all.
async fn connect(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    if let [only] = addresses[..] {
        return TcpStream::connect(only).await;
    }
    let mut addresses = addresses.into_iter();
    let mut tried = JoinSet::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    loop {
        let next = addresses.next();
        let patience = if next.is_some() { SILENT } else { Duration::MAX };
        next.map(|address| tried.spawn(TcpStream::connect(address)));
        match timeout(patience, tried.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failure = error,
            Ok(Some(Err(error))) => failure = error.into(),
            Ok(None) => return Err(failure),
            Err(_) => {}
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut $self.get_mut().bytes {
            Bytes::Tcp($stream) => $call,
            Bytes::Tls($stream) => $call,
            Bytes::Unix($stream) => $call,
            Bytes::Memory($stream) => $call,
        }
    };
}

/// An upstream that wants another certificate says so only once the handshake is over.
fn in_words(error: io::Error) -> io::Error {
    let words = tls::explain(&error);
    io::Error::new(error.kind(), words)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().bytes {
            Bytes::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Bytes::Tls(stream) => {
                // What a write has encrypted and the system did not take: whoever waits for replies sends it on. Whether
                // that failed tells the read, which may still hold what the upstream said before.
                let _ = Pin::new(stream.as_mut()).poll_flush(cx);
                Pin::new(stream.as_mut()).poll_read(cx, buf).map_err(in_words)
            }
            Bytes::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Bytes::Memory(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.must_last()?;
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.must_last()?;
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;
    use crate::settings::settings::Settings;

    /// An address that answers nobody, as one behind a filter does, while these are kept.
    async fn silent() -> (SocketAddr, (Socket, Vec<TcpStream>)) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
        socket.listen(0).expect("it can listen");
        let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it has one");
        let mut waiting = Vec::new();
        // Nobody accepts them, and the system has no place for more.
        while let Ok(comes) = timeout(SILENT, TcpStream::connect(address)).await {
            waiting.push(comes.expect("there is place"));
        }
        (address, (socket, waiting))
    }

    #[tokio::test]
    async fn an_address_of_a_name_that_is_silent_or_refuses_does_not_keep_from_the_others() {
        let (silent, _kept) = silent().await;
        let refuses =
            TcpListener::bind(("127.0.0.1", 0)).await.and_then(|gone| gone.local_addr()).expect("a free port");
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let good = listener.local_addr().expect("it has one");
        let in_time = Settings::new(Endpoint::tcp("host", 1)).connect_timeout;
        for addresses in [vec![good], vec![silent, good], vec![silent, refuses, good], vec![refuses, good, silent]] {
            let stream = timeout(in_time, connect(addresses.clone())).await;
            let stream = stream.unwrap_or_else(|_| panic!("{addresses:?} took too long")).expect("one is good");
            assert_eq!(stream.peer_addr().expect("connected"), good);
        }
        for (addresses, fails) in [
            (vec![refuses], io::ErrorKind::ConnectionRefused),
            (vec![refuses, refuses], io::ErrorKind::ConnectionRefused),
            (vec![], io::ErrorKind::NotFound),
        ] {
            assert_eq!(connect(addresses).await.expect_err("none is good").kind(), fails);
        }
    }
}
