//! What clients that monitor are shown of requests which the gateway answers itself: the upstream shows them the others,
//! and never hears of these. Sessions that answer put lines in, sessions that monitor take theirs. While nobody
//! monitors, that costs a look at a number.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use resp::Request;

use crate::observe::{address::Address, registry::Entry, requests::args};

/// Bytes that wait for one client. One that does not take its lines is not shown more.
const WAITING_BYTES: usize = 64 * 1024;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    count: AtomicUsize,
    /// One of them has little room left.
    behind: AtomicBool,
    /// By the id of the client.
    clients: Mutex<HashMap<u64, Monitor>>,
}

#[derive(Debug)]
struct Monitor {
    client: Arc<Entry>,
    /// What it has not taken yet.
    lines: Vec<u8>,
}

impl Monitor {
    /// Bytes that it may be shown.
    fn room(&self) -> usize {
        WAITING_BYTES.saturating_sub(self.lines.len())
    }
}

impl Monitors {
    /// Whether anybody monitors.
    pub(crate) fn exist(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// The client is shown what is answered from now on.
    pub(crate) fn join(&self, client: &Arc<Entry>) {
        let mut clients = self.lock();
        clients.insert(client.id(), Monitor { client: Arc::clone(client), lines: Vec::new() });
        self.note(&clients);
    }

    /// It is shown nothing any more.
    pub(crate) fn leave(&self, id: u64) {
        let mut clients = self.lock();
        clients.remove(&id);
        self.note(&clients);
    }

    /// Whether one of them has so much to take that who makes it more should give it a turn first.
    pub(crate) fn are_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    fn note(&self, clients: &HashMap<u64, Monitor>) {
        self.count.store(clients.len(), Ordering::Release);
        let behind = clients.values().any(|monitor| monitor.room() < WAITING_BYTES / 2);
        self.behind.store(behind, Ordering::Relaxed);
    }

    /// Shows all of them a request of `client`, which is in this database now.
    pub(crate) fn show(&self, request: &Request<'_>, client: &Entry, db: u32) {
        let mut monitors = self.lock();
        let room = monitors.values().map(Monitor::room).max().unwrap_or_default();
        let Some(line) = line(SystemTime::now(), (db, client.address()), request, room) else { return };
        for monitor in monitors.values_mut() {
            if line.len() <= monitor.room() {
                monitor.lines.extend_from_slice(&line);
                monitor.client.wake();
            }
        }
        self.note(&monitors);
    }

    /// Appends what waits for the client with this id.
    pub(crate) fn take(&self, id: u64, out: &mut Vec<u8>) {
        let mut monitors = self.lock();
        if let Some(monitor) = monitors.get_mut(&id) {
            out.append(&mut monitor.lines);
            self.note(&monitors);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Monitor>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As Redis writes it; nothing if that is more than `room`. It is not written out then.
fn line(now: SystemTime, (db, address): (u32, &Address), request: &Request<'_>, room: usize) -> Option<Vec<u8>> {
    // Each argument takes this at least.
    if request.len() > room / "\"\" ".len() {
        return None;
    }
    let args: Vec<&[u8]> = request.args().collect();
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut line = format!("+{}.{:06} [{db} ", now.as_secs(), now.subsec_micros());
    // What Redis can write does not fail.
    let _ = match address {
        Address::Unix(path) => write!(line, "unix:{path}]"),
        address => write!(line, "{address}]"),
    };
    for (index, arg) in args.iter().enumerate() {
        line.push_str(" \"");
        let shown: &[u8] = if args::is_secret(&args, index) { args::REDACTED.as_bytes() } else { arg };
        if line.len() + shown.len() > room {
            return None;
        }
        shown.iter().for_each(|byte| escape(*byte, &mut line));
        line.push('"');
    }
    line.push_str("\r\n");
    (line.len() <= room).then(|| line.into_bytes())
}

fn escape(byte: u8, line: &mut String) {
    match byte {
        b'\x07' => line.push_str("\\a"),
        b'\x08' => line.push_str("\\b"),
        b'\'' => line.push('\''),
        byte => line.extend(byte.escape_ascii().map(char::from)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use resp::{RequestDecoder, RequestLimits, write_request};

    use super::*;
    use crate::observe::registry::Registry;

    fn shown(address: &Address, args: &[&[u8]]) -> String {
        let now = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_456);
        let line = with_request(args, |request| line(now, (3, address), request, WAITING_BYTES));
        String::from_utf8(line.expect("there is room")).expect("text")
    }

    fn with_request<T>(args: &[&[u8]], look: impl FnOnce(&Request<'_>) -> T) -> T {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let mut bytes = Vec::new();
        write_request(&mut bytes, args);
        decoder.decode(&bytes).expect("a request");
        look(&decoder.request(&bytes))
    }

    #[test]
    fn what_is_longer_than_there_is_room_is_not_shown() {
        let tcp = Address::Tcp("127.0.0.1:5000".parse().expect("an address"));
        let room_for = |args: &[&[u8]], room| {
            with_request(args, |request| line(UNIX_EPOCH, (0, &tcp), request, room)).map(|line| line.len())
        };
        let (short, long): (&[&[u8]], &[&[u8]]) = (&[b"CLIENT", b"\0\0"], &[b"\0".as_slice(); 30]);
        for args in [short, long] {
            let needed = room_for(args, WAITING_BYTES).expect("there is room");
            assert_eq!(room_for(args, needed), Some(needed));
            (0..needed).for_each(|room| assert_eq!(room_for(args, room), None, "{room} of {needed}"));
        }
    }

    #[test]
    fn a_line_is_as_redis_writes_it() {
        let tcp = Address::Tcp("127.0.0.1:5000".parse().expect("an address"));
        let args: [&[u8]; 3] = [b"CLIENT", b"setname", b"it's\"\\\r\n\t\x07\x08\x00\xff"];
        let expected = r#"+1700000000.000456 [3 127.0.0.1:5000] "CLIENT" "setname" "it's\"\\\r\n\t\a\b\x00\xff""#;
        assert_eq!(shown(&tcp, &args), format!("{expected}\r\n"));
        let unix = Address::Unix("/run/r.sock".into());
        assert_eq!(shown(&unix, &[b"RESET"]), "+1700000000.000456 [3 unix:/run/r.sock] \"RESET\"\r\n");
    }

    #[test]
    fn one_that_takes_nothing_is_shown_no_more_than_has_room() {
        let (monitors, registry) = (Monitors::default(), Registry::default());
        let at = || Address::Tcp("127.0.0.1:5000".parse().expect("an address"));
        let client = registry.enter(at(), at(), Arc::default());
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let bytes = b"*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n";
        decoder.decode(bytes).expect("a request");
        let (request, mut out) = (decoder.request(bytes), Vec::new());
        assert!(!monitors.exist());
        monitors.join(&client);
        assert!(monitors.exist());
        (0..10_000).for_each(|_| monitors.show(&request, &client, 0));
        monitors.take(client.id(), &mut out);
        assert!((WAITING_BYTES - 100..=WAITING_BYTES).contains(&out.len()), "{}", out.len());
        out.clear();
        monitors.show(&request, &client, 0);
        monitors.take(client.id(), &mut out);
        assert!(out.ends_with(b"] \"CLIENT\" \"ID\"\r\n"), "there is room again");
        monitors.leave(client.id());
        assert!(!monitors.exist());
    }

    #[test]
    fn passwords_are_not_shown() {
        let tcp = Address::Tcp("127.0.0.1:5000".parse().expect("an address"));
        let line = shown(&tcp, &[b"auth", b"app", b"hunter2"]);
        assert!(line.ends_with("] \"auth\" \"(redacted)\" \"(redacted)\"\r\n"), "{line}");
        let line = shown(&tcp, &[b"HELLO", b"3", b"auth", b"app", b"hunter2", b"SETNAME", b"x"]);
        assert!(
            line.ends_with("\"HELLO\" \"3\" \"auth\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"x\"\r\n"),
            "{line}"
        );
    }
}
