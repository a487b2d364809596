//! A socket on which clients come: bound at one of the addresses to listen on, or passed by whoever started us. Says
//! who has come; what becomes of them is for `accept`.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use settings::{Listen, Place};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::{
    listener::{
        client_stream::ClientStream,
        passed::{Passed, PassedListener},
        socket_file::SocketFile,
    },
    observe::address::Address,
};

/// Connections that the kernel keeps until they are accepted.
pub(crate) const BACKLOG: i32 = 4096;

/// Unanswered questions after which the kernel takes a client for gone, as in Redis.
const PROBES: u32 = 3;

/// Drops segments that open a connection (SYN without ACK), in the kernel's packet filter language: load the byte of
/// flags of the TCP header, keep the two, compare, and accept none or all of the segment.
const NO_NEW_HANDSHAKES: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Door {
    /// Dropped before the socket.
    file: Option<SocketFile>,
    socket: Bound,
    /// Another process may listen on the same port.
    shares_port: bool,
    manners: Manners,
}

/// What comes before the first request of a client.
// Open: a plain value, of a door and of those who come by it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// A TLS handshake.
    pub(crate) tls: bool,
    /// First of all, a load balancer tells where the client is.
    pub(crate) proxied: bool,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener),
    /// With the path of its file.
    Unix(UnixListener, Arc<str>),
}

/// One who has come.
// Open: a plain value, taken apart by whoever serves the client.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: ClientStream,
    pub(crate) address: Address,
    pub(crate) manners: Manners,
}

impl Manners {
    fn of(listen: &Listen) -> Self {
        Self { tls: listen.tls, proxied: listen.proxy_protocol }
    }

    /// Whether there is anything to go through before the first request.
    pub(crate) fn take_time(self) -> bool {
        self.tls || self.proxied
    }
}

impl Door {
    /// Listens at an address. Of the addresses of a name, the first one counts that can be bound.
    ///
    /// # Errors
    /// It cannot; the error says why, and what to do about it.
    pub(crate) fn bind(listen: &Listen, reuse_port: bool) -> io::Result<Self> {
        Self::try_bind(listen, reuse_port).map_err(|error| {
            let hint = hint(&error, &listen.place);
            io::Error::new(error.kind(), format!("{error}{hint}"))
        })
    }

    fn try_bind(listen: &Listen, reuse_port: bool) -> io::Result<Self> {
        let (file, socket) = match &listen.place {
            Place::Passed(_) => {
                return Err(io::Error::other("no socket was passed to this process, as systemd does (LISTEN_FDS)"));
            }
            Place::Tcp(addresses) => (None, Bound::Tcp(bind_first(addresses, reuse_port)?)),
            Place::Unix(place) => {
                let (socket, file) = SocketFile::bind(place, reuse_port)?;
                (Some(file), Bound::Unix(UnixListener::from_std(socket)?, place.path.to_string_lossy().into()))
            }
        };
        let shares_port = reuse_port && matches!(socket, Bound::Tcp(_));
        Ok(Self { file, socket, shares_port, manners: Manners::of(listen) })
    }

    /// Takes over a socket that is bound and stays open when this process ends.
    pub(crate) fn inherit(passed: Passed, listen: &Listen) -> io::Result<Self> {
        let socket = match passed.socket {
            PassedListener::Tcp(socket, _) => {
                socket.set_nonblocking(true)?;
                Bound::Tcp(TcpListener::from_std(socket)?)
            }
            PassedListener::Unix(socket, path) => {
                socket.set_nonblocking(true)?;
                Bound::Unix(UnixListener::from_std(socket)?, path)
            }
        };
        Ok(Self { file: None, socket, shares_port: false, manners: Manners::of(listen) })
    }

    /// Where it is, as bound.
    pub(crate) fn address(&self) -> io::Result<String> {
        match &self.socket {
            Bound::Tcp(socket) => {
                Ok(format!("{}{}", if self.manners.tls { "tls://" } else { "" }, socket.local_addr()?))
            }
            Bound::Unix(_, path) => Ok(format!("unix:{path}")),
        }
    }

