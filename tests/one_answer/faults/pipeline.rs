//! The pipelines of a verified client: requests of all kinds in one write, among them whole transactions and
//! blocking ones, and a reply to each that is held against the client's history.

use std::time::{Duration, Instant};

use loadtest::traffic::stamp::{Family, STAMP_BYTES, Stamp};
use resp::Value;

use super::{
    history::{Finding, Flaw},
    stateful::POP_SECONDS,
    writer::{DBS, Got, KEYS, Writer, index, show, text_key},
};
use crate::support::{pass, request, requests};

/// A request of a pipeline.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Set(u64, u64),
    Get(u64),
    Count,
    /// A key of another client.
    Foreign(u32, u64),
    Push(u64),
    Pop,
    /// For replicas, of which there are none.
    Wait,
    /// Counts without a reply.
    Mute,
    /// Has replies come again.
    Unmute,
    /// Part of a transaction.
    Queued,
    Exec,
}

impl Asked {
    /// Goes to an exclusive connection, with which the session may end.
    fn may_end_the_session(self) -> bool {
        matches!(self, Self::Pop | Self::Wait | Self::Queued | Self::Exec)
    }
}

impl Writer<'_> {
    /// Sends `count` requests or a few more in one piece; how many got a value.
    pub fn pipeline(&mut self, count: usize) -> usize {
        if !self.connected() {
            return 0;
        }
        let (mut bytes, mut asked) = (Vec::new(), Vec::new());
        while asked.len() < count {
            self.ask(&mut bytes, &mut asked);
        }
        let sent = Instant::now();
        self.send_somehow(&bytes);
        let (mut values, mut ended) = (0, false);
        for asked in asked {
            if matches!(asked, Asked::Mute) {
                self.silent.unknown();
                continue;
            }
            let limit = if asked.may_end_the_session() {
                self.scene.limits.exclusive + Duration::from_secs(POP_SECONDS)
            } else {
                self.scene.limits.shared
            };
            let got = self.read(limit);
            // As by Redis: in the midst of a transaction, or after an error there, with what is behind it.
            ended |= match got {
                Got::Open => asked.may_end_the_session(),
                // An error that says that it was not sent, too.
                Got::Closed | Got::Refused => matches!(asked, Asked::Queued | Asked::Exec),
                Got::Value(_) => false,
            };
            if matches!(got, Got::Closed) && !ended {
                self.closed();
            }
            values += usize::from(matches!(got, Got::Value(_)));
            let checked = self.settle(asked, &got, sent);
            self.hold(checked);
        }
        if ended {
            self.client = None;
        }
        values
    }

    /// In one piece or in two; now and then it is slow to look for its replies.
    fn send_somehow(&mut self, bytes: &[u8]) {
        let pause = Duration::from_millis(self.rng.u64(1..50));
        match self.rng.u32(..20) {
            0 => {
                let (first, second) = bytes.split_at(self.rng.usize(..=bytes.len()));
                self.send(first);
                pass(pause);
                self.send(second);
            }
            1 => {
                self.send(bytes);
                pass(pause);
            }
            _ => self.send(bytes),
        }
    }

    fn ask(&mut self, bytes: &mut Vec<u8>, asked: &mut Vec<Asked>) {
        let key = self.rng.u64(..KEYS);
        match self.rng.u32(..100) {
            0..36 => asked.push(self.ask_to_set(key, bytes)),
            36..62 => {
                bytes.extend(request(&["GET", &text_key(self.id, key)]));
                asked.push(Asked::Get(key));
            }
            62..78 => {
                bytes.extend(request(&["INCR", &format!("n:{}", self.id)]));
                asked.push(Asked::Count);
            }
            78..80 => {
                bytes.extend(format!("INCR n:{}\r\n", self.id).bytes());
                asked.push(Asked::Count);
            }
            80..82 => {
                let incr = format!("INCR s:{}", self.id);
                bytes.extend(requests(&["CLIENT REPLY OFF", &incr, &incr, "CLIENT REPLY ON"]));
                asked.extend([Asked::Mute, Asked::Mute, Asked::Unmute]);
            }
            82..84 => {
                let element = self.queue.begin();
                bytes.extend(self.push_request(element));
                bytes.extend(requests(&[&format!("BLPOP q:{} {POP_SECONDS}", self.id)]));
                asked.extend([Asked::Push(element), Asked::Pop]);
            }
            84..86 => {
                bytes.extend(requests(&["WAIT 1 5"]));
                asked.push(Asked::Wait);
            }
            86..91 => {
                let incr = format!("INCR m:{}", self.id);
                bytes.extend(requests(&["MULTI", &incr, &incr, "EXEC"]));
                asked.extend([Asked::Queued, Asked::Queued, Asked::Queued, Asked::Exec]);
            }
            _ => {
                // In the same database.
                let other = self.id % DBS + DBS * self.rng.u32(..self.scene.clients / DBS);
                bytes.extend(request(&["GET", &text_key(other, key)]));
                asked.push(if other == self.id { Asked::Get(key) } else { Asked::Foreign(other, key) });
            }
        }
    }

    fn ask_to_set(&mut self, key: u64, bytes: &mut Vec<u8>) -> Asked {
        let version = self.texts[index(key)].begin();
        let size = match self.rng.u32(..100) {
            0 => self.rng.usize(20_000..100_000),
            1..20 => self.rng.usize(STAMP_BYTES..5_000),
            _ => STAMP_BYTES,
        };
        let value = self.stamp(Family::Text, key, version, size);
        bytes.extend(request(&["SET", &text_key(self.id, key), &value]));
        Asked::Set(key, version)
    }

    /// Pushes `element` to the client's own queue.
    pub fn push_request(&self, element: u64) -> Vec<u8> {
        let value = self.stamp(Family::Queued, u64::from(self.id), element, STAMP_BYTES);
        request(&["RPUSH", &format!("q:{}", self.id), &value])
    }

    /// A value that tells where it comes from, `size` bytes long.
    fn stamp(&self, family: Family, key: u64, version: u64, size: usize) -> String {
        let mut value = Vec::new();
        Stamp { family, run: self.scene.run, key, writer: self.id, version }.write(&mut value, size);
        String::from_utf8(value).expect("stamps are text")
    }

    /// Holds what a request got against what it may get.
    fn settle(&mut self, asked: Asked, got: &Got, sent: Instant) -> Result<(), Finding> {
        match (asked, got) {
            (Asked::Set(key, version), Got::Value(Value::Simple(text))) if text == "OK" => {
                self.texts[index(key)].acknowledged(version, sent);
            }
            (Asked::Set(key, version), Got::Open | Got::Closed) => {
                self.texts[index(key)].unknown(version, Instant::now());
            }
            (Asked::Get(key), Got::Value(value)) => return self.check_text(key, value),
            (Asked::Count, Got::Value(Value::Integer(value))) => return self.counter.moved(value.cast_unsigned()),
            (Asked::Count, Got::Open | Got::Closed) => self.counter.unknown(),
            (Asked::Foreign(writer, key), Got::Value(value)) => {
                return self.check_stamp(writer, key, value).map(|_| ());
            }
            (Asked::Push(element), Got::Value(Value::Integer(1..))) => self.queue.pushed(element),
            (Asked::Push(element), Got::Open | Got::Closed) => self.queue.push_unknown(element),
            (Asked::Wait, Got::Value(Value::Integer(0))) => {}
            (Asked::Unmute, Got::Value(Value::Simple(text))) if text == "OK" => {}
            (Asked::Pop, got) => return self.popped(got),
            (Asked::Exec, got) => return self.executed(got),
            (Asked::Queued, Got::Value(Value::Simple(text))) if text == "OK" || text == "QUEUED" => {}
            (_, Got::Refused | Got::Open | Got::Closed) => {}
            (asked, Got::Value(value)) => {
                return Err((Flaw::Wrong, format!("{asked:?} was answered with {}", show(value))));
            }
        }
        Ok(())
    }

    pub fn check_text(&mut self, key: u64, value: &Value) -> Result<(), Finding> {
        let version = self.check_stamp(self.id, key, value)?;
        self.texts[index(key)].seen(version)
    }

    /// The version of a value of a `writer`'s key, 0 for none.
    fn check_stamp(&self, writer: u32, key: u64, value: &Value) -> Result<u64, Finding> {
        let stamp = match value {
            Value::Null => return Ok(0),
            Value::Bulk(bytes) => Stamp::read(bytes),
            _ => None,
        };
        match stamp {
            Some(stamp)
                if (stamp.family, stamp.run, stamp.key, stamp.writer)
                    == (Family::Text, self.scene.run, key, writer) =>
            {
                Ok(stamp.version)
            }
            _ => Err((Flaw::Wrong, format!("key {key} of client {writer} holds {}", show(value)))),
        }
    }
}
