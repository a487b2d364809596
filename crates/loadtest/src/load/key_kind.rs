//! The names of the keys: a prefix, a kind, a number. So that a load can say which keys it writes, and
//! remove these and no others.

use crate::load::{Load, mix::Operation};

/// Digits of a number in a name.
const DIGITS: usize = 12;

/// Which keys there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// Strings of `SET` and `GET`.
    Text,
    /// Counters of `INCR`.
    Count,
    /// A counter of each connection, incremented in its transactions.
    Executed,
    /// Lists of `LPUSH` and `LRANGE`.
    List,
    /// A list of each connection, for its blocking operations.
    Queue,
}

impl KeyKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Text, Self::Count, Self::Executed, Self::List, Self::Queue];

    /// What stands between the prefix and the number.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text:",
            Self::Count => "count:",
            Self::Executed => "executed:",
            Self::List => "list:",
            Self::Queue => "queue:",
        }
    }

    /// Appends the name of key number `key`.
    pub fn write_name(self, out: &mut Vec<u8>, prefix: &[u8], key: u64) {
        out.extend_from_slice(prefix);
        out.extend_from_slice(self.word().as_bytes());
        let (mut digits, mut left) = ([b'0'; DIGITS], key);
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
        out.extend_from_slice(&digits);
    }

    /// How many keys of this kind `load` may write; they are numbered from 0.
    pub fn written_by(self, load: &Load) -> u64 {
        let does = |wanted: Operation| load.mix.operations().any(|operation| operation == wanted);
        let connections = load.connections as u64;
        match self {
            Self::Text if load.fill || does(Operation::Set) || does(Operation::Transaction) => load.keys,
            Self::Count if does(Operation::Incr) => load.keys,
            Self::Executed if does(Operation::Transaction) => connections,
            Self::List if does(Operation::Lpush) => load.keys,
            Self::Queue if does(Operation::Blocking) => connections,
            Self::Text | Self::Count | Self::Executed | Self::List | Self::Queue => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    #[test]
    fn a_load_writes_what_its_mix_and_filling_say() {
        let mut load = Load::new(Target::loopback(1));
        let written = |load: &Load| KeyKind::ALL.map(|kind| kind.written_by(load));
        assert_eq!(written(&load), [10_000, 0, 0, 0, 0]);
        load.mix = "get,ping".parse().unwrap();
        assert_eq!(written(&load), [0; 5]);
        load.fill = true;
        assert_eq!(written(&load), [10_000, 0, 0, 0, 0]);
        (load.mix, load.fill) = ("incr,lpush,transaction,blocking".parse().unwrap(), false);
        assert_eq!(written(&load), [10_000, 10_000, 50, 10_000, 50]);
    }

    #[test]
    fn names_are_of_one_length() {
        let mut name = Vec::new();
        KeyKind::List.write_name(&mut name, b"p:", 1_042);
        assert_eq!(name, b"p:list:000000001042");
    }
}
