//! The event loop of the floor: `epoll`, a `read` and a `write`, by hand and without a runtime, because a
//! runtime's own cost is part of what is held against it.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{event::epoll::EventFlags, io::Errno};

use crate::serve::{
    canned::Canned,
    listening::{Clients, Listening, TCP, UNIX},
};

/// What is read at a time, in bytes.
const READ_BYTES: usize = 64 << 10;

/// One client.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    /// The beginning of a request, or requests whose replies found no room.
    input: Vec<u8>,
    /// Replies that the socket did not take.
    output: Vec<u8>,
}

/// Listeners and clients.
#[derive(Debug)]
pub struct EventLoop {
    listening: Listening,
    clients: Clients<Client>,
    canned: Canned,
    read: Vec<u8>,
    replies: Vec<u8>,
}

impl EventLoop {
    /// Begins to listen, and tells the address.
    ///
    /// # Errors
    /// An address is taken or not allowed.
    pub fn listen(address: SocketAddr, socket: Option<&Path>) -> io::Result<(Self, SocketAddr)> {
        let (listening, address) = Listening::on(address, socket)?;
        let (clients, canned) = (Clients::default(), Canned::default());
        Ok((Self { listening, clients, canned, read: vec![0; READ_BYTES], replies: Vec::new() }, address))
    }

    /// Serves clients until it is to stop.
    ///
    /// # Errors
    /// The system refuses to wait or to accept.
    pub fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Listening::events();
        while !stop.load(Ordering::Relaxed) {
            self.listening.wait(&mut events)?;
            for event in events.drain(..) {
                match event.data.u64() {
                    listener @ (TCP | UNIX) => self.clients.admit(&self.listening, listener, Client::new)?,
                    place => self.serve(usize::try_from(place).unwrap_or(usize::MAX), event.flags),
                }
            }
        }
        Ok(())
    }

    fn serve(&mut self, place: usize, flags: EventFlags) {
        let Some(client) = self.clients.at(place) else { return };
        let served = if flags.contains(EventFlags::OUT) {
            client.go_on(&mut self.canned)
        } else {
            client.answer(&mut self.canned, &mut self.read, &mut self.replies)
        };
        match served {
            Some(Wait::Input) if !flags.contains(EventFlags::OUT) => {}
            Some(wait) => {
                let wanted = if wait == Wait::Input { EventFlags::IN } else { EventFlags::OUT };
                self.listening.change(client.as_fd(), place as u64, wanted);
            }
            None => self.clients.dismiss(place),
        }
    }
}

/// What a client is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    Input,
    Output,
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Client {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, input: Vec::new(), output: Vec::new() }
    }

    /// Reads once and answers what is whole; nothing if the client has gone or sends no requests.
    fn answer(&mut self, canned: &mut Canned, read: &mut [u8], replies: &mut Vec<u8>) -> Option<Wait> {
        let length = match rustix::io::read(&self.socket, &mut *read) {
            Ok(0) => return None,
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Some(Wait::Input),
            Err(_) => return None,
        };
        replies.clear();
        if self.input.is_empty() {
            let done = canned.answer(&read[..length], replies).ok()?;
            self.input.extend_from_slice(&read[done..length]);
        } else {
            self.input.extend_from_slice(&read[..length]);
            let done = canned.answer(&self.input, replies).ok()?;
            self.input.drain(..done);
        }
        if replies.is_empty() {
            return Some(Wait::Input);
        }
        match rustix::io::write(&self.socket, replies) {
            Ok(length) if length == replies.len() => self.rest(canned),
            Ok(length) => {
                self.output.extend_from_slice(&replies[length..]);
                Some(Wait::Output)
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                self.output.append(replies);
                Some(Wait::Output)
            }
            Err(_) => None,
        }
    }

    /// Answers what found no room before; the usual case is that nothing is left.
    fn rest(&mut self, canned: &mut Canned) -> Option<Wait> {
        if self.input.is_empty() {
            return Some(Wait::Input);
        }
        let done = canned.answer(&self.input, &mut self.output).ok()?;
        self.input.drain(..done);
        Some(if self.output.is_empty() { Wait::Input } else { Wait::Output })
    }

    /// Goes on with replies that the socket did not take.
    fn go_on(&mut self, canned: &mut Canned) -> Option<Wait> {
        match rustix::io::write(&self.socket, &self.output) {
            Ok(length) => {
                self.output.drain(..length);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return None,
        }
        if self.output.is_empty() { self.rest(canned) } else { Some(Wait::Output) }
    }
}
