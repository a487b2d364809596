//! A relay between the gateway and a real Redis that counts the bytes of replies: it can end a connection
//! after any of them, let nothing through, or refuse connections.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use socket2::SockRef;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// In order, as when Redis closes a connection.
    Close,
    /// With a reset, as when a machine on the way forgets the connection.
    Reset,
    /// Only the replies end; requests are still taken.
    HalfClose,
}

/// What is to happen next.
#[derive(Default)]
struct Plan {
    /// End the connection on which this many further bytes of replies have passed.
    cut: Option<(usize, Cut)>,
    refuse: bool,
    blackhole: bool,
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
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let relay = Self { address: listener.local_addr().expect("bound"), plan: Arc::default() };
        let plan = Arc::clone(&relay.plan);
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                if lock(&plan).ended {
                    break;
                }
                let refuse = lock(&plan).refuse;
                if !refuse && let Ok(far) = TcpStream::connect(target) {
                    join(&near, &far, &plan);
                }
            }
        });
        relay
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Ends one connection once `bytes` further bytes of replies have passed; 0 is before the next.
    pub fn cut_after(&self, bytes: usize, cut: Cut) {
        lock(&self.plan).cut = Some((bytes, cut));
    }

    /// Forgets a cut that has not come to pass.
    pub fn disarm(&self) {
        lock(&self.plan).cut = None;
    }

    /// Cuts that have come to pass.
    pub fn cuts(&self) -> usize {
        lock(&self.plan).cuts
    }

    /// Accepts connections and ends them at once.
    pub fn refuse(&self, refuse: bool) {
        lock(&self.plan).refuse = refuse;
    }

    /// Swallows all that comes, in both directions, on every connection. One of which anything was swallowed
    /// passes nothing ever after: TCP loses no bytes from the middle of a stream.
    pub fn blackhole(&self, blackhole: bool) {
        lock(&self.plan).blackhole = blackhole;
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

fn join(near: &TcpStream, far: &TcpStream, plan: &Arc<Mutex<Plan>>) {
    let copy = |stream: &TcpStream| {
        stream.set_nodelay(true).expect("connected");
        stream.try_clone().expect("a descriptor to spare")
    };
    let (requests_in, requests_out, replies_in, replies_out) = (copy(near), copy(far), copy(far), copy(near));
    let (of_requests, of_replies) = (Arc::clone(plan), Arc::clone(plan));
    thread::spawn(move || pump_requests(requests_in, requests_out, &of_requests));
    thread::spawn(move || pump_replies(replies_in, replies_out, &of_replies));
}

fn pump_requests(mut from: TcpStream, mut to: TcpStream, plan: &Mutex<Plan>) {
    let (mut chunk, mut dead) = ([0; 16 * 1024], false);
    while let Ok(count) = from.read(&mut chunk)
        && count > 0
    {
        dead |= lock(plan).blackhole;
        if !dead && to.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    // Either end may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

fn pump_replies(mut from: TcpStream, mut to: TcpStream, plan: &Mutex<Plan>) {
    let (mut chunk, mut dead) = ([0; 16 * 1024], false);
    while let Ok(count) = from.read(&mut chunk)
        && count > 0
    {
        let mut pass = count;
        let mut cut = None;
        {
            let mut plan = lock(plan);
            dead |= plan.blackhole;
            if dead {
                continue;
            }
            match plan.cut {
                Some((left, how)) if left <= count => {
                    (pass, cut) = (left, Some(how));
                    plan.cut = None;
                    plan.cuts += 1;
                }
                Some((left, how)) => plan.cut = Some((left - count, how)),
                None => {}
            }
        }
        if to.write_all(&chunk[..pass]).is_err() {
            break;
        }
        if let Some(how) = cut {
            return end(&from, &to, how);
        }
    }
    // Either end may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

/// Ends both sides; to the gateway's side in the way that was asked for.
fn end(from: &TcpStream, to: &TcpStream, how: Cut) {
    // Whatever is gone already needs no end.
    match how {
        Cut::HalfClose => drop(to.shutdown(Shutdown::Write)),
        Cut::Close => drop((to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both))),
        Cut::Reset => {
            // A reset goes out when the last handle closes; shutting the reading side down gets the other
            // pump to let go of its own.
            let _ = SockRef::from(to).set_linger(Some(Duration::ZERO));
            let _ = to.shutdown(Shutdown::Read);
            let _ = from.shutdown(Shutdown::Both);
        }
    }
}
