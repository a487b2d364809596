//! A relay between the gateway and a real Redis that breaks on command: it ends a connection after any byte
//! of either direction, puts garbage where a reply should begin, holds back, drips, swallows, refuses, and
//! can lead elsewhere. What lasts is its `Weather`; what happens once is armed.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use resp::ReplyScanner;
use socket2::SockRef;

use super::pass;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In order, as when Redis closes a connection.
    Close,
    /// With a reset, as when a machine on the way forgets the connection.
    Reset,
    /// Only the replies end; requests are still taken.
    HalfClose,
    /// Something that is no reply where the next one should begin, and then nothing ever after.
    Garbage,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Requests,
    Replies,
}

/// What all connections have to bear while it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weather {
    /// Connections are accepted and ended at once.
    pub refuse: bool,
    /// Whatever comes is swallowed, both ways. A connection of which anything was swallowed passes nothing ever
    /// after: TCP loses no bytes from the middle of a stream.
    pub blackhole: bool,
    /// Bytes pass a few at a time.
    pub drip: bool,
    /// Held back, each piece that is read and each way.
    pub delay: Duration,
    /// How long a new connection stays without being served, though the kernel has taken it.
    pub accept_delay: Duration,
}

/// What a reply never begins with.
const GARBAGE: &[u8] = b"\0\x01 no reply\r\n";
/// Bytes of a drop, and the pause after it.
const DROP: usize = 7;
const DROP_PAUSE: Duration = Duration::from_millis(1);

/// What is to happen next.
struct Plan {
    target: SocketAddr,
    /// End the connection on which this many further bytes of requests, or of replies, have passed.
    cuts_armed: [Option<(usize, Cut)>; 2],
    weather: Weather,
    /// Cuts done so far.
    cuts: usize,
    ended: bool,
}

pub struct Relay {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

impl Relay {
    pub fn start(target: SocketAddr) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), target)
    }

    /// The same at an address of the test's choice.
    pub fn start_at(address: SocketAddr, target: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a free port");
        let plan = Plan { target, cuts_armed: [None; 2], weather: Weather::default(), cuts: 0, ended: false };
        let relay = Self { address: listener.local_addr().expect("bound"), plan: Arc::new(Mutex::new(plan)) };
        let plan = Arc::clone(&relay.plan);
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let weather = {
                    let plan = lock(&plan);
                    if plan.ended {
                        break;
                    }
                    plan.weather
                };
                if weather.refuse {
                    continue;
                }
                let plan = Arc::clone(&plan);
                if weather.accept_delay.is_zero() {
                    join(&near, &plan);
                } else {
                    thread::spawn(move || {
                        pass(weather.accept_delay);
                        join(&near, &plan);
                    });
                }
            }
        });
        relay
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Where connections lead from now on; those that are there stay.
    pub fn lead_to(&self, target: SocketAddr) {
        lock(&self.plan).target = target;
    }

    /// Ends one connection once `bytes` further bytes of replies have passed; 0 is before the next.
    pub fn cut_after(&self, bytes: usize, cut: Cut) {
        self.cut(Way::Replies, bytes, cut);
    }

    /// As `cut_after`, of either way's bytes. Of requests, whatever is no `Reset` is a `Close`.
    pub fn cut(&self, way: Way, bytes: usize, cut: Cut) {
        lock(&self.plan).cuts_armed[way as usize] = Some((bytes, cut));
    }

    /// Forgets cuts that have not come to pass.
    pub fn disarm(&self) {
        lock(&self.plan).cuts_armed = [None; 2];
    }

    /// Cuts that have come to pass.
    pub fn cuts(&self) -> usize {
        lock(&self.plan).cuts
    }

    /// Changes the weather.
    pub fn weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut lock(&self.plan).weather);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        lock(&self.plan).ended = true;
        // Wakes the listener, which then goes.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

fn lock(plan: &Mutex<Plan>) -> MutexGuard<'_, Plan> {
    plan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Connects a connection of the gateway with the target; it ends at once where there is none.
fn join(near: &TcpStream, plan: &Arc<Mutex<Plan>>) {
    let target = lock(plan).target;
    let Ok(far) = TcpStream::connect(target) else { return };
    let copy = |stream: &TcpStream| {
        stream.set_nodelay(true).expect("connected");
        stream.try_clone().expect("a descriptor to spare")
    };
    for (way, from, to) in [(Way::Requests, copy(near), copy(&far)), (Way::Replies, copy(&far), copy(near))] {
        let plan = Arc::clone(plan);
        let mut pump = Pump { way, from, to, plan, scanner: ReplyScanner::new(128), dead: false };
        thread::spawn(move || pump.run());
    }
}

