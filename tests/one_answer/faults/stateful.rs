//! What a verified client does with state at its connection: transactions in one piece and piece by piece,
//! WATCH, and a blocking queue; and what its keys have to hold in the end.

use loadtest::traffic::stamp::{Family, Stamp};
use resp::Value;

use super::{
    history::{Finding, Flaw},
    writer::{Got, KEYS, Writer, show, text_key},
};
use crate::support::{Client, requests};

/// What `BLPOP` is told to wait at most, in seconds.
pub const POP_SECONDS: u64 = 1;

/// How a transaction is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// In one piece.
    Together,
    /// Piece by piece, without waiting for replies.
    Hurried,
    /// Each request once the one before is answered.
    OneByOne,
}

impl Writer<'_> {
    /// Moves the counter of pairs twice, in one transaction.
    pub fn transaction(&mut self, pace: Pace) {
        if !self.connected() {
            return;
        }
        let incr = format!("INCR m:{}", self.id);
        let lines = ["MULTI", &incr, &incr, "EXEC"];
        if pace == Pace::Together {
            self.send(&requests(&lines));
        }
        let limit = self.scene.limits.exclusive;
        if pace == Pace::Hurried {
            lines.iter().for_each(|line| self.send(&requests(&[line])));
        }
        let (mut whole, mut got) = (true, Got::Closed);
        for line in lines {
            if pace == Pace::OneByOne {
                self.send(&requests(&[line]));
            }
            got = self.read(limit);
            whole &= matches!(got, Got::Value(_));
            if matches!(got, Got::Closed) {
                break;
            }
        }
        let checked = self.executed(&got);
        self.hold(checked);
        if !whole {
            // A connection that had state may be closed after an error, as Redis would; none is used again.
            self.client = None;
        }
    }

    /// `got` is what `EXEC` was answered with, or what came last.
    pub fn executed(&mut self, got: &Got) -> Result<(), Finding> {
        match got {
            Got::Refused => Ok(()),
            Got::Open | Got::Closed => {
                self.pairs.unknown();
                Ok(())
            }
            Got::Value(Value::Array(items)) => match items.as_slice() {
                [Value::Integer(one), Value::Integer(two)] if one + 1 == *two => self.pairs.moved(two.cast_unsigned()),
                _ => Err((Flaw::Wrong, format!("EXEC was answered with {items:?}"))),
            },
            Got::Value(value) => Err((Flaw::Wrong, format!("EXEC was answered with {}", show(value)))),
        }
    }

    /// Moves the counter that all clients of a database share, unless another does so meanwhile.
    pub fn compare_and_set(&mut self) {
        if self.connected() && self.try_compare_and_set().is_none() {
            self.client = None;
        }
    }

    fn try_compare_and_set(&mut self) -> Option<()> {
        self.value_of("WATCH shared")?;
        let next = match self.value_of("GET shared")? {
            Value::Null => 1,
            Value::Bulk(digits) => std::str::from_utf8(&digits).ok()?.parse::<u64>().ok()? + 1,
            other => {
                self.flaw(Flaw::Wrong, &format!("the shared counter is {}", show(&other)));
                return None;
            }
        };
        self.value_of("MULTI")?;
        self.value_of(&format!("SET shared {next}"))?;
        self.send(&requests(&["EXEC"]));
        match self.read(self.scene.limits.exclusive) {
            // Another was faster.
            Got::Value(Value::Null) => {}
            Got::Value(Value::Array(items)) if items.len() == 1 => self.shared.push(next),
            Got::Value(other) => self.flaw(Flaw::Wrong, &format!("EXEC was answered with {}", show(&other))),
            Got::Refused => return None,
            Got::Open | Got::Closed => {
                self.shared_open += 1;
                return None;
            }
        }
        Some(())
    }

    fn value_of(&mut self, line: &str) -> Option<Value> {
        self.send(&requests(&[line]));
        match self.read(self.scene.limits.exclusive) {
            Got::Value(value) => Some(value),
            Got::Refused | Got::Open | Got::Closed => None,
        }
    }

    /// Pushes to its own queue, and pops as much.
    pub fn push_and_pop(&mut self) {
        let count = self.rng.usize(1..4);
        for _ in 0..count {
            if !self.connected() {
                return;
            }
            let element = self.queue.begin();
            self.send(&self.push_request(element));
            match self.read(self.scene.limits.shared) {
                Got::Value(Value::Integer(1..)) => self.queue.pushed(element),
                Got::Value(other) => self.flaw(Flaw::Wrong, &format!("RPUSH was answered with {}", show(&other))),
                Got::Refused => {}
                Got::Open => self.queue.push_unknown(element),
                Got::Closed => {
                    self.queue.push_unknown(element);
                    self.closed();
                }
            }
        }
        (0..count).for_each(|_| self.pop());
    }

    fn pop(&mut self) {
        if !self.connected() {
            return;
        }
        self.send(&requests(&[&format!("BLPOP q:{} {POP_SECONDS}", self.id)]));
        let limit = self.scene.limits.exclusive + std::time::Duration::from_secs(POP_SECONDS);
        let got = self.read(limit);
        let checked = self.popped(&got);
        self.hold(checked);
        if matches!(got, Got::Open) {
            self.client = None;
        }
    }

    /// `got` is what `BLPOP` was answered with.
    pub fn popped(&mut self, got: &Got) -> Result<(), Finding> {
        match got {
            Got::Value(Value::Null) => self.queue.holds(&[]),
            Got::Value(value) => self.element(value).and_then(|element| self.queue.popped(element)),
            Got::Refused => Ok(()),
            Got::Open | Got::Closed => {
                self.queue.pop_unknown();
                Ok(())
            }
        }
    }

    /// The number of an element that was popped.
    fn element(&self, value: &Value) -> Result<u64, Finding> {
        match value {
            Value::Array(pair) if pair.len() == 2 => self.own_element(&pair[1]),
            other => Err((Flaw::Wrong, format!("BLPOP was answered with {}", show(other)))),
        }
    }

    fn own_element(&self, value: &Value) -> Result<u64, Finding> {
        match value.as_bytes().and_then(Stamp::read) {
            Some(stamp) if (stamp.family, stamp.run, stamp.writer) == (Family::Queued, self.scene.run, self.id) => {
                Ok(stamp.version)
            }
            _ => Err((Flaw::Wrong, format!("the queue of client {} gave {}", self.id, show(value)))),
        }
    }

    /// Compares with what Redis has in the end; how many writes took effect late.
    pub fn check(&mut self, direct: &mut Client) -> u64 {
        direct.expect(&format!("SELECT {}", self.db()), "+OK\r\n");
        for key in 0..KEYS {
            let value = ask(direct, &format!("GET {}", text_key(self.id, key)));
            let checked = self.check_text(key, &value);
            self.hold(checked);
        }
        self.hold(self.counter.check(number(&ask(direct, &format!("GET n:{}", self.id)))));
        self.hold(self.silent.check(number(&ask(direct, &format!("GET s:{}", self.id)))));
        self.hold(self.pairs.check(number(&ask(direct, &format!("GET m:{}", self.id)))));
        let Value::Array(items) = ask(direct, &format!("LRANGE q:{} 0 -1", self.id)) else { panic!("a list") };
        let elements: Result<Vec<u64>, Finding> = items.iter().map(|item| self.own_element(item)).collect();
        let checked = elements.and_then(|elements| self.queue.holds(&elements));
        self.hold(checked);
        self.texts.iter().map(|register| register.late).sum()
    }
}

/// A reply of Redis itself.
pub fn ask(direct: &mut Client, line: &str) -> Value {
    let reply = direct.line(line);
    Value::decode(&reply.into()).expect("Redis replies").0
}

/// A counter's value; nothing is 0.
pub fn number(value: &Value) -> u64 {
    match value {
        Value::Null => 0,
        value => {
            let digits = value.as_bytes().expect("digits");
            std::str::from_utf8(digits).expect("digits").parse().expect("digits")
        }
    }
}
