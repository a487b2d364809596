//! What a command is that the table of classes does not name: nothing special if it is one of those that every version
//! has, and otherwise what the upstream says when it is asked `COMMAND INFO`, once for each name. So a command that
//! blocks is known the day it exists, and one that changes its connection is known by the name that
//! `rename-command` has given it.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{LazyLock, PoisonError, RwLock},
};

use bytes::Bytes;
use resp::{Request, Value};

use crate::command::{
    class::{Class, Reason, Upstream},
    classify::{PLAIN, is_listed_as, table},
    errors,
};

/// The longest name that is looked for without an allocation.
const SHORT: usize = 32;

/// The longest name that a command can have: of a line of Redis's configuration.
const NAME_MAX: usize = 1024;

/// Names that are kept. An upstream with more commands is asked again.
const NAMES_MAX: usize = 4096;

/// Commands that are what they are called everywhere.
static EVERYWHERE: LazyLock<HashSet<&'static [u8]>> =
    LazyLock::new(|| settings::command_names().map(str::as_bytes).collect());

/// Names that the operator has listed.
// Open: a plain value, made for each look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listed<'c> {
    pub(crate) denied: &'c HashSet<Vec<u8>>,
    pub(crate) blocking: &'c HashSet<Vec<u8>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Plain,
    /// It may wait for what somebody else does.
    Blocks,
    /// It is the command of this name.
    Renamed(Box<[u8]>),
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Names(RwLock<Learned>);

#[derive(Debug, Default)]
struct Learned {
    /// Of the upstream that said it.
    generation: u64,
    /// The upstream does not say.
    refuses: bool,
    by_name: HashMap<Box<[u8]>, Meaning>,
}

impl Names {
    /// The class of a request whose command is not in the table; [`Class::Unheard`] if the upstream is to be asked.
    pub(crate) fn class(&self, request: &Request<'_>, upstream: Upstream, listed: Listed<'_>) -> Class {
        let name = request.arg(0).unwrap_or_default();
        if upstream == Upstream::Embedded || name.len() > NAME_MAX {
            return PLAIN;
        }
        with_upper(name, |name| {
            if EVERYWHERE.contains(name) {
                return PLAIN;
            }
            if listed.blocking.contains(name) {
                return Class::Exclusive(Reason::Blocking);
            }
            let learned = self.0.read().unwrap_or_else(PoisonError::into_inner);
            match learned.by_name.get(name) {
                Some(Meaning::Plain) => PLAIN,
                Some(Meaning::Blocks) => Class::Exclusive(Reason::Blocking),
                Some(Meaning::Renamed(own)) => of_renamed(own, request, upstream, listed.denied),
                None if learned.refuses => PLAIN,
                None => Class::Unheard,
            }
        })
    }

    /// The name that the request's command has where it is not renamed.
    pub(crate) fn own_name<'r>(&self, request: &Request<'r>) -> Cow<'r, [u8]> {
        let name = request.arg(0).unwrap_or_default();
        let learned = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match with_upper(name, |name| match learned.by_name.get(name) {
            Some(Meaning::Renamed(own)) => Some(own.to_vec()),
            _ => None,
        }) {
            Some(own) => Cow::Owned(own),
            None => Cow::Borrowed(name),
        }
    }

    /// Takes in what the upstream of this generation has said to `COMMAND INFO name`. That there is no such command holds
    /// for now alone: a module may bring it.
    pub(crate) fn learn(&self, generation: u64, name: &[u8], answer: Vec<u8>) {
        let Ok((answer, _)) = Value::decode(&Bytes::from(answer)) else { return };
        let mut learned = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if learned.generation != generation || learned.by_name.len() >= NAMES_MAX {
            *learned = Learned { generation, ..Learned::default() };
        }
        match answer {
            Value::Array(commands) => {
                let name = name.to_ascii_uppercase().into_boxed_slice();
                if let Some(meaning) = commands.first().and_then(|command| read(command, &name)) {
                    learned.by_name.insert(name, meaning);
                }
            }
            Value::Error(words) if !is_for_now(&words) => learned.refuses = true,
            _ => {}
        }
    }
}

/// Whether the upstream may say something else to the same request soon.
fn is_for_now(words: &str) -> bool {
    ["BUSY", "LOADING", "MASTERDOWN", "NOAUTH"].iter().any(|word| words.starts_with(word))
}

fn with_upper<T>(name: &[u8], look: impl FnOnce(&[u8]) -> T) -> T {
    let mut short = [0; SHORT];
    match short.get_mut(..name.len()) {
        Some(upper) => {
            upper.copy_from_slice(name);
            upper.make_ascii_uppercase();
            look(upper)
        }
        None => look(&name.to_ascii_uppercase()),
    }
}

