//! The upstream as the tests play it: a [`Peer`] is one connection driven by hand, an [`Upstream`]
//! serves all of them by a rule and remembers what it saw. Both answer a login with errors, as
//! mini-redis does, unless told otherwise.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_channel::Receiver;
use pool::{Answer, Burst, Endpoint, Needs, Pool, Protocol, Settings};
use resp::{Decoded, RequestDecoder, RequestLimits, write_request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// Connections whose other ends the pool has opened.
pub type Arrivals = Receiver<DuplexStream>;

pub const UNKNOWN: &[u8] = b"-ERR unknown command\r\n";

/// Answers to `HELLO 3`, `HELLO 2`, `CLIENT SETNAME` and `CONFIG GET timeout` of a login. Further questions get an
/// error. A login that follows another asks less.
pub type Login = [&'static [u8]; 4];

pub const NOTHING_KNOWN: Login = [UNKNOWN; 4];
pub const SPEAKS_RESP3: Login = [b"%1\r\n+proto\r\n:3\r\n", b"*2\r\n+proto\r\n:2\r\n", b"+OK\r\n", UNKNOWN];
pub const IDLE_TIMEOUT_4_S: Login = [UNKNOWN, UNKNOWN, UNKNOWN, b"*2\r\n$7\r\ntimeout\r\n$1\r\n4\r\n"];

/// Nothing in these tests takes longer on the paused clock: what does would hang for ever.
const STUCK: Duration = Duration::from_secs(1000);

/// Small, without the chances of lifetime, and without questions that nobody expects.
pub fn settings(endpoint: Endpoint) -> Settings {
    let (keepalive, check_interval) = (Duration::from_secs(3600), Duration::ZERO);
    Settings { workers: 1, keepalive, check_interval, ..Settings::new(endpoint) }
}

pub fn burst(args: &[&str]) -> Burst {
    let mut burst = Burst { replies_due: 1, ..Default::default() };
    write_request(&mut burst.requests, args);
    burst
}

pub fn burst_in(db: u32, args: &[&str]) -> Burst {
    Burst { needs: Needs { db, ..Default::default() }, ..burst(args) }
}

pub fn read_only(args: &[&str]) -> Burst {
    Burst { read_only: true, ..burst(args) }
}

/// Several requests, to be written in one piece.
pub fn burst_of(requests: &[&[&str]]) -> Burst {
    let mut burst = Burst { replies_due: u32::try_from(requests.len()).expect("few"), ..Default::default() };
    for request in requests {
        write_request(&mut burst.requests, request);
    }
    burst
}

/// Needs RESP3.
pub fn resp3(args: &[&str]) -> Burst {
    Burst { needs: Needs { protocol: Protocol::Resp3, ..Default::default() }, ..burst(args) }
}

/// Starts the call of an `INCR` for each name, in this order, and lets them go as far as they can.
pub async fn calls<N: ToString>(pool: &Pool, names: impl IntoIterator<Item = N>) -> Vec<JoinHandle<Answer>> {
    let mut calls = Vec::new();
    for name in names {
        let (mut caller, name) = (pool.caller(), name.to_string());
        calls.push(tokio::spawn(async move { caller.call(burst(&["INCR", &name])).await }));
        tokio::task::yield_now().await;
    }
    settle().await;
    calls
}

/// The reply that belongs to a request and to no other.
pub fn echo<A: AsRef<str>>(args: &[A]) -> Vec<u8> {
    let args: Vec<&str> = args.iter().map(AsRef::as_ref).collect();
    format!("+{}\r\n", args.join(" ")).into_bytes()
}

/// The replies of a job that has to have got all of them.
pub fn replies(answer: Answer) -> String {
    assert_eq!(answer.failure, None);
    String::from_utf8(answer.burst.replies).expect("text")
}

/// Lets everything go on until nothing can without time passing.
pub async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

pub type Request = Vec<String>;

/// One connection of the pool, seen from the upstream.
pub struct Peer {
    stream: DuplexStream,
    input: Vec<u8>,
    decoder: RequestDecoder,
    /// Requests that were read and not looked at yet.
    unseen: VecDeque<Request>,
    /// The requests by which it was logged in.
    auth: Option<Request>,
}

impl Peer {
    pub fn new(stream: DuplexStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
            decoder: RequestDecoder::new(RequestLimits::default()),
            unseen: VecDeque::new(),
            auth: None,
        }
    }

    /// The next connection that the pool opens, logged in.
    pub async fn accept(arrivals: &Arrivals) -> Self {
        Self::accept_as(arrivals, NOTHING_KNOWN).await
    }

    pub async fn accept_as(arrivals: &Arrivals, login: Login) -> Self {
        let stream = timeout(STUCK, arrivals.recv()).await.expect("a connection in time").expect("the pool lives");
        let mut peer = Self::new(stream);
        peer.log_in(login).await;
        // The worker is to see the end of the login before it sees anything else.
        settle().await;
        peer
    }

    /// Answers a login; false if the pool has gone.
    pub async fn log_in(&mut self, login: Login) -> bool {
        while let Ok(request) = timeout(Duration::from_millis(1), self.next()).await {
            match request {
                Some(request) if let Some(answer) = answer_to(&request, &login) => {
                    self.reply(answer).await;
                    if request[0] == "AUTH" {
                        self.auth = Some(request);
                    }
                }
                Some(request) => {
                    self.unseen.push_front(request);
                    break;
                }
                None => return false,
            }
        }
        true
    }

    /// The next request; `None` at the end of the connection. Cancel-safe.
    pub async fn next(&mut self) -> Option<Request> {
        if let Some(request) = self.unseen.pop_front() {
            return Some(request);
        }
        loop {
            match self.decoder.decode(&self.input).expect("the pool speaks RESP") {
                Decoded::Request { len } => {
                    let request = self.decoder.request(&self.input);
                    let arg = |index| request.arg(index).map(|arg| String::from_utf8_lossy(arg).into_owned());
                    let args = (0..).map_while(arg).collect();
                    self.input.drain(..len);
                    return Some(args);
                }
                Decoded::Nothing { len } => drop(self.input.drain(..len)),
                Decoded::Incomplete { .. } => {
                    let read = timeout(STUCK, self.stream.read_buf(&mut self.input)).await.expect("a request in time");
                    if !matches!(read, Ok(1..)) {
                        return None;
                    }
                }
            }
        }
    }

    /// What has been written on the connection and not looked at yet.
    pub async fn written(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        while let Ok(Some(request)) = timeout(Duration::from_millis(1), self.next()).await {
            requests.push(request);
        }
        requests
    }

    /// Sends bytes; that the pool has closed the connection is for the test to find out elsewhere.
    pub async fn reply(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// As `reply`, where the pool may not read all of it.
    pub async fn reply_or_give_up(&mut self, bytes: &[u8]) {
        let _ = timeout(Duration::from_secs(5), self.stream.write_all(bytes)).await;
    }

    /// Answers the next request with its own arguments.
    pub async fn echo_next(&mut self) -> Request {
        let request = self.next().await.expect("a request");
        self.reply(echo(&request)).await;
        request
    }

    /// Whether the pool closes the connection, without any further request, before time passes.
    pub async fn is_closed(&mut self) -> bool {
        matches!(timeout(Duration::from_millis(1), self.next()).await, Ok(None))
    }
}

/// The answer to a request of a login, if it is one.
fn answer_to(request: &Request, login: &Login) -> Option<&'static [u8]> {
    let words: Vec<&str> = request.iter().map(String::as_str).collect();
    match words[..] {
        ["HELLO", "3"] => Some(login[0]),
        ["HELLO", ..] => Some(login[1]),
        ["CLIENT", "SETNAME", _] => Some(login[2]),
        ["CONFIG", ..] => Some(login[3]),
        ["INFO", ..] => Some(UNKNOWN),
        ["AUTH", ..] => Some(b"+OK\r\n"),
        _ => None,
    }
}

/// A request as the upstream saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Connections are counted from 0 as they come.
    pub connection: usize,
    pub request: Request,
}

