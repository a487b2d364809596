//! Holds one reply against what it has to be, and names what is wrong with it.

use resp::Value;

use crate::{
    measure::wrong::Wrong,
    traffic::{
        expected::{Expected, at},
        ledger::{Counter, Ledger, Register},
        stamp::{Family, Stamp},
    },
};

/// The longest piece of a value that is shown, in bytes.
const SHOWN_BYTES_MAX: usize = 60;

/// One connection's view of the truth.
#[derive(Debug)]
pub struct Checker<'l> {
    /// The truth.
    pub ledger: &'l Ledger,
    /// The connection's number.
    pub writer: u32,
    /// The name of its own list.
    pub own_list: &'l [u8],
    /// Its own counter in transactions.
    pub executed: &'l Counter,
}

type Finding = Result<(), (Wrong, String)>;

impl Checker<'_> {
    /// Checks a reply that is no error.
    ///
    /// # Errors
    /// What is wrong, with a sentence about it.
    pub fn check(&self, expected: &Expected, reply: &Value) -> Finding {
        match expected {
            Expected::Anything => Ok(()),
            Expected::Text(text) => self.text(text, reply),
            Expected::Stored { key, version } => {
                self.text("OK", reply).map(|()| self.ledger.texts[at(*key)].acknowledge(*version))
            }
            Expected::Value { key, floor } => self.value(*key, *floor, reply),
            Expected::Values(keys) => match reply {
                Value::Array(values) if values.len() == keys.len() => {
                    keys.iter().zip(values).try_for_each(|((key, floor), value)| self.value(*key, *floor, value))
                }
                other => Err(shape("MGET", other)),
            },
            Expected::Count { key } => self.count(&self.ledger.counters[at(*key)], *key, reply),
            Expected::Pushed { key, version } => {
                self.length(reply).map(|()| self.ledger.lists[at(*key)].acknowledge(*version))
            }
            Expected::Items { key, floor } => self.items(*key, *floor, reply),
            Expected::Executed { key, version } => match reply {
                Value::Array(values) if values.len() == 2 => {
                    self.count(self.executed, u64::from(self.writer), &values[0])?;
                    self.text("OK", &values[1]).map(|()| self.ledger.texts[at(*key)].acknowledge(*version))
                }
                other => Err(shape("EXEC", other)),
            },
            Expected::Length => self.length(reply),
            Expected::Popped { version } => self.popped(*version, reply),
        }
    }

    /// Takes note that a request was answered with an error or not at all.
    pub fn lose_track(&self, expected: &Expected) {
        match expected {
            Expected::Stored { key, .. } => self.ledger.texts[at(*key)].lose_track(),
            Expected::Count { key } => self.ledger.counters[at(*key)].lose_track(),
            Expected::Pushed { key, .. } => self.ledger.lists[at(*key)].lose_track(),
            Expected::Executed { key, .. } => {
                self.executed.lose_track();
                self.ledger.texts[at(*key)].lose_track();
            }
            Expected::Anything
            | Expected::Text(_)
            | Expected::Value { .. }
            | Expected::Values(_)
            | Expected::Items { .. }
            | Expected::Length
            | Expected::Popped { .. } => {}
        }
    }

    fn text(&self, expected: &str, reply: &Value) -> Finding {
        match reply.as_bytes() {
            Some(found) if found == expected.as_bytes() => Ok(()),
            _ => Err((Wrong::Shape, format!("{} instead of {expected}", show(reply)))),
        }
    }

    fn length(&self, reply: &Value) -> Finding {
        match reply {
            Value::Integer(1..) => Ok(()),
            other => Err(shape("a push", other)),
        }
    }

    fn count(&self, counter: &Counter, key: u64, reply: &Value) -> Finding {
        let Value::Integer(found) = reply else { return Err(shape("INCR", reply)) };
        match counter.advance(*found) {
            None => Ok(()),
            Some(due) => Err((Wrong::Invented, format!("counter {key} is {found} where {due} was due"))),
        }
    }

    fn value(&self, key: u64, floor: u64, reply: &Value) -> Finding {
        let register = &self.ledger.texts[at(key)];
        match reply {
            Value::Null if floor > 0 && !register.is_unsure() => {
                Err((Wrong::Lost, format!("key {key} is empty, version {floor} had been acknowledged")))
            }
            Value::Null => Ok(()),
            Value::Bulk(bytes) => self.stamped(Family::Text, key, floor, register, bytes).map(|_| ()),
            other => Err(shape("GET", other)),
        }
    }

    /// Checks a value and returns its version, 0 for one that an earlier run has left.
    fn stamped(
        &self,
        family: Family,
        key: u64,
        floor: u64,
        register: &Register,
        bytes: &[u8],
    ) -> Result<u64, (Wrong, String)> {
        let Some(stamp) = Stamp::read(bytes) else {
            // An earlier run without --verify may have left it, as long as none of this run was there.
            return if floor == 0 && bytes.iter().all(|byte| *byte == b'x') {
                Ok(0)
            } else {
                Err((Wrong::Invented, format!("key {key} holds {}", excerpt(bytes))))
            };
        };
        if stamp.key != key || stamp.family != family {
            return Err((Wrong::Crossed, format!("key {key} was answered with key {}: {}", stamp.key, excerpt(bytes))));
        }
        let version = if stamp.run == self.ledger.run { stamp.version } else { 0 };
        if version < floor && !register.is_unsure() {
            return Err((Wrong::Stale, format!("key {key} is at version {version}, {floor} had been acknowledged")));
        }
        let ceiling = register.ceiling();
        if version > ceiling || (version > 0 && !self.ledger.is_own(key, stamp.writer)) {
            return Err((Wrong::Invented, format!("key {key} is at version {version}, only {ceiling} were written")));
        }
        Ok(version)
    }

    fn items(&self, key: u64, floor: u64, reply: &Value) -> Finding {
        let Value::Array(items) = reply else { return Err(shape("LRANGE", reply)) };
        let register = &self.ledger.lists[at(key)];
        if items.is_empty() && floor > 0 && !register.is_unsure() {
            return Err((Wrong::Lost, format!("list {key} is empty, version {floor} had been acknowledged")));
        }
        let mut newer = u64::MAX;
        for (index, item) in items.iter().enumerate() {
            let Value::Bulk(bytes) = item else { return Err(shape("LRANGE", reply)) };
            let version = self.stamped(Family::Item, key, if index == 0 { floor } else { 0 }, register, bytes)?;
            if version >= newer && version > 0 && !register.is_unsure() {
                return Err((Wrong::Invented, format!("list {key} holds version {version} behind {newer}")));
            }
            newer = version;
        }
        Ok(())
    }

    fn popped(&self, version: u64, reply: &Value) -> Finding {
        let Value::Array(pair) = reply else { return Err(shape("BLPOP", reply)) };
        let [Value::Bulk(list), Value::Bulk(item)] = pair.as_slice() else { return Err(shape("BLPOP", reply)) };
        match Stamp::read(item) {
            _ if list != self.own_list => {
                Err((Wrong::Crossed, format!("BLPOP of the list of connection {} gave {}", self.writer, excerpt(list))))
            }
            // What an earlier run or a lost pop has left comes first.
            Some(stamp) if stamp.run != self.ledger.run || stamp.version < version => Ok(()),
            Some(stamp) if stamp.key == u64::from(self.writer) && stamp.version == version => Ok(()),
            _ => Err((Wrong::Invented, format!("the list of connection {} gave {}", self.writer, excerpt(item)))),
        }
    }
}

fn shape(request: &str, reply: &Value) -> (Wrong, String) {
    (Wrong::Shape, format!("{request} was answered with {}", show(reply)))
}

fn show(reply: &Value) -> String {
    match reply {
        Value::Array(items) => format!("an array of {}", items.len()),
        Value::Bulk(bytes) => excerpt(bytes),
        other => format!("{other:?}").chars().take(SHOWN_BYTES_MAX).collect(),
    }
}

fn excerpt(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    format!("\"{}\"{}", shown.escape_ascii(), if shown.len() < bytes.len() { "…" } else { "" })
}
