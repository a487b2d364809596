//! Accepts clients: as many as there may be, whatever goes wrong with one of them. Owns the session
//! tasks until they have ended.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use pool::Caller;
use resp::write_error;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tracing::Instrument;

use crate::{listener::threads::Threads, observe::spans, session::opener::Opener, wording::errors};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 4096;

/// How long accepting pauses when the process is out of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a client that has begun a handshake may take to end it once we are to close.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// Drops segments that open a connection (SYN without ACK), in the kernel's packet filter language: load the byte of
/// flags of the TCP header, keep the two, compare, and accept none or all of the segment.
const NO_NEW_HANDSHAKES: [SockFilter; 5] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x54, 0, 0, 0x12),
    SockFilter::new(0x15, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// A bound socket and the sessions that came of it.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    opener: Opener,
    threads: Arc<Threads>,
    /// One for each thread.
    callers: Vec<Caller>,
    sessions: JoinSet<()>,
    /// Another process may listen on the same port.
    shares_port: bool,
}

impl Listener {
    /// Binds the first of `addresses` that can be bound.
    pub(crate) fn bind(
        addresses: &[SocketAddr],
        reuse_port: bool,
        opener: Opener,
        threads: Arc<Threads>,
        callers: Vec<Caller>,
    ) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match bind(*address, reuse_port) {
                Ok(socket) => {
                    let (sessions, shares_port) = (JoinSet::new(), reuse_port);
                    return Ok(Self { socket, opener, threads, callers, sessions, shares_port });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Takes over a socket that is bound and stays open when this process ends.
    pub(crate) fn inherit(
        socket: std::net::TcpListener,
        opener: Opener,
        threads: Arc<Threads>,
        callers: Vec<Caller>,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        Ok(Self { socket, opener, threads, callers, sessions: JoinSet::new(), shares_port: false })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Accepts until it is dropped. Cancel-safe: no accepted client is lost.
    pub(crate) async fn accept(&mut self) {
        let mut out_of_resources = false;
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, address)) => {
                        out_of_resources = false;
                        self.start(stream, address);
                    }
                    // The client was gone before it was accepted.
                    Err(error) if is_of_one_client(&error) => tracing::debug!(%error, "accept failed"),
                    Err(error) => {
                        if !std::mem::replace(&mut out_of_resources, true) {
                            tracing::error!(%error, clients = self.sessions.len(), "cannot accept clients");
                        }
                        sleep(PAUSE).await;
                    }
                },
                Some(ended) = self.sessions.join_next() => report(ended),
            }
        }
    }

    fn start(&mut self, stream: TcpStream, address: SocketAddr) {
        if self.sessions.len() >= self.opener.clients_max() {
            self.opener.refused();
            let mut reply = Vec::new();
            write_error(&mut reply, errors::CLIENTS_MAX);
            // A new socket has room for a line; if not, the client is closed without it.
            let _ = stream.try_write(&reply);
            return;
        }
        let seat = self.threads.seat();
        let stream = match stream.set_nodelay(true).and_then(|()| self.threads.move_stream(stream, &seat)) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "client gone before it was served");
                return;
            }
        };
        let caller = self.callers[seat.thread].clone();
        let runtime = &self.threads.runtimes()[seat.thread];
        let session = self.opener.open(stream, address, caller);
        let span = spans::session(session.id(), address);
        self.sessions.spawn_on(session.run(seat).instrument(span), runtime);
    }

    /// Has the system begin no further handshakes for us, and lets in those whose handshake has begun: closing
    /// would reset them. Who would begin one tries again after a second and gets to the other process, because
    /// the system chooses by addresses which of two sockets a client belongs to.
    async fn end_handshakes(&mut self, deadline: Instant) {
        match SockRef::from(&self.socket).attach_filter(&NO_NEW_HANDSHAKES) {
            // Accepting ends only by being dropped.
            Ok(()) => drop(timeout_at(deadline.min(Instant::now() + HANDSHAKE), self.accept()).await),
            Err(error) => tracing::warn!(%error, "handshakes in progress will be reset"),
        }
    }

    /// Lets in those whom the system has taken in already: where another process takes over, it will not
    /// get them.
    fn accept_waiting(&mut self) {
        for _ in 0..BACKLOG {
            let Ok((socket, address)) = SockRef::from(&self.socket).accept() else { return };
            let stream = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket.into()));
            if let (Ok(stream), Some(address)) = (stream, address.as_socket()) {
                self.start(stream, address);
            }
        }
    }

    /// Stops accepting, has the sessions finish until `deadline`, and aborts what is left; how many
    /// that were.
    pub(crate) async fn drain(mut self, deadline: Instant) -> usize {
        if self.shares_port {
            self.end_handshakes(deadline).await;
        }
        self.accept_waiting();
        let Self { socket, opener, mut sessions, .. } = self;
        drop(socket);
        opener.drain();
        while let Ok(Some(ended)) = timeout_at(deadline, sessions.join_next()).await {
            report(ended);
        }
        let left = sessions.len();
        sessions.shutdown().await;
        left
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "session ended unexpectedly");
    }
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

fn is_of_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
