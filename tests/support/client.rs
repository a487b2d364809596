//! A raw client: bytes out, whole replies in, nothing interpreted. Every read has a deadline, so that a
//! missing reply fails a test instead of hanging it.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use resp::{ReplyScanner, write_request};
use socket2::SockRef;

use super::DEADLINE;

/// As deep as scripts of Redis nest, and deeper.
const DEPTH_MAX: usize = 10_000;

/// A connection to a gateway or to a Redis.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

/// One request as an array of bulk strings.
pub fn request(args: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    write_request(&mut out, args);
    out
}

/// Requests, back to back; each is a line of words.
pub fn requests(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| request(&line.split(' ').collect::<Vec<_>>())).collect()
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).expect("connects")
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// A connection to the unix socket at `path`.
    pub fn try_connect_unix(path: &Path) -> io::Result<Self> {
        // Reading, writing and waiting are the same for all streams.
        let stream = TcpStream::from(OwnedFd::from(UnixStream::connect(path)?));
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, input: Vec::new() })
    }

    /// Where it connects from.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("connected")
    }

    /// The same connection, to send by while another thread reads.
    pub fn twin(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("a stream can be held twice"), input: Vec::new() }
    }

    /// Changes how long a read may take.
    pub fn read_timeout(&self, timeout: Duration) {
        self.stream.set_read_timeout(Some(timeout)).expect("a timeout can be set");
    }

    /// Bounds what the kernel keeps for this client, so that not reading is felt soon. Not less than a
    /// segment of the loopback device, below which TCP crawls.
    pub fn small_buffers(&self) {
        SockRef::from(&self.stream).set_recv_buffer_size(128 * 1024).expect("a buffer's size can be set");
    }

    #[track_caller]
    pub fn send(&mut self, args: &[&str]) {
        self.send_raw(&request(args));
    }

    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).expect("sends");
    }

    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends what the kernel takes at once, from `bytes`; how much that was.
    pub fn send_available(&mut self, bytes: &[u8]) -> usize {
        self.try_send_available(bytes).expect("sends")
    }

    /// As `send_available`; fails if the connection has ended.
    pub fn try_send_available(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_nonblocking(true).expect("a mode can be set");
        let (mut sent, mut failure) = (0, None);
        while sent < bytes.len() && failure.is_none() {
            match self.stream.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => failure = Some(error),
            }
        }
        self.stream.set_nonblocking(false).expect("a mode can be set");
        failure.map_or(Ok(sent), Err)
    }

    /// Whether something has arrived that nobody has read.
    pub fn has_arrived(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("a mode can be set");
        let arrived = self.stream.peek(&mut [0]).is_ok_and(|bytes| bytes > 0);
        self.stream.set_nonblocking(false).expect("a mode can be set");
        arrived || !self.input.is_empty()
    }

    /// The bytes of exactly one reply.
    #[track_caller]
    pub fn read_reply(&mut self) -> Vec<u8> {
        self.try_read_reply().expect("a reply in time").expect("a reply, not the end of the connection")
    }

    /// One reply; `None` if the connection ends before it begins.
    pub fn try_read_reply(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut scanner = ReplyScanner::new(DEPTH_MAX);
        let mut scanned = 0;
        loop {
            let progress = scanner
                .scan(&self.input[scanned..])
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
            scanned += progress.consumed;
            if progress.complete.is_some() {
                let rest = self.input.split_off(scanned);
                return Ok(Some(std::mem::replace(&mut self.input, rest)));
            }
            if self.fill()? == 0 {
                if self.input.is_empty() {
                    return Ok(None);
                }
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 64 * 1024];
        let count = loop {
            match self.stream.read(&mut chunk) {
                // The machine was suspended, or the process.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.input.extend_from_slice(&chunk[..count]);
        Ok(count)
    }

    /// So many bytes, whatever they are.
    #[track_caller]
    pub fn read_bytes(&mut self, count: usize) -> Vec<u8> {
        while self.input.len() < count {
            assert!(self.fill().expect("more in time") > 0, "the connection ended after {} bytes", self.input.len());
        }
        let rest = self.input.split_off(count);
        std::mem::replace(&mut self.input, rest)
    }

    #[track_caller]
    pub fn read_replies(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.read_reply()).collect()
    }

    #[track_caller]
    pub fn call(&mut self, args: &[&str]) -> Vec<u8> {
        self.send(args);
        self.read_reply()
    }

    /// Calls a request given as a line of words.
    #[track_caller]
    pub fn line(&mut self, line: &str) -> Vec<u8> {
        self.call(&line.split(' ').collect::<Vec<_>>())
    }

    /// As `line`; an error where the connection is no good or ends.
    pub fn try_line(&mut self, line: &str) -> io::Result<Vec<u8>> {
        self.try_send_raw(&requests(&[line]))?;
        self.try_read_reply()?.ok_or_else(|| ErrorKind::UnexpectedEof.into())
    }

    /// Calls a request and asserts its reply.
    #[track_caller]
    pub fn expect(&mut self, line: &str, reply: &str) {
        let found = self.line(line);
        assert_eq!(String::from_utf8_lossy(&found), reply, "reply to {line:?}");
    }

    /// Reads to the end of the connection; what came before it. A reset counts as the end.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => return std::mem::take(&mut self.input),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return std::mem::take(&mut self.input),
                Err(error) => panic!("the connection did not end: {error}, after {:?}", self.shown()),
            }
        }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.input[..self.input.len().min(200)]).into_owned()
    }

    /// Nothing more comes, and the connection ends.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.read_to_end();
        assert!(rest.is_empty(), "came before the end: {:?}", String::from_utf8_lossy(&rest[..rest.len().min(200)]));
    }

    /// Says that it sends no more, and can still read.
    pub fn half_close(&self) {
        // The other end may have closed already, which reading tells.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Goes away with a reset instead of an orderly end.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("lingering can be set");
    }
}
