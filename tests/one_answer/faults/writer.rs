//! A verified client: writes keys that nobody else writes, in every way there is (one by one, in pipelines,
//! in transactions, guarded by WATCH, through a blocking queue), and holds each reply against its history.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use resp::Value;

use super::{
    history::{Counter, Finding, Flaw, Queue, Register},
    stateful::Pace,
    tally::Tally,
};
use crate::support::{Client, DEADLINE, pass, requests};

/// Keys of `SET` and `GET` that each client has.
pub const KEYS: u64 = 4;
/// Clients are spread over so many databases.
pub const DBS: u32 = 2;
/// How long replies may take by the gateway's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// On a shared connection.
    pub shared: Duration,
    /// On an exclusive one, which has to be opened first.
    pub exclusive: Duration,
}

/// What all clients know.
#[derive(Debug)]
pub struct Scene<'s> {
    pub address: SocketAddr,
    pub tally: &'s Tally,
    pub limits: Limits,
    pub run: u32,
    pub clients: u32,
}

/// What became of a request.
pub enum Got {
    Value(Value),
    /// Certainly not executed.
    Refused,
    /// Executed or not.
    Open,
    /// The connection ended without a reply.
    Closed,
}

pub struct Writer<'s> {
    pub scene: &'s Scene<'s>,
    pub id: u32,
    pub rng: fastrand::Rng,
    pub client: Option<Client>,
    pub texts: Vec<Register>,
    pub counter: Counter,
    /// Moved without replies.
    pub silent: Counter,
    /// Moved in pairs, in transactions.
    pub pairs: Counter,
    pub queue: Queue,
    /// Values of the counter that all share, which this client has set.
    pub shared: Vec<u64>,
    /// Changes of it of which nobody can tell.
    pub shared_open: u64,
    /// In words.
    last_error: String,
}

impl<'s> Writer<'s> {
    pub fn new(scene: &'s Scene<'s>, id: u32, rng: fastrand::Rng) -> Self {
        Self {
            scene,
            id,
            rng,
            client: None,
            texts: (0..KEYS).map(|_| Register::default()).collect(),
            counter: Counter::new(1),
            silent: Counter::new(1),
            pairs: Counter::new(2),
            queue: Queue::default(),
            shared: Vec::new(),
            shared_open: 0,
            last_error: String::new(),
        }
    }

    pub fn db(&self) -> u32 {
        self.id % DBS
    }

    /// Works until it is over, and a little longer, to see that it is served again.
    pub fn work(mut self) -> Self {
        while !self.scene.tally.is_over() {
            self.step();
        }
        let last = Instant::now();
        while !self.scene.tally.is_draining() && self.pipeline(8) == 0 {
            assert!(last.elapsed() < DEADLINE, "client {} is not served again", self.id);
        }
        self
    }

    fn step(&mut self) {
        match self.rng.u32(0..100) {
            0..20 => drop(self.pipeline(1)),
            20..55 => {
                let count = self.rng.usize(2..24);
                self.pipeline(count);
            }
            55..68 => self.transaction(Pace::Together),
            68..75 => self.transaction(Pace::Hurried),
            75..82 => self.transaction(Pace::OneByOne),
            82..89 => self.compare_and_set(),
            89..97 => self.push_and_pop(),
            _ => self.client = None,
        }
    }

    pub fn connected(&mut self) -> bool {
        if self.client.is_none() {
            let Ok(client) = Client::try_connect(self.scene.address) else {
                self.closed();
                return false;
            };
            self.client = Some(client);
            let mut greeting = vec![format!("SELECT {}", self.db())];
            greeting.extend(self.id.is_multiple_of(3).then(|| "HELLO 3".to_owned()));
            for line in greeting {
                self.send(&requests(&[&line]));
                if !matches!(self.read(self.scene.limits.shared), Got::Value(_)) {
                    self.client = None;
                    return false;
                }
            }
        }
        true
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // Whether it arrived the replies will tell.
        let _ = self.client.as_mut().map(|client| client.try_send_raw(bytes));
    }

    pub fn hold(&self, checked: Result<(), Finding>) {
        self.scene.tally.hold(&format!("client {}", self.id), checked);
    }

    pub fn flaw(&self, flaw: Flaw, text: &str) {
        self.hold(Err((flaw, text.to_owned())));
    }

    /// There is no connection, or none any more, where there has to be one.
    pub fn closed(&self) {
        if self.scene.tally.is_draining() {
            // Whoever comes too late may try for some time.
            pass(Duration::from_millis(1));
        } else {
            let text = format!("closed without a reply, or not accepted; the last error was {:?}", self.last_error);
            self.flaw(Flaw::Lost, &text);
        }
    }

    /// One reply; errors are sorted by what they say of the request.
    pub fn read(&mut self, limit: Duration) -> Got {
        let Some(client) = &mut self.client else { return Got::Closed };
        // Longer than it may take, to learn whether it comes at all.
        client.read_timeout(limit + DEADLINE);
        let started = Instant::now();
        let reply = client.try_read_reply();
        let (waited, allowed) = (started.elapsed(), self.scene.tally.allowed(limit));
        if waited > allowed {
            let came = matches!(reply, Ok(Some(_)));
            self.flaw(Flaw::Hung, &format!("waited {waited:?}, allowed {allowed:?}, a reply came: {came}"));
        }
        let Ok(Some(reply)) = reply else {
            self.client = None;
            return Got::Closed;
        };
        Tally::count(&self.scene.tally.verified);
        match Value::decode(&reply.into()) {
            Ok((Value::Error(text), _)) => self.sort(&text),
            Ok((value, _)) => Got::Value(value),
            Err(error) => {
                self.flaw(Flaw::Wrong, &format!("a reply that is none: {error}"));
                Got::Open
            }
        }
    }

    /// What an error says of its request. Each has to say it.
    fn sort(&mut self, text: &str) -> Got {
        self.last_error = text.to_owned();
        const NOT_EXECUTED: [&str; 10] = [
            "ERR respool: upstream is down",
            "ERR respool: queue_timeout_ms exceeded",
            "ERR respool: pause_timeout_ms exceeded",
            "ERR respool: exclusive_max exceeded",
            "ERR respool: share_percent exceeded",
            "ERR respool: not executed",
            "ERR respool: the pool is shutting down",
            "EXECABORT ",
            "LOADING ",
            "NOPROTO ",
        ];
        // Of several requests whose replies were too large together, some may have been refused by Redis.
        if text.contains("may have been executed") || text.contains("the request was executed") {
            Tally::count(&self.scene.tally.open);
            return Got::Open;
        }
        if !text.contains("the request was not sent") && !NOT_EXECUTED.iter().any(|known| text.starts_with(known)) {
            self.flaw(Flaw::Wrong, &format!("an error that does not say whether it was executed: {text}"));
        }
        Tally::count(&self.scene.tally.refused);
        Got::Refused
    }
}

pub fn text_key(writer: u32, key: u64) -> String {
    format!("t:{writer}:{key}")
}

pub fn index(key: u64) -> usize {
    usize::try_from(key).expect("a small number")
}

/// The beginning of a value, in words.
pub fn show(value: &Value) -> String {
    format!("{value:?}").chars().take(120).collect()
}
