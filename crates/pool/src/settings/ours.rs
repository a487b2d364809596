//! Which connections to upstreams are this process's, as the upstreams see them, and which of the requests that `MONITOR` and
//! the slow log show there are the gateway's own, as far as that can be told for sure. Connections are noted by `stream`.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a connection is remembered once it is closed: what it has sent may be shown later.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The name of a connection that does no more than log in.
pub(crate) const PROBE: &str = "respool-probe";

/// Behind the words of a request of the gateway's own that a client could make too, and that comes among those of clients: it
/// changes nothing about the answer that counts, and tells who asks.
pub const OWN: &str = "respool";

/// How names of connections begin.
const NAMES: &[u8] = b"respool-";

/// Whether a connection's name is one as those of a gateway have.
pub(crate) fn is_own_name(name: &[u8]) -> bool {
    name.starts_with(NAMES)
}

/// Requests of this many connections at most are expected to go on as they have begun.
const BEGUN_MAX: usize = 64;

/// What is asked while connections live, of upstreams since 7.0: whom it follows, and what may have been changed there.
pub(crate) const CHECK: [&str; 9] = [
    "CONFIG",
    "GET",
    "replicaof",
    "timeout",
    "databases",
    "proto-max-bulk-len",
    "client-query-buffer-limit",
    "client-output-buffer-limit",
    "maxmemory-clients",
];

/// Of these, what a login asks for. The first is known to every upstream, all of them at once to those since 7.0.
pub(crate) const PARAMETERS: &[&str] = CHECK.split_at(3).1;

/// Words by which that is known.
const CHECK_WORDS: usize = 5;

/// Whose requests a connection carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// None of clients.
    Own,
    /// A worker's: of all clients, and none that is about the connection's own state.
    Shared,
    /// Of one client, or of all subscribers.
    Lent,
}

impl Carries {
    /// By the name of the connection.
    pub(crate) fn under(name: &str) -> Self {
        match name {
            PROBE => Self::Own,
            name if name.starts_with("respool-worker-") => Self::Shared,
            _ => Self::Lent,
        }
    }
}

/// The addresses of this process's connections. Clones are the same.
#[derive(Clone, Default)]
pub struct Ours(Arc<Mutex<HashMap<String, Noted>>>);

#[derive(Debug)]
struct Noted {
    carries: Carries,
    closed: Option<Instant>,
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    ours: Ours,
    /// As `MONITOR` writes it.
    address: String,
}

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}

impl Ours {
    /// Takes note of a connection.
    pub(crate) fn open(&self, address: SocketAddr, carries: Carries) -> Open {
        let (address, mut noted) = (address.to_string(), self.lock());
        noted.retain(|_, noted| noted.closed.is_none_or(|closed| closed.elapsed() < REMEMBERED));
        noted.insert(address.clone(), Noted { carries, closed: None });
        drop(noted);
        Open { ours: self.clone(), address }
    }

    /// Whether one of them has this address, as `MONITOR` writes it.
    pub fn have(&self, address: &[u8]) -> bool {
        self.carried_by(address).is_some()
    }

    fn carried_by(&self, address: &[u8]) -> Option<Carries> {
        let address = std::str::from_utf8(address).ok()?;
        self.lock().get(address).map(|noted| noted.carries)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(noted) = self.ours.lock().get_mut(&self.address) {
            noted.closed = Some(Instant::now());
        }
    }
}

/// What was last seen of a connection, behind which further own requests come before any of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// `RESET`
    Cleaned,
    /// It has its name: at the end of a login, or of its cleaning.
    Named { logs_in: bool },
}

/// Tells own requests from those of clients, shown one after another as one node has executed them.
#[derive(Debug, Default)]
pub struct OwnRequests {
    begun: Vec<(Vec<u8>, Step)>,
}

