//! Writes the requests of an operation, and says of each reply what it has to be. Without
//! verification nothing is allocated: keys and values are written into buffers that are kept.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use resp::{write_array, write_bulk};

use crate::{
    load::{
        Load,
        key_kind::KeyKind,
        keys::Keys,
        mix::{Mix, Operation},
        size::ValueSize,
    },
    traffic::{
        expected::{Awaited, Expected, at},
        ledger::Ledger,
        stamp::{Family, Stamp},
    },
};

/// Keys of one `MGET`.
const MGET_KEYS: usize = 10;

/// The requests of one connection.
#[derive(Debug)]
pub struct Requests {
    writer: u32,
    mix: Mix,
    keys: Keys,
    sizes: ValueSize,
    ledger: Option<Arc<Ledger>>,
    rng: fastrand::Rng,
    /// `loadtest:`, whatever was given.
    prefix: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
    popped: u64,
}

impl Requests {
    /// The requests of connection number `writer`.
    pub fn new(load: &Load, writer: u32, ledger: Option<Arc<Ledger>>) -> Self {
        Self {
            writer,
            mix: load.mix.clone(),
            keys: Keys::new(load.key_choice, load.keys),
            sizes: load.sizes,
            value: if ledger.is_some() { Vec::new() } else { vec![b'x'; load.sizes.max] },
            ledger,
            rng: fastrand::Rng::with_seed(load.seed.wrapping_add(u64::from(writer))),
            prefix: load.key_prefix.clone().into_bytes(),
            key: Vec::new(),
            popped: 0,
        }
    }

    /// The name of this connection's own list, for its blocking operations.
    pub fn own_list(&self) -> Vec<u8> {
        let mut name = Vec::new();
        KeyKind::Queue.write_name(&mut name, &self.prefix, u64::from(self.writer));
        name
    }

    /// Appends the requests of the next operation to `out` and their replies to `awaited`.
    pub fn push(&mut self, out: &mut Vec<u8>, awaited: &mut VecDeque<Awaited>, since: Instant, measured: bool) {
        let operation = self.mix.pick(&mut self.rng);
        let mut expect = |expected, last| awaited.push_back(Awaited { since, measured, operation, last, expected });
        match operation {
            Operation::Ping => {
                write_array(out, 1);
                write_bulk(out, b"PING");
                expect(self.checked(Expected::Text("PONG")), true);
            }
            Operation::Get => expect(self.get(out), true),
            Operation::Set => {
                let (key, version) = self.set(out);
                expect(self.checked(Expected::Stored { key, version }), true);
            }
            Operation::Incr => {
                let key = self.incr(out);
                expect(self.checked(Expected::Count { key }), true);
            }
            Operation::Mget => expect(self.mget(out), true),
            Operation::Lpush => {
                expect(self.lpush(out), false);
                self.ltrim(out);
                expect(self.checked(Expected::Text("OK")), true);
            }
            Operation::Lrange => expect(self.lrange(out), true),
            Operation::Transaction => {
                write_array(out, 1);
                write_bulk(out, b"MULTI");
                expect(self.checked(Expected::Text("OK")), false);
                self.incr_of_transaction(out);
                expect(self.checked(Expected::Text("QUEUED")), false);
                let (key, version) = self.set(out);
                expect(self.checked(Expected::Text("QUEUED")), false);
                write_array(out, 1);
                write_bulk(out, b"EXEC");
                expect(self.checked(Expected::Executed { key, version }), true);
            }
            Operation::Blocking => {
                self.rpush(out);
                expect(self.checked(Expected::Length), false);
                self.blpop(out);
                expect(self.checked(Expected::Popped { version: self.popped }), true);
            }
        }
    }

    /// Appends a `SET` of this key, without a stamp.
    pub fn fill(&mut self, out: &mut Vec<u8>, key: u64) {
        self.name(KeyKind::Text, key);
        write_array(out, 3);
        write_bulk(out, b"SET");
        write_bulk(out, &self.key);
        self.write_value(out, Family::Text, key, 0);
    }

    fn checked(&self, expected: Expected) -> Expected {
        if self.ledger.is_some() { expected } else { Expected::Anything }
    }

    fn name(&mut self, kind: KeyKind, key: u64) {
        self.key.clear();
        kind.write_name(&mut self.key, &self.prefix, key);
    }

    /// A key that this connection may write.
    fn own_key(&mut self) -> u64 {
        let key = self.keys.pick(&mut self.rng);
        self.ledger.as_ref().map_or(key, |ledger| ledger.owned(key, self.writer))
    }

