//! A scripted upstream: what it does with a connection is a closure over its `Peer`, which reads requests
//! and answers with whatever the test likes. The gateway's login is answered before the script sees it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use resp::{Decoded, RequestDecoder, RequestLimits};
use socket2::SockRef;

use super::DEADLINE;

/// Listens until it goes; each connection has a thread.
pub struct Upstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

/// One connection of the gateway, from the upstream's side.
pub struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    decoder: RequestDecoder,
    /// The how manieth connection this is, from 0.
    pub index: usize,
}

impl Upstream {
    pub fn start(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let upstream = Self { address, connections: Arc::default(), ended: Arc::default() };
        let (connections, ended) = (Arc::clone(&upstream.connections), Arc::clone(&upstream.ended));
        thread::spawn(move || {
            let script = Arc::new(script);
            while let Ok((stream, _)) = listener.accept() {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                let (script, index) = (Arc::clone(&script), connections.fetch_add(1, Ordering::AcqRel));
                thread::spawn(move || script(&mut Peer::new(stream, index)));
            }
        });
        upstream
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Connections it has had so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the listener, which then goes; if it is gone already, so much the better.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

impl Peer {
    fn new(stream: TcpStream, index: usize) -> Self {
        stream.set_nodelay(true).expect("connected");
        stream.set_read_timeout(Some(DEADLINE * 2)).expect("a timeout can be set");
        Self { stream, input: Vec::new(), decoder: RequestDecoder::new(RequestLimits::default()), index }
    }

    /// The next request that is no part of a login, as a line; `None` when the gateway closes.
    pub fn next(&mut self) -> Option<String> {
        loop {
            let request = self.any()?;
            match request.split(' ').next() {
                Some("HELLO") => self.reply("-ERR unknown command 'HELLO'\r\n"),
                Some("CLIENT" | "AUTH" | "SELECT") => self.reply("+OK\r\n"),
                Some("CONFIG") => self.reply("*0\r\n"),
                _ if asks_for_names(&request) => self.reply("*0\r\n"),
                _ => return Some(request),
            }
        }
    }

    /// The same of a Redis that says its version, in both versions of the protocol.
    pub fn next_of(&mut self, server: &str, version: &str) -> Option<String> {
        loop {
            let request = self.any()?;
            let head = match request.as_str() {
                "HELLO 3" => "%4",
                _ if request.starts_with("HELLO") => "*8",
                _ if request.starts_with("SELECT") => {
                    self.reply("+OK\r\n");
                    continue;
                }
                _ if asks_for_names(&request) => {
                    self.reply("*0\r\n");
                    continue;
                }
                _ => return Some(request),
            };
            let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
            let said = ["server", server, "version", version].map(bulk).concat();
            self.reply(&format!("{head}\r\n{said}{}:7\r\n{}{}", bulk("id"), bulk("role"), bulk("master")));
        }
    }

    fn any(&mut self) -> Option<String> {
        loop {
            match self.decoder.decode(&self.input).expect("the gateway sends well-formed requests") {
                Decoded::Request { len } => {
                    let request = self.decoder.request(&self.input);
                    let words: Vec<_> = request.args().map(String::from_utf8_lossy).collect();
                    let line = words.join(" ");
                    self.input.drain(..len);
                    return Some(line);
                }
                Decoded::Nothing { .. } => panic!("the gateway sends no empty requests"),
                Decoded::Incomplete { .. } => {
                    let mut chunk = [0; 16 * 1024];
                    let count = self.stream.read(&mut chunk).ok().filter(|count| *count > 0)?;
                    self.input.extend_from_slice(&chunk[..count]);
                }
            }
        }
    }

    /// Sends bytes. The gateway may have gone, which is its right.
    pub fn reply(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes());
    }

    /// Where the gateway has connected to.
    pub fn port(&self) -> u16 {
        self.stream.local_addr().expect("connected").port()
    }

    /// Ends the connection with a reset when the script ends.
    pub fn reset(&mut self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("lingering can be set");
    }
}

/// Whether a request asks, at a login, what all commands are that the gateway knows.
fn asks_for_names(request: &str) -> bool {
    request.starts_with("COMMAND INFO APPEND ASKING ")
}