/// Carries the bytes of one connection one way.
struct Pump {
    way: Way,
    from: TcpStream,
    to: TcpStream,
    plan: Arc<Mutex<Plan>>,
    /// Follows replies, to know where they end.
    scanner: ReplyScanner,
    /// Something was swallowed.
    dead: bool,
}

impl Pump {
    fn run(&mut self) {
        let mut chunk = [0; 16 * 1024];
        while let Ok(count) = self.from.read(&mut chunk)
            && count > 0
        {
            let weather = self.look();
            if self.dead {
                continue;
            }
            pass(weather.delay);
            let cut = self.next_cut(&chunk[..count]);
            let passing = cut.map_or(count, |(at, _)| at);
            if self.write(&chunk[..passing], weather).is_err() {
                break;
            }
            match cut {
                Some((_, Cut::Garbage)) if self.way == Way::Replies => {
                    self.dead = true;
                    // The gateway may have gone, which is its right.
                    let _ = self.to.write_all(GARBAGE);
                }
                Some((_, how)) => return self.end(how),
                None => {}
            }
        }
        // Either end may be gone already.
        let _ = self.to.shutdown(Shutdown::Write);
    }

    fn look(&mut self) -> Weather {
        let weather = lock(&self.plan).weather;
        self.dead |= weather.blackhole;
        weather
    }

    /// Writes all at once, or drop by drop for as long as that is the weather.
    fn write(&mut self, bytes: &[u8], mut weather: Weather) -> io::Result<()> {
        let mut rest = bytes;
        while weather.drip && !rest.is_empty() && !self.dead {
            let (drop, after) = rest.split_at(DROP.min(rest.len()));
            self.to.write_all(drop)?;
            pass(DROP_PAUSE);
            rest = after;
            weather = self.look();
        }
        if self.dead { Ok(()) } else { self.to.write_all(rest) }
    }

    /// Where in this chunk the connection is to be cut, and how.
    fn next_cut(&mut self, chunk: &[u8]) -> Option<(usize, Cut)> {
        let boundaries = self.boundaries(chunk);
        let mut plan = lock(&self.plan);
        let armed = &mut plan.cuts_armed[self.way as usize];
        let (bytes, how) = (*armed)?;
        let at = match how {
            Cut::Garbage if self.way == Way::Replies => boundaries.into_iter().find(|end| *end >= bytes),
            _ => Some(bytes).filter(|bytes| *bytes <= chunk.len()),
        };
        if let Some(at) = at {
            *armed = None;
            plan.cuts += 1;
            return Some((at, how));
        }
        *armed = Some((bytes.saturating_sub(chunk.len()), how));
        None
    }

    /// Places in the chunk at which a reply may begin.
    fn boundaries(&mut self, chunk: &[u8]) -> Vec<usize> {
        if self.way == Way::Requests {
            return Vec::new();
        }
        let mut found: Vec<usize> = (!self.scanner.is_midway()).then_some(0).into_iter().collect();
        let mut at = 0;
        while at < chunk.len()
            && let Ok(progress) = self.scanner.scan(&chunk[at..])
        {
            at += progress.consumed;
            found.extend(progress.complete.map(|_| at));
        }
        found
    }

    /// Ends both sides; to the gateway's side in the way that was asked for.
    fn end(&self, how: Cut) {
        let (near, far) = match self.way {
            Way::Requests => (&self.from, &self.to),
            Way::Replies => (&self.to, &self.from),
        };
        // Whatever is gone already needs no end.
        match how {
            Cut::HalfClose if self.way == Way::Replies => drop(near.shutdown(Shutdown::Write)),
            Cut::Close | Cut::HalfClose | Cut::Garbage => {
                drop((near.shutdown(Shutdown::Both), far.shutdown(Shutdown::Both)))
            }
            Cut::Reset => {
                // A reset goes out when the last handle closes; shutting the reading side down gets the other
                // pump to let go of its own.
                let _ = SockRef::from(near).set_linger(Some(Duration::ZERO));
                let _ = near.shutdown(Shutdown::Read);
                let _ = far.shutdown(Shutdown::Both);
            }
        }
    }
}
