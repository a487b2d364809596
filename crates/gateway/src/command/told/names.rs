//! What a command is that the table of classes does not name: nothing special if it is one of those that every version
//! has, and otherwise what the upstream says when it is asked `COMMAND INFO`: once for each name, as long as it is the same
//! process. So a command that blocks is known the day it exists, and one that changes its connection is known by the name
//! that `rename-command` has given it. That there is no such command holds for a second, as a module may bring it, and
//! that the upstream does not say for ten.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cluster::Map;
use pool::Facts;
use resp::{Request, Value};
use tokio::sync::watch;

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

/// Names that the upstream does not know which are kept, and for how long.
const UNKNOWN_MAX: usize = 256;
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// How long an upstream that does not say is not asked again.
const REFUSES_FOR: Duration = Duration::from_secs(10);

/// Commands that are what they are called everywhere.
static EVERYWHERE: LazyLock<HashSet<&'static [u8]>> =
    LazyLock::new(|| settings::command_names().iter().map(|name| name.as_bytes()).collect());

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
pub(crate) struct Names {
    learned: RwLock<Learned>,
    /// Of the upstream that is asked; without it, what was learned holds.
    facts: OnceLock<watch::Receiver<Arc<Facts>>>,
    /// What is known of the cluster behind, if one is.
    map: OnceLock<watch::Receiver<Arc<Map>>>,
}

#[derive(Debug, Default)]
struct Learned {
    /// Of the upstream that said it.
    generation: u64,
    by_name: HashMap<Box<[u8]>, Meaning>,
    /// When it said that it does not know these.
    unknown: HashMap<Box<[u8]>, Instant>,
    /// When it did not say.
    refused: Option<Instant>,
}

impl Learned {
    /// Whether there is no use in asking about a name now.
    fn is_in_vain(&self, name: &[u8]) -> bool {
        let is_within = |since: Option<Instant>, limit| since.is_some_and(|since| since.elapsed() < limit);
        is_within(self.refused, REFUSES_FOR) || is_within(self.unknown.get(name).copied(), UNKNOWN_FOR)
    }
}

impl Names {
    /// Has what was said hold for as long as the upstream that these are about is the same process.
    pub(crate) fn follow(&self, facts: watch::Receiver<Arc<Facts>>) {
        self.facts.get_or_init(|| facts);
    }

    /// Has it go by what is known of the cluster, too.
    pub(crate) fn follow_map(&self, map: watch::Receiver<Arc<Map>>) {
        self.map.get_or_init(|| map);
    }

    /// Whether a request is one that all primaries of a cluster execute where it is part of a transaction.
    pub(crate) fn spreads_within(&self, request: &Request<'_>) -> bool {
        self.map.get().is_some_and(|map| map.borrow().spreads_within(request))
    }

    /// Looks into what the upstream that there is now has said, if it has said anything.
    fn look<T>(&self, look: impl FnOnce(&Learned) -> T) -> Option<T> {
        let learned = self.learned.read().unwrap_or_else(PoisonError::into_inner);
        let is_of = |facts: &watch::Receiver<Arc<Facts>>| facts.borrow().generation() == learned.generation;
        self.facts.get().is_none_or(is_of).then(|| look(&learned))
    }

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
            let class = self.look(|learned| match learned.by_name.get(name) {
                Some(Meaning::Plain) => PLAIN,
                Some(Meaning::Blocks) => Class::Exclusive(Reason::Blocking),
                Some(Meaning::Renamed(own)) => of_renamed(own, request, upstream, listed.denied),
                None if learned.is_in_vain(name) => PLAIN,
                None => Class::Unheard,
            });
            class.unwrap_or(Class::Unheard)
        })
    }

    /// The name that the request's command has where it is not renamed.
    pub(crate) fn own_name<'r>(&self, request: &Request<'r>) -> Cow<'r, [u8]> {
        let name = request.arg(0).unwrap_or_default();
        let own = |learned: &Learned| match with_upper(name, |name| learned.by_name.get(name)) {
            Some(Meaning::Renamed(own)) => Some(own.to_vec()),
            _ => None,
        };
        self.look(own).flatten().map_or(Cow::Borrowed(name), Cow::Owned)
    }

    /// Takes in what the upstream of this generation has said to `COMMAND INFO name`.
    ///
    /// # Errors
    /// It has said that it cannot say for now, in these words: what the command is, is not known.
    pub(crate) fn learn(&self, generation: u64, name: &[u8], answer: Vec<u8>) -> Result<(), String> {
        let answer = Value::decode(&Bytes::from(answer)).map(|(answer, _)| answer);
        let mut learned = self.learned.write().unwrap_or_else(PoisonError::into_inner);
        if learned.generation != generation || learned.by_name.len() >= NAMES_MAX {
            *learned = Learned { generation, ..Learned::default() };
        }
        match answer {
            Ok(Value::Error(words)) if is_for_now(&words) => return Err(words),
            Ok(Value::Array(commands)) => {
                let name = name.to_ascii_uppercase().into_boxed_slice();
                if let Some(meaning) = commands.first().and_then(|command| read(command, &name)) {
                    learned.by_name.insert(name, meaning);
                } else {
                    if learned.unknown.len() >= UNKNOWN_MAX {
                        learned.unknown.clear();
                    }
                    learned.unknown.insert(name, Instant::now());
                }
            }
            Ok(_) | Err(_) => learned.refused = Some(Instant::now()),
        }
        Ok(())
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
            assert_eq!(names.learn(1, name.as_bytes(), answer(own, flags)), Ok(()));
            assert_eq!(class(&names, &format!("{name} {arguments}")), expected, "{name}");
        }
        assert_eq!(names.learn(2, b"none", b"*1\r\n*-1\r\n".to_vec()), Ok(()));
        assert_eq!((class(&names, "none"), class(&names, "mod.set")), (PLAIN, Class::Unheard));
        let long_ago = Instant::now().checked_sub(UNKNOWN_FOR).expect("a machine that is up for so long");
        names.learned.write().expect("sound").unknown.values_mut().for_each(|since| *since = long_ago);
        assert_eq!(class(&names, "none"), Class::Unheard);
    }

    const BLOCKING: Class = Class::Exclusive(Reason::Blocking);

    #[test]
    fn who_does_not_say_is_not_asked_again_for_a_while() {
        let names = Names::default();
        assert_eq!(names.learn(1, b"none", b"-BUSY now\r\n".to_vec()), Err("BUSY now".to_owned()));
        assert_eq!(class(&names, "none"), Class::Unheard);
        assert_eq!(names.learn(1, b"none", b"-NOPERM no\r\n".to_vec()), Ok(()));
        assert_eq!(class(&names, "none"), PLAIN);
        assert_eq!(class(&names, "xx"), PLAIN);
        names.learned.write().expect("sound").refused = Instant::now().checked_sub(REFUSES_FOR);
        assert_eq!(class(&names, "xx"), Class::Unheard);
    }

    #[test]
    fn names_are_bounded() {
        let names = Names::default();
        for number in 0..=NAMES_MAX {
            let name = format!("mod.{number}");
            assert_eq!(names.learn(1, name.as_bytes(), answer(&name, &[])), Ok(()));
        }
        for number in 0..=UNKNOWN_MAX {
            assert_eq!(names.learn(1, format!("none.{number}").as_bytes(), b"*1\r\n*-1\r\n".to_vec()), Ok(()));
        }
        let learned = names.learned.read().expect("sound");
        assert!(learned.by_name.len() <= NAMES_MAX && learned.unknown.len() <= UNKNOWN_MAX);
    }
}