impl OwnRequests {
    /// Whether a request is the gateway's own, that came from `address` and is made up of `words`, of which five are enough.
    pub fn is_own(&mut self, address: &[u8], words: &[&[u8]], ours: &Ours) -> bool {
        let carries = ours.carried_by(address);
        let at = self.begun.iter().position(|(of, _)| of == address);
        let last = at.map(|at| self.begun.remove(at).1);
        let is = |at: usize, word: &str| words.get(at).is_some_and(|is| is.eq_ignore_ascii_case(word.as_bytes()));
        let names = |at: usize| words.get(at).is_some_and(|name| is_own_name(name));
        let is_named =
            is(0, "HELLO") && is(2, "SETNAME") && names(3) || is(0, "CLIENT") && is(1, "SETNAME") && names(2);
        let is_hello = carries.is_some() && is(0, "HELLO");
        let next = match last {
            _ if is_named => Some(Step::Named { logs_in: last != Some(Step::Cleaned) }),
            // A client's is answered by the gateway, as its HELLO is.
            _ if carries.is_some() && is(0, "RESET") => Some(Step::Cleaned),
            Some(Step::Named { logs_in: true }) if is(0, "INFO") && is(1, "server") => last,
            Some(Step::Named { .. }) if is_hello => last,
            _ => None,
        };
        // No client begins to use a connection of its own with that.
        let selects = is(0, "SELECT") && (carries == Some(Carries::Shared) || matches!(last, Some(Step::Named { .. })));
        if let Some(next) = next {
            if self.begun.len() == BEGUN_MAX {
                self.begun.remove(0);
            }
            self.begun.push((address.to_vec(), next));
        }
        // What is asked now and then goes by a worker, in words that nobody else has put together so.
        let checks = carries.is_some() && CHECK.iter().take(CHECK_WORDS).enumerate().all(|(at, word)| is(at, word));
        let is_marked = is(0, "PING") && is(1, OWN) || is(0, "COMMAND") && is(1, "INFO") && is(3, OWN);
        next.is_some() || is_hello || checks || selects || is_marked || carries == Some(Carries::Own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_requests_are_told_by_their_connection_and_by_names() {
        let ours = Ours::default();
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let _own = ours.open(address(1), Carries::under(PROBE));
        let _lent = ours.open(address(2), Carries::under("respool-exclusive-1"));
        let _shared = ours.open(address(4), Carries::under("respool-worker-1"));
        let mut requests = OwnRequests::default();
        let mut is_own = |port: u16, line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            requests.is_own(address(port).to_string().as_bytes(), &words, &ours)
        };
        for (port, line, own) in [
            (1, "CLUSTER SLOTS", true),
            (3, "CLUSTER SLOTS", false),
            (2, "PING", false),
            // A login.
            (2, "HELLO 2 SETNAME respool-exclusive-1", true),
            (2, "INFO server", true),
            (2, "SELECT 9", true),
            (2, "SELECT 8", false),
            (2, "GET k", false),
            (4, "PING respool", true),
            (4, "COMMAND INFO mod.set respool", true),
            (4, "COMMAND INFO mod.set", false),
            (4, "SELECT 8", true),
            (4, "SELECT 9", true),
            (4, "INFO server", false),
            (4, "CONFIG GET replicaof timeout databases", true),
            (3, "CONFIG GET replicaof timeout databases", false),
            (4, "CONFIG GET replicaof timeout", false),
            (2, "INFO server", false),
            // What cleans a connection, and prepares it.
            (2, "RESET", true),
            (2, "HELLO 2 SETNAME respool-exclusive-1", true),
            (2, "INFO server", false),
            (2, "RESET", true),
            (2, "HELLO 2 SETNAME respool-exclusive-1", true),
            (4, "PING", false),
            (2, "HELLO 3", true),
            (2, "SELECT 3", true),
            (2, "MULTI", false),
            // Of another gateway.
            (3, "HELLO 2 SETNAME respool-worker-1", true),
            (2, "INFO server", false),
            (3, "CLIENT SETNAME respool-topology", true),
            (3, "RESET", false),
            (3, "HELLO 3", false),
            (3, "CLIENT SETNAME app", false),
        ] {
            assert_eq!(is_own(port, line), own, "{port}: {line}");
        }
    }

    #[test]
    fn what_a_connection_has_sent_is_told_when_it_is_closed() {
        let ours = Ours::default();
        drop(ours.open(SocketAddr::from(([127, 0, 0, 1], 1)), Carries::Own));
        assert!(OwnRequests::default().is_own(b"127.0.0.1:1", &[b"ROLE"], &ours));
    }
}