    /// Whether a client has to go through a handshake, or its load balancer to send a header, before it is served.
    pub(crate) fn greets(&self) -> bool {
        self.manners.take_time()
    }

    /// The next one to come.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Arrival>> {
        match &self.socket {
            Bound::Tcp(socket) => socket.poll_accept(cx).map_ok(|(stream, address)| Arrival {
                stream: ClientStream::Tcp(stream),
                address: Address::Tcp(address),
                manners: self.manners,
            }),
            Bound::Unix(socket, path) => socket.poll_accept(cx).map_ok(|(stream, _)| Arrival {
                stream: ClientStream::Unix(stream),
                address: Address::Unix(Arc::clone(path)),
                manners: self.manners,
            }),
        }
    }

    /// The next one whom the system has taken in already.
    pub(crate) fn accept_waiting(&self) -> Option<io::Result<Arrival>> {
        match &self.socket {
            Bound::Tcp(socket) => {
                let (socket, address) = SockRef::from(socket).accept().ok()?;
                let stream = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket.into()));
                let address = Address::Tcp(address.as_socket()?);
                Some(stream.map(|stream| Arrival { stream: ClientStream::Tcp(stream), address, manners: self.manners }))
            }
            Bound::Unix(socket, path) => {
                let (socket, _) = SockRef::from(socket).accept().ok()?;
                let stream = socket.set_nonblocking(true).and_then(|()| UnixStream::from_std(socket.into()));
                let address = Address::Unix(Arc::clone(path));
                Some(stream.map(|stream| Arrival {
                    stream: ClientStream::Unix(stream),
                    address,
                    manners: self.manners,
                }))
            }
        }
    }

    /// Has the system begin no further handshakes for us; true if there may be some that have begun. Closing would
    /// reset them. Who would begin one tries again after a second and gets to the other process, because the system
    /// chooses by addresses which of two sockets a client belongs to.
    pub(crate) fn end_handshakes(&self) -> bool {
        let Bound::Tcp(socket) = &self.socket else { return false };
        if !self.shares_port {
            return false;
        }
        match SockRef::from(socket).attach_filter(&NO_NEW_HANDSHAKES) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "handshakes in progress will be reset");
                false
            }
        }
    }

    /// From now on nobody new comes by the file, if it is still ours.
    pub(crate) fn remove_file(&mut self) {
        self.file = None;
    }
}

impl Arrival {
    /// Has what is written sent at once, and has the system ask a client that is silent for as long as `keepalive`
    /// whether it is still there.
    pub(crate) fn prepare(&self, keepalive: Option<Duration>) -> io::Result<()> {
        let ClientStream::Tcp(stream) = &self.stream else { return Ok(()) };
        stream.set_nodelay(true)?;
        let Some(idle) = keepalive else { return Ok(()) };
        let interval = (idle / PROBES).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(PROBES);
        SockRef::from(stream).set_tcp_keepalive(&keepalive)
    }
}

/// Stands behind an error; empty if there is nothing to add.
fn hint(error: &io::Error, place: &Place) -> &'static str {
    use io::ErrorKind::{AddrInUse, AddrNotAvailable, NotFound, PermissionDenied};
    match (place, error.kind()) {
        (Place::Tcp(_), AddrInUse) => {
            "; another process listens there, and only one may, unless both have reuse_port = true"
        }
        (Place::Tcp(_), AddrNotAvailable) => "; this machine has no such address",
        (Place::Tcp(_), PermissionDenied) => "; a port below 1024 needs the capability CAP_NET_BIND_SERVICE",
        (Place::Unix(_), NotFound) => "; the directory of the socket is not there",
        (Place::Unix(_), PermissionDenied) => "; the directory of the socket has to let this user make files in it",
        (Place::Tcp(_) | Place::Unix(_) | Place::Passed(_), _) => "",
    }
}

fn bind_first(addresses: &[SocketAddr], reuse_port: bool) -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in addresses {
        match bind(*address, reuse_port) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}