    fn get(&mut self, out: &mut Vec<u8>) -> Expected {
        let key = self.keys.pick(&mut self.rng);
        self.name(KeyKind::Text, key);
        write_array(out, 2);
        write_bulk(out, b"GET");
        write_bulk(out, &self.key);
        self.ledger.as_ref().map_or(Expected::Anything, |ledger| {
            let floor = ledger.texts[at(key)].floor(ledger.is_own(key, self.writer));
            Expected::Value { key, floor }
        })
    }

    fn mget(&mut self, out: &mut Vec<u8>) -> Expected {
        write_array(out, 1 + MGET_KEYS);
        write_bulk(out, b"MGET");
        let mut keys = [0; MGET_KEYS];
        for slot in &mut keys {
            *slot = self.keys.pick(&mut self.rng);
            self.name(KeyKind::Text, *slot);
            write_bulk(out, &self.key);
        }
        self.ledger.as_ref().map_or(Expected::Anything, |ledger| {
            let floor = |key| ledger.texts[at(key)].floor(ledger.is_own(key, self.writer));
            Expected::Values(keys.iter().map(|key| (*key, floor(*key))).collect())
        })
    }

    /// Returns key and version.
    fn set(&mut self, out: &mut Vec<u8>) -> (u64, u64) {
        let key = self.own_key();
        let version = self.ledger.as_ref().map_or(0, |ledger| ledger.texts[at(key)].next_version());
        self.name(KeyKind::Text, key);
        write_array(out, 3);
        write_bulk(out, b"SET");
        write_bulk(out, &self.key);
        self.write_value(out, Family::Text, key, version);
        (key, version)
    }

    fn incr(&mut self, out: &mut Vec<u8>) -> u64 {
        let key = self.own_key();
        self.name(KeyKind::Count, key);
        write_array(out, 2);
        write_bulk(out, b"INCR");
        write_bulk(out, &self.key);
        key
    }

    /// A counter of its own for each connection, so that its answer needs no further key.
    fn incr_of_transaction(&mut self, out: &mut Vec<u8>) {
        self.name(KeyKind::Executed, u64::from(self.writer));
        write_array(out, 2);
        write_bulk(out, b"INCR");
        write_bulk(out, &self.key);
    }

    fn lpush(&mut self, out: &mut Vec<u8>) -> Expected {
        let key = self.own_key();
        let version = self.ledger.as_ref().map_or(0, |ledger| ledger.lists[at(key)].next_version());
        self.name(KeyKind::List, key);
        write_array(out, 3);
        write_bulk(out, b"LPUSH");
        write_bulk(out, &self.key);
        self.write_value(out, Family::Item, key, version);
        self.checked(Expected::Pushed { key, version })
    }

    /// Trims the list that was named last.
    fn ltrim(&mut self, out: &mut Vec<u8>) {
        write_array(out, 4);
        for arg in [&b"LTRIM"[..], &self.key, b"0", b"99"] {
            write_bulk(out, arg);
        }
    }

    fn lrange(&mut self, out: &mut Vec<u8>) -> Expected {
        let key = self.keys.pick(&mut self.rng);
        self.name(KeyKind::List, key);
        write_array(out, 4);
        for arg in [&b"LRANGE"[..], &self.key, b"0", b"9"] {
            write_bulk(out, arg);
        }
        self.ledger.as_ref().map_or(Expected::Anything, |ledger| {
            let floor = ledger.lists[at(key)].floor(ledger.is_own(key, self.writer));
            Expected::Items { key, floor }
        })
    }

    fn rpush(&mut self, out: &mut Vec<u8>) {
        self.popped += 1;
        self.name(KeyKind::Queue, u64::from(self.writer));
        write_array(out, 3);
        write_bulk(out, b"RPUSH");
        write_bulk(out, &self.key);
        self.write_value(out, Family::Queued, u64::from(self.writer), self.popped);
    }

    /// Pops from the list that was named last, waiting for at most a second.
    fn blpop(&mut self, out: &mut Vec<u8>) {
        write_array(out, 3);
        for arg in [&b"BLPOP"[..], &self.key, b"1"] {
            write_bulk(out, arg);
        }
    }

    fn write_value(&mut self, out: &mut Vec<u8>, family: Family, key: u64, version: u64) {
        let size = self.sizes.pick(&mut self.rng);
        match &self.ledger {
            Some(ledger) => {
                Stamp { family, run: ledger.run, key, writer: self.writer, version }.write(&mut self.value, size);
                write_bulk(out, &self.value);
            }
            None => write_bulk(out, &self.value[..size]),
        }
    }
}
