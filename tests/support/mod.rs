//! What the tests stand on: processes that end with their fixture, a raw client, upstreams that break on
//! command. Each fixture fails its test when the process behind it misbehaves.

mod client;
mod gateway;
mod logs;
mod machine;
mod metrics;
mod process;
mod random;
mod redis;
mod relay;
mod upstream;
mod users;
mod wait;

pub use client::{Client, request, requests};
pub use gateway::{Builder, Gateway, shared_library};
pub use logs::Logs;
pub use machine::Machine;
pub use metrics::{Metrics, get};
pub use process::{Process, raise_descriptor_limit};
pub use random::seeded;
pub use redis::{Redis, free_port};
pub use relay::{Cut, Relay, Way};
pub use upstream::{Peer, Upstream};
pub use users::users;
pub use wait::{DEADLINE, pass, wait, within};

/// Asserts that a reply is an error that the gateway made itself.
#[track_caller]
pub fn assert_own_error(reply: &[u8]) {
    let text = String::from_utf8_lossy(&reply[..reply.len().min(200)]);
    assert!(reply.starts_with(b"-ERR respool: "), "not an error of the gateway: {text:?}");
}

/// Asserts that two replies are the same bytes, and shows where they differ if not.
#[track_caller]
pub fn assert_same(found: &[u8], expected: &[u8], what: &str) {
    if found != expected {
        let at = found.iter().zip(expected).take_while(|(one, other)| one == other).count();
        let show = |bytes: &[u8]| {
            let from = at.saturating_sub(40).min(bytes.len());
            String::from_utf8_lossy(&bytes[from..bytes.len().min(at + 160)]).into_owned()
        };
        let (found_len, expected_len) = (found.len(), expected.len());
        panic!(
            "{what}: {found_len} bytes, expected {expected_len}, first difference at {at}\n   found: {:?}\nexpected: {:?}",
            show(found),
            show(expected)
        );
    }
}