/// What a rule says of a request.
pub enum Act {
    Echo,
    EchoAfter(Duration),
    Close,
}

/// Serves every connection of the pool by a rule.
pub struct Upstream {
    seen: Arc<Mutex<Vec<Seen>>>,
    logins: Arc<Mutex<Vec<Request>>>,
    open: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub fn echoing(arrivals: Arrivals) -> Self {
        Self::start(arrivals, |_| Act::Echo)
    }

    pub fn start(arrivals: Arrivals, rule: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        let (seen, open) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default());
        let logins = Arc::<Mutex<Vec<Request>>>::default();
        let rule = Arc::new(rule);
        let task = tokio::spawn({
            let (seen, logins, open) = (Arc::clone(&seen), Arc::clone(&logins), Arc::clone(&open));
            async move {
                let mut connections = JoinSet::new();
                let mut number = 0..;
                while let Ok(stream) = arrivals.recv().await {
                    let connection = number.next().expect("endless");
                    let (seen, logins) = (Arc::clone(&seen), Arc::clone(&logins));
                    let (open, rule) = (Arc::clone(&open), Arc::clone(&rule));
                    connections.spawn(async move {
                        open.fetch_add(1, Ordering::SeqCst);
                        serve(Peer::new(stream), connection, (&seen, &logins), &*rule).await;
                        open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
                connections.join_all().await;
            }
        });
        Self { seen, logins, open, task }
    }

    /// All requests but those of logins.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic").clone()
    }

    /// The requests by which connections were logged in, in the order in which they were made.
    pub fn logins(&self) -> Vec<Request> {
        self.logins.lock().expect("no panic").clone()
    }

    /// How often a request was seen.
    pub fn count(&self, args: &[&str]) -> usize {
        self.seen().iter().filter(|seen| seen.request == args).count()
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut peer: Peer,
    connection: usize,
    (seen, logins): (&Mutex<Vec<Seen>>, &Mutex<Vec<Request>>),
    rule: &(dyn Fn(&Seen) -> Act + Sync),
) {
    if !peer.log_in(NOTHING_KNOWN).await {
        return;
    }
    logins.lock().expect("no panic").extend(peer.auth.take());
    while let Some(request) = peer.next().await {
        let one = Seen { connection, request };
        let act = rule(&one);
        seen.lock().expect("no panic").push(one.clone());
        match act {
            Act::Echo => peer.reply(echo(&one.request)).await,
            Act::EchoAfter(delay) => {
                sleep(delay).await;
                peer.reply(echo(&one.request)).await;
            }
            Act::Close => return,
        }
    }
}
