//! Clients that vanish: in every state that a session can be in, in order or by reset, after a moment. They
//! verify nothing themselves; what they leave behind is what is looked at.

use std::time::Duration;

use super::{tally::Tally, writer::Scene};
use crate::support::{Client, pass, requests};

/// Requests that bring a session into a state; the last one may be cut short.
const STATES: [(&str, &[&str]); 11] = [
    ("idle", &["PING"]),
    ("waiting for a reply", &["INCR gone"]),
    ("waiting for replies", &["INCR gone", "GET t:0:0", "INCR gone"]),
    ("in a transaction", &["MULTI", "INCR gone"]),
    ("watching", &["WATCH shared", "GET shared"]),
    ("watching and in a transaction", &["WATCH shared", "MULTI", "INCR gone"]),
    ("blocked", &["BLPOP nothing 0"]),
    ("blocked for long", &["XREAD BLOCK 60000 STREAMS nothing $"]),
    ("tracking", &["HELLO 3", "CLIENT TRACKING ON", "GET t:0:0"]),
    ("monitoring", &["MONITOR"]),
    ("subscribed", &["SUBSCRIBE news", "PSUBSCRIBE news.*"]),
];

/// The longest that one of them stays.
const STAY_MS_MAX: u64 = 40;

/// Between one and the next.
const PAUSE: Duration = Duration::from_millis(20);

/// Comes and goes until it is over; how many `INCR gone` were sent, whole or in part.
pub fn come_and_go(scene: &Scene<'_>, rng: &mut fastrand::Rng) -> u64 {
    let mut sent = 0;
    while !scene.tally.is_over() {
        let Ok(mut client) = Client::try_connect(scene.address) else {
            pass(Duration::from_millis(1));
            continue;
        };
        let (_, lines) = STATES[rng.usize(..STATES.len())];
        let mut bytes = requests(lines);
        if rng.u32(..5) == 0 {
            bytes.truncate(rng.usize(1..bytes.len()));
        }
        sent += lines.iter().filter(|line| line.starts_with("INCR")).count() as u64;
        // Nothing is made of a gateway that has closed already.
        let _ = client.try_send_raw(&bytes);
        if rng.bool() {
            pass(Duration::from_millis(rng.u64(..STAY_MS_MAX)));
        }
        if rng.bool() {
            client.reset();
        }
        Tally::count(&scene.tally.vanished);
        // What it had sent is executed first, so that sessions pile up while nothing is served.
        pass(PAUSE);
    }
    sent
}
