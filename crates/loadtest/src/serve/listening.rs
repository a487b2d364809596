//! What the event loops of this folder have in common: the readiness that they wait for, the listeners, and the places of
//! their clients.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
    path::Path,
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, Event, EventData, EventFlags},
    },
    io::Errno,
};

/// Events that are taken at a time.
const EVENTS_MAX: usize = 1_024;
/// How often an idle loop looks whether it is to stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// The numbers of the listeners; connections have others.
pub const TCP: u64 = u64::MAX;
pub const UNIX: u64 = u64::MAX - 1;

/// The listeners, and all connections that are waited for.
#[derive(Debug)]
pub struct Listening {
    epoll: OwnedFd,
    tcp: TcpListener,
    unix: Option<UnixListener>,
}

impl Listening {
    /// Begins to listen, and tells the address.
    ///
    /// # Errors
    /// An address is taken or not allowed.
    pub fn on(address: SocketAddr, socket: Option<&Path>) -> io::Result<(Self, SocketAddr)> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let tcp = TcpListener::bind(address)?;
        tcp.set_nonblocking(true)?;
        epoll::add(&epoll, &tcp, EventData::new_u64(TCP), EventFlags::IN)?;
        let unix = socket.map(UnixListener::bind).transpose()?;
        if let Some(unix) = &unix {
            unix.set_nonblocking(true)?;
            epoll::add(&epoll, unix, EventData::new_u64(UNIX), EventFlags::IN)?;
        }
        let address = tcp.local_addr()?;
        Ok((Self { epoll, tcp, unix }, address))
    }

    /// Room for what a wait brings.
    pub fn events() -> Vec<Event> {
        Vec::with_capacity(EVENTS_MAX)
    }

    /// Waits for events, a tenth of a second at most.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn wait(&self, events: &mut Vec<Event>) -> io::Result<()> {
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&LOOK)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// A client of the listener with this number; nothing if none waits any more.
    ///
    /// # Errors
    /// The listener fails.
    fn accept(&self, listener: u64) -> io::Result<Option<OwnedFd>> {
        loop {
            let accepted = match (listener, &self.unix) {
                (UNIX, Some(unix)) => unix.accept().and_then(|(client, _)| {
                    client.set_nonblocking(true)?;
                    Ok(client.into())
                }),
                _ => self.tcp.accept().and_then(|(client, _)| {
                    client.set_nodelay(true)?;
                    client.set_nonblocking(true)?;
                    Ok(client.into())
                }),
            };
            match accepted.map_err(|error| (error.kind(), error)) {
                Ok(client) => return Ok(Some(client)),
                Err((io::ErrorKind::WouldBlock, _)) => return Ok(None),
                // That client has gone already.
                Err((io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted, _)) => {}
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// Has a connection waited for under this number. Closing it ends that.
    ///
    /// # Errors
    /// The system has no room for it.
    pub fn add(&self, socket: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(number), EventFlags::IN)?)
    }

    /// Has a connection that was added waited for in another way.
    pub fn change(&self, socket: BorrowedFd<'_>, number: u64, wanted: EventFlags) {
        // It is registered, so that this cannot fail.
        epoll::modify(&self.epoll, socket, EventData::new_u64(number), wanted).ok();
    }
}

/// Clients, each with the number of its place.
#[derive(Debug)]
pub struct Clients<C> {
    places: Vec<Option<C>>,
    free: Vec<usize>,
}

impl<C> Default for Clients<C> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<C: AsFd> Clients<C> {
    /// Admits all that wait at the listener with this number.
    ///
    /// # Errors
    /// The listener fails, or the system has no room for them.
    pub fn admit(&mut self, listening: &Listening, listener: u64, mut new: impl FnMut(OwnedFd) -> C) -> io::Result<()> {
        while let Some(socket) = listening.accept(listener)? {
            let place = self.free.pop().unwrap_or_else(|| {
                self.places.push(None);
                self.places.len() - 1
            });
            let client = self.places[place].insert(new(socket));
            listening.add(client, place as u64)?;
        }
        Ok(())
    }

    /// The client at a place.
    pub fn at(&mut self, place: usize) -> Option<&mut C> {
        self.places.get_mut(place).and_then(Option::as_mut)
    }

    /// Closes the client at a place, which ends the waiting for it.
    pub fn dismiss(&mut self, place: usize) {
        self.places[place] = None;
        self.free.push(place);
    }
}
