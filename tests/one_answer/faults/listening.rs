//! Publish and subscribe under faults: messages may be missed while a subscription is made anew, but none
//! comes twice, none out of order, and none that was not published.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use resp::Value;

use super::{history::Flaw, tally::Tally, writer::Scene};
use crate::support::{Client, pass, request, requests};

/// How long a listener waits for a message before it looks whether it is over.
const QUIET: Duration = Duration::from_millis(300);

/// A channel with one publisher.
#[derive(Debug, Default)]
pub struct Channel {
    published: AtomicU64,
    heard: AtomicU64,
    /// Numbers of messages of which nobody can tell whether they were published, or are yet to be.
    open: Mutex<BTreeSet<u64>>,
}

impl Channel {
    fn is_open(&self, number: u64) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).contains(&number)
    }

    /// Publishes numbers, one after the other, until it is over.
    pub fn publish(&self, scene: &Scene<'_>) {
        let mut client = None;
        while !scene.tally.is_over() {
            let number = self.published.fetch_add(1, Ordering::AcqRel) + 1;
            client = client.or_else(|| Client::try_connect(scene.address).ok());
            let Some(connected) = &mut client else { continue };
            let reply = connected
                .try_send_raw(&request(&["PUBLISH", "numbers", &number.to_string()]))
                .and_then(|()| connected.try_read_reply());
            let known = matches!(&reply, Ok(Some(reply)) if !String::from_utf8_lossy(reply).contains("may have"));
            if !known {
                self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            }
            match reply {
                Ok(Some(_)) => Tally::count(&scene.tally.verified),
                Ok(None) | Err(_) => client = None,
            }
            pass(Duration::from_millis(2));
        }
    }

    /// Whether a listener has got a message.
    pub fn is_heard(&self) -> bool {
        self.heard.load(Ordering::Acquire) > 0
    }

    /// Listens until it is over.
    pub fn listen(&self, scene: &Scene<'_>) {
        let (mut client, mut last, mut seen) = (None, 0, BTreeSet::new());
        while !scene.tally.is_over() {
            client = client.or_else(|| subscribed(scene));
            let Some(connected) = &mut client else { continue };
            match connected.try_read_reply() {
                Ok(Some(message)) => match Value::decode(&message.into()) {
                    Ok((Value::Array(parts), _)) => {
                        if let Some(number) = self.check(scene.tally, &parts, last) {
                            last = last.max(number);
                            self.heard.fetch_add(1, Ordering::AcqRel);
                            if !seen.insert(number) {
                                scene.tally.hold("a listener", Err((Flaw::Duplicated, format!("{number} again"))));
                            }
                        }
                    }
                    Ok((Value::Error(_), _)) => client = None,
                    other => scene.tally.hold("a listener", Err((Flaw::Wrong, format!("{other:?}")))),
                },
                // A quiet time, or the end of the connection, which looks the same to the next attempt.
                Ok(None) | Err(_) => client = None,
            }
        }
    }

    /// The number that a message carries; nothing for a confirmation.
    fn check(&self, tally: &Tally, parts: &[Value], last: u64) -> Option<u64> {
        let texts: Vec<_> = parts.iter().map(|part| part.as_bytes().map(String::from_utf8_lossy)).collect();
        let words: Vec<&str> = texts.iter().map(|text| text.as_deref().unwrap_or_default()).collect();
        match words.as_slice() {
            ["subscribe", "numbers", _] => None,
            ["message", "numbers", digits] => {
                Tally::count(&tally.verified);
                let number = digits.parse().unwrap_or(u64::MAX);
                if number > self.published.load(Ordering::Acquire) {
                    tally.hold("a listener", Err((Flaw::Wrong, format!("{digits} was never published"))));
                } else if number < last && !self.is_open(number) {
                    tally.hold("a listener", Err((Flaw::Wrong, format!("{number} after {last}"))));
                }
                Some(number)
            }
            other => {
                tally.hold("a listener", Err((Flaw::Wrong, format!("a message of another kind: {other:?}"))));
                None
            }
        }
    }
}

/// A new connection that has asked for the channel.
fn subscribed(scene: &Scene<'_>) -> Option<Client> {
    let mut client = Client::try_connect(scene.address).ok()?;
    client.read_timeout(QUIET);
    client.try_send_raw(&requests(&["SUBSCRIBE numbers"])).ok()?;
    Some(client)
}
