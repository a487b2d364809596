//! The event loop of a bare gateway: all requests that have come go to Redis in one `write` on one connection, and the
//! replies back to the clients in the same order. No queue, no bound, no look at a command, no fault mended: what a
//! gateway that makes batches cannot cost less than. Memory is bounded by nothing but what clients have under way.

use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, TcpStream},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{event::epoll::EventFlags, io::Errno};

use crate::serve::{
    framing::{self, NotResp},
    listening::{Clients, Listening, TCP, UNIX},
};

/// What is read at a time of a client and of Redis, in bytes.
const REQUEST_BYTES: usize = 64 << 10;
const REPLY_BYTES: usize = 256 << 10;
/// The number of the connection to Redis; clients have those of their places.
const UPSTREAM: u64 = UNIX - 1;

/// One client.
#[derive(Debug)]
struct Client {
    socket: OwnedFd,
    /// How many clients there had been with it, so that another at the same place gets none of its replies.
    serial: u64,
    /// The beginning of a request.
    input: Vec<u8>,
    /// Replies that are to be written.
    output: Vec<u8>,
    /// It waits for the socket to take some of them.
    is_stuck: bool,
}

/// Whose turn it is for some replies; no client, if it has gone.
#[derive(Debug)]
struct Due {
    place: usize,
    serial: u64,
    replies: usize,
}

/// Listeners, clients and the connection to Redis.
#[derive(Debug)]
pub struct Bare {
    listening: Listening,
    upstream: OwnedFd,
    clients: Clients<Client>,
    admitted: u64,
    due: VecDeque<Due>,
    requests: Vec<u8>,
    replies: Vec<u8>,
    read: Vec<u8>,
    /// Clients with something in their output that are not stuck.
    touched: Vec<usize>,
}

impl Bare {
    /// Connects to Redis and begins to listen, and tells the address.
    ///
    /// # Errors
    /// Redis cannot be reached, or an address is taken or not allowed.
    pub fn listen(address: SocketAddr, socket: Option<&Path>, upstream: &str) -> io::Result<(Self, SocketAddr)> {
        let upstream = TcpStream::connect(upstream)?;
        upstream.set_nodelay(true)?;
        upstream.set_nonblocking(true)?;
        let (listening, address) = Listening::on(address, socket)?;
        listening.add(&upstream, UPSTREAM)?;
        let bare = Self {
            listening,
            upstream: upstream.into(),
            clients: Clients::default(),
            admitted: 0,
            due: VecDeque::new(),
            requests: Vec::new(),
            replies: Vec::new(),
            read: vec![0; REPLY_BYTES],
            touched: Vec::new(),
        };
        Ok((bare, address))
    }

    /// Serves clients until it is to stop.
    ///
    /// # Errors
    /// Redis has closed the connection or says what cannot be understood, or the system refuses to wait or to accept.
    pub fn run(&mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Listening::events();
        while !stop.load(Ordering::Relaxed) {
            self.listening.wait(&mut events)?;
            for event in events.drain(..) {
                match event.data.u64() {
                    listener @ (TCP | UNIX) => self.admit(listener)?,
                    UPSTREAM => self.hand_out()?,
                    place => self.serve(usize::try_from(place).unwrap_or(usize::MAX), event.flags),
                }
            }
            self.send()?;
            while let Some(place) = self.touched.pop() {
                self.answer(place);
            }
        }
        Ok(())
    }

    fn admit(&mut self, listener: u64) -> io::Result<()> {
        let admitted = &mut self.admitted;
        self.clients.admit(&self.listening, listener, |socket| {
            *admitted += 1;
            Client { socket, serial: *admitted, input: Vec::new(), output: Vec::new(), is_stuck: false }
        })
    }