/// What an entry of the answer says of the command that was asked for as `name`.
fn read(command: &Value, name: &[u8]) -> Option<Meaning> {
    let Value::Array(parts) = command else { return None };
    let own = parts.first()?.as_bytes()?.to_ascii_uppercase();
    let (Value::Array(flags) | Value::Set(flags)) = parts.get(2)? else { return None };
    let blocks = flags.iter().any(|flag| flag.as_bytes() == Some(b"blocking"));
    Some(match () {
        () if own != name => Meaning::Renamed(own.into_boxed_slice()),
        () if blocks => Meaning::Blocks,
        () => Meaning::Plain,
    })
}

/// The class of a request whose command has the name `own` elsewhere. What the gateway itself would answer, and what
/// changes a connection, is served by that name alone.
fn of_renamed(own: &[u8], request: &Request<'_>, upstream: Upstream, denied: &HashSet<Vec<u8>>) -> Class {
    if !denied.is_empty() && is_listed_as(own, request, denied) {
        return Class::Refused(errors::DENIED);
    }
    match table(own, request, upstream) {
        None | Some(Class::Plain { .. }) => PLAIN,
        // It may look into the client's database, which is not one that others of the class ask for.
        Some(Class::Exclusive(Reason::Other)) if own == b"DEBUG" => Class::Exclusive(Reason::Blocking),
        Some(class @ (Class::Exclusive(Reason::Blocking | Reason::Wait | Reason::Other) | Class::Refused(_))) => class,
        Some(_) => Class::Refused(errors::RENAMED),
    }
}

#[cfg(test)]
mod tests {
    use resp::{Decoded, RequestDecoder, RequestLimits};

    use super::*;

    fn class(names: &Names, line: &str) -> Class {
        let (line, mut decoder) = (format!("{line}\r\n"), RequestDecoder::new(RequestLimits::default()));
        assert_eq!(decoder.decode(line.as_bytes()), Ok(Decoded::Request { len: line.len() }));
        let (denied, blocking) = (HashSet::from([b"FLUSHALL".to_vec()]), HashSet::from([b"FSL.BPOP".to_vec()]));
        let listed = Listed { denied: &denied, blocking: &blocking };
        names.class(&decoder.request(line.as_bytes()), Upstream::Redis, listed)
    }

    fn answer(name: &str, flags: &[&str]) -> Vec<u8> {
        let flags: String = flags.iter().map(|flag| format!("+{flag}\r\n")).collect();
        let count = flags.lines().count();
        format!("*1\r\n*7\r\n${}\r\n{name}\r\n:2\r\n*{count}\r\n{flags}:1\r\n:1\r\n:1\r\n*0\r\n", name.len())
            .into_bytes()
    }

    #[test]
    fn a_name_is_what_the_upstream_says_it_is() {
        let names = Names::default();
        let long = "x".repeat(60);
        assert_eq!((class(&names, "zadd z 1 a"), class(&names, "fsl.bpop l 0")), (PLAIN, BLOCKING));
        for (name, own, flags, arguments, expected) in [
            ("mod.wait", "mod.wait", &["write", "module", "blocking"][..], "", BLOCKING),
            ("mod.set", "mod.set", &["write", "module"], "", PLAIN),
            (&long, "multi", &["noscript"], "", Class::Refused(errors::RENAMED)),
            ("xc", "client", &[], "REPLY OFF", Class::Refused(errors::RENAMED)),
            ("xpop", "blpop", &["write", "blocking"], "l 0", BLOCKING),
            ("xd", "debug", &[], "OBJECT k", BLOCKING),
            ("xconf", "config", &[], "SET a b", Class::Exclusive(Reason::Other)),
            ("xconf", "config", &[], "GET a", PLAIN),
            ("xflush", "flushall", &["write"], "", Class::Refused(errors::DENIED)),
            ("xdb", "flushdb", &["write"], "", PLAIN),
        ] {
            names.learn(1, name.as_bytes(), answer(own, flags));
            assert_eq!(class(&names, &format!("{name} {arguments}")), expected, "{name}");
        }
        names.learn(2, b"none", b"*1\r\n*-1\r\n".to_vec());
        assert_eq!((class(&names, "none"), class(&names, "mod.set")), (Class::Unheard, Class::Unheard));
    }

    const BLOCKING: Class = Class::Exclusive(Reason::Blocking);

    #[test]
    fn who_does_not_say_is_not_asked_again() {
        let names = Names::default();
        names.learn(1, b"none", b"-BUSY now\r\n".to_vec());
        assert_eq!(class(&names, "none"), Class::Unheard);
        names.learn(1, b"none", b"-NOPERM no\r\n".to_vec());
        assert_eq!(class(&names, "none"), PLAIN);
        assert_eq!(class(&names, "xx"), PLAIN);
    }

    #[test]
    fn names_are_bounded() {
        let names = Names::default();
        for number in 0..=NAMES_MAX {
            let name = format!("mod.{number}");
            names.learn(1, name.as_bytes(), answer(&name, &[]));
        }
        assert!(names.0.read().expect("sound").by_name.len() <= NAMES_MAX);
    }
}