    /// Goes on with a client that is ready: reads its requests, or writes the replies that it did not take.
    fn serve(&mut self, place: usize, flags: EventFlags) {
        let Some(client) = self.clients.at(place) else { return };
        if client.is_stuck && flags.contains(EventFlags::OUT) {
            return self.answer(place);
        }
        match client.take_requests(&mut self.read[..REQUEST_BYTES], &mut self.requests) {
            Ok(0) => {}
            Ok(replies) => self.due.push_back(Due { place, serial: client.serial, replies }),
            Err(NotResp) => self.clients.dismiss(place),
        }
    }

    /// Sends the requests that have been gathered; those that Redis does not take yet go with the next.
    fn send(&mut self) -> io::Result<()> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let sent = match rustix::io::write(&self.upstream, &self.requests) {
            Ok(sent) => sent,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error.into()),
        };
        self.requests.drain(..sent);
        let rest = if self.requests.is_empty() { EventFlags::empty() } else { EventFlags::OUT };
        if sent == 0 || !rest.is_empty() {
            self.listening.change(self.upstream.as_fd(), UPSTREAM, EventFlags::IN | rest);
        }
        Ok(())
    }

    /// Reads once of Redis, and gives the replies to the clients whose turn it is.
    fn hand_out(&mut self) -> io::Result<()> {
        let length = match rustix::io::read(&self.upstream, &mut *self.read) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let is_whole = self.replies.is_empty();
        if !is_whole {
            self.replies.extend_from_slice(&self.read[..length]);
        }
        let replies = if is_whole { &self.read[..length] } else { &self.replies };
        let mut done = 0;
        while let Some(due) = self.due.front_mut() {
            let begin = done;
            while due.replies > 0
                && let Some(end) = framing::end(replies, done).map_err(|NotResp| io::ErrorKind::InvalidData)?
            {
                (done, due.replies) = (end, due.replies - 1);
            }
            if let Some(client) = self.clients.at(due.place)
                && client.serial == due.serial
                && done > begin
            {
                if client.output.is_empty() {
                    self.touched.push(due.place);
                }
                client.output.extend_from_slice(&replies[begin..done]);
            }
            if due.replies > 0 {
                break;
            }
            self.due.pop_front();
        }
        if is_whole {
            self.replies.extend_from_slice(&self.read[done..length]);
        } else {
            self.replies.drain(..done);
        }
        Ok(())
    }

    /// Writes what a client has to get; what it does not take is written once it does.
    fn answer(&mut self, place: usize) {
        let Some(client) = self.clients.at(place) else { return };
        match rustix::io::write(&client.socket, &client.output) {
            Ok(length) => {
                client.output.drain(..length);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return self.clients.dismiss(place),
        }
        let is_stuck = !client.output.is_empty();
        if is_stuck != client.is_stuck {
            let wanted = if is_stuck { EventFlags::OUT } else { EventFlags::IN };
            self.listening.change(client.as_fd(), place as u64, wanted);
            client.is_stuck = is_stuck;
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Client {
    /// Reads once, appends what is whole to `requests`, and tells how many these are.
    fn take_requests(&mut self, read: &mut [u8], requests: &mut Vec<u8>) -> Result<usize, NotResp> {
        let length = match rustix::io::read(&self.socket, &mut *read) {
            Ok(0) => return Err(NotResp),
            Ok(length) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(0),
            Err(_) => return Err(NotResp),
        };
        let is_whole = self.input.is_empty();
        if !is_whole {
            self.input.extend_from_slice(&read[..length]);
        }
        let input = if is_whole { &read[..length] } else { &self.input };
        let (mut count, mut done) = (0, 0);
        while let Some(end) = framing::end(input, done)? {
            (count, done) = (count + 1, end);
        }
        requests.extend_from_slice(&input[..done]);
        if is_whole {
            self.input.extend_from_slice(&read[done..length]);
        } else {
            self.input.drain(..done);
        }
        if self.input.len() > framing::BYTES_MAX { Err(NotResp) } else { Ok(count) }
    }
}
