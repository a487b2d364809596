//! All commands, as a node describes them when it is asked `COMMAND`.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use resp::{Request, Value};
use thiserror::Error;

use crate::{
    command::{Command, Reach, Route, takes},
    exceptions,
    keys::{Begin, Find, Keys, Spec},
    merge::Merge,
};

/// The longest name, a subcommand's included. Names that are longer belong to no command.
const NAME_MAX: usize = 64;

/// The answer to `COMMAND` is none that Redis gives.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandsError {
    /// An error reply; holds its text.
    #[error("COMMAND was refused: {0}")]
    Refused(String),
    /// Anything else.
    #[error("the answer to COMMAND is not one of Redis")]
    Malformed,
}

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commands {
    /// By name in lower case, with `|` before that of a subcommand.
    by_name: ByName,
    /// The same by short names, for those that have no subcommands: what most requests are found by.
    by_short_name: HashMap<u64, Short, BuildHasherDefault<OfNumber>>,
}

/// A command, and what most of its requests are routed by, so that it need not be looked at itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Short {
    command: Arc<Command>,
    /// As many arguments, or at least so many where it is negative.
    arity: i16,
    /// Where the only key of all its requests stands, whose shard they go to and at which alone they look; 0 if that is
    /// not so.
    only_key: u8,
}

impl Short {
    fn new(command: &Arc<Command>) -> Self {
        let known = command.only_key().zip(i16::try_from(command.arity).ok());
        let (only_key, arity) = known.unwrap_or_default();
        Self { command: Arc::clone(command), arity, only_key }
    }
}

/// By what a request is routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told<'c> {
    /// It goes to the shard of its only key, which stands there, and looks at nothing else.
    OnlyKey(u8),
    /// Its command has to tell.
    By(&'c Command),
}

/// Names are the upstream's: no client can choose some that collide.
pub(crate) type ByName = HashMap<Box<[u8]>, Arc<Command>, BuildHasherDefault<Fnv>>;

/// FNV-1a, which costs less than others for names as short as those of commands.
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Lengths, which names tell anyway.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Of a name that is one number.
#[derive(Default)]
struct OfNumber(u64);

impl Hasher for OfNumber {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 << 8 | u64::from(*byte)));
    }

    fn write_u64(&mut self, name: u64) {
        // All bits of the name have a part in the upper ones, and those in the lower ones.
        let mixed = name.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A name of 8 bytes at most in lower case as a number. No two have the same.
#[inline]
fn short(name: &[u8]) -> Option<u64> {
    const EACH: u64 = u64::MAX / 0xff;
    if name.len() > 8 || matches!(name, [] | [0, ..]) {
        return None;
    }
    let number = name.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
    // Of each byte the highest bit: whether it is one of `A` to `Z`.
    let low = number & (EACH * 0x7f);
    let (from_a, behind_z) = (low + EACH * u64::from(0x80 - b'A'), low + EACH * u64::from(0x7f - b'Z'));
    let upper = (from_a ^ behind_z) & !number & (EACH * 0x80);
    Some(number | (upper >> 2))
}

impl Commands {
    /// Reads the reply to `COMMAND`.
    ///
    /// # Errors
    /// It is an error reply, or nothing that Redis answers.
    pub fn read(reply: &Value) -> Result<Self, CommandsError> {
        let items = match reply {
            Value::Error(refused) => return Err(CommandsError::Refused(refused.clone())),
            Value::Array(items) | Value::Set(items) => items,
            _ => return Err(CommandsError::Malformed),
        };
        let mut commands = Self::default();
        for item in items {
            commands.add(item).ok_or(CommandsError::Malformed)?;
        }
        exceptions::complete(&mut commands.by_name);
        commands.note_short_names();
        Ok(commands)
    }

    /// Takes in what another node, or the same one later, says; whether that is news. What only one of them knows stays
    /// known: nodes of two versions are asked in turns.
    pub fn join(&mut self, newer: Self) -> bool {
        let mut is_news = false;
        for (name, command) in newer.by_name {
            is_news |= self.by_name.get(&name) != Some(&command);
            self.by_name.insert(name, command);
        }
        self.note_short_names();
        is_news
    }

    fn note_short_names(&mut self) {
        let is_whole = |command: &&Arc<Command>| !command.has_subcommands;
        let named = self.by_name.iter().filter_map(|(name, command)| {
            short(name).zip(Some(command).filter(is_whole)).map(|(name, command)| (name, Short::new(command)))
        });
        self.by_short_name = named.collect();
    }

    /// Names of all, in no order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.by_name.keys().map(AsRef::as_ref)
    }

    /// The command of a request.
    #[inline]
    pub fn find(&self, request: &Request<'_>) -> Option<&Arc<Command>> {
        let found = request.arg(0).and_then(short).and_then(|name| self.by_short_name.get(&name));
        found.map(|found| &found.command).or_else(|| self.find_by_whole_name(request))
    }

    /// By what a request is routed, if it is of a command: one look for most.
    #[inline]
    pub fn told(&self, request: &Request<'_>) -> Option<Told<'_>> {
        if let Some(found) = request.arg(0).and_then(short).and_then(|name| self.by_short_name.get(&name)) {
            let is_told = found.only_key > 0 && takes(found.arity.into(), request.len());
            return Some(if is_told { Told::OnlyKey(found.only_key) } else { Told::By(&found.command) });
        }
        let command = self.find_by_whole_name(request)?;
        let only = command.only_key().filter(|_| command.takes(request.len()));
        Some(only.map_or(Told::By(command), Told::OnlyKey))
    }

    fn find_by_whole_name(&self, request: &Request<'_>) -> Option<&Arc<Command>> {
        let mut name = [0; NAME_MAX];
        let first = request.arg(0)?;
        let length = first.len();
        name.get_mut(..length)?.copy_from_slice(first);
        name[..length].make_ascii_lowercase();
        let command = self.by_name.get(&name[..length])?;
        let Some(second) = request.arg(1).filter(|_| command.has_subcommands) else { return Some(command) };
        let whole = length + 1 + second.len();
        let Some(rest) = name.get_mut(length..whole) else { return Some(command) };
        rest[0] = b'|';
        rest[1..].copy_from_slice(second);
        rest[1..].make_ascii_lowercase();
        Some(self.by_name.get(&name[..whole]).unwrap_or(command))
    }

    /// Where a request goes. Allocates nothing.
    pub fn route(&self, request: &Request<'_>) -> Route<'_> {
        self.find(request).map_or(Route::Anywhere, |command| command.route(request))
    }

    fn add(&mut self, item: &Value) -> Option<()> {
        let Value::Array(parts) = item else { return None };
        let name = parts.first()?.as_bytes()?.to_ascii_lowercase();
        let arity = parts.get(1)?.as_integer()?;
        let subcommands = parts.get(9).map_or(&[][..], items);
        subcommands.iter().try_for_each(|subcommand| self.add(subcommand))?;
        let (specs, whole) = match parts.get(8).map_or(&[][..], items) {
            [] => (legacy(parts)?, true),
            specs => {
                let read: Vec<Option<Spec>> = specs.iter().map(spec).collect();
                let whole = read.iter().all(Option::is_some);
                (read.into_iter().flatten().collect(), whole)
            }
        };
        let tips: Vec<&[u8]> = parts.get(7).map_or(&[][..], items).iter().filter_map(Value::as_bytes).collect();
        let keys = exceptions::keys(&name, whole).unwrap_or_else(|| Keys::of(specs.into()));
        let reach = exceptions::reach(&name).unwrap_or_else(|| reach(&tips, &keys));
        let has = |flag: &[u8]| parts.get(2).map_or(&[][..], items).iter().any(|has| has.as_bytes() == Some(flag));
        let (only_reads, is_fast) = (has(b"readonly"), has(b"fast"));
        // The cursor of one node means nothing to another.
        let is_of_its_keys = !has(b"movablekeys") && !name.ends_with(b"scan");
        let has_subcommands = !subcommands.is_empty();
        let command = Command { arity, keys, reach, only_reads, is_fast, is_of_its_keys, has_subcommands };
        self.by_name.insert(name.into(), Arc::new(command));
        Some(())
    }
}

fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) | Value::Set(items) => items,
        _ => &[],
    }
}

fn count(value: &Value) -> Option<usize> {
    value.as_integer()?.try_into().ok()
}

/// The first key, the last one and the step between them: all that there was before Redis 7.
fn legacy(parts: &[Value]) -> Option<Vec<Spec>> {
    let (first, last, step) = (count(parts.get(3)?)?, parts.get(4)?.as_integer()?, parts.get(5)?.as_integer()?);
    if first == 0 {
        return Some(Vec::new());
    }
    let last = if last < 0 { last } else { last - i64::try_from(first).ok()? };
    let step = usize::try_from(step).unwrap_or(1).max(1);
    Some(vec![Spec { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 } }])
}

/// `None` for one that does not say where the keys are, or not where all of them are.
fn spec(value: &Value) -> Option<Spec> {
    let flags = value.field("flags").map_or(&[][..], items);
    if flags.iter().any(|flag| flag.as_bytes() == Some(b"incomplete")) {
        return None;
    }
    let (begin, find) = (value.field("begin_search")?, value.field("find_keys")?);
    let kind = |part: &Value| Some((part.field("type")?.as_bytes()?.to_vec(), part.field("spec")?.clone()));
    let ((begin, at), (find, how)) = (kind(begin)?, kind(find)?);
    let begin = match &begin[..] {
        b"index" => Begin::Index(count(at.field("index")?)?),
        b"keyword" => Begin::Keyword(at.field("keyword")?.as_bytes()?.into(), at.field("startfrom")?.as_integer()?),
        _ => return None,
    };
    let find = match &find[..] {
        b"range" => Find::Range {
            last: how.field("lastkey")?.as_integer()?,
            step: count(how.field("keystep")?)?,
            limit: count(how.field("limit")?)?,
        },
        b"keynum" => Find::Count {
            at: count(how.field("keynumidx")?)?,
            first: count(how.field("firstkey")?)?,
            step: count(how.field("keystep")?)?,
        },
        _ => return None,
    };
    Some(Spec { begin, find })
}

/// By the tips. What is split must have its keys in one row, so that each part is a whole request, and a reply whose
/// parts can be told apart.
fn reach(tips: &[&[u8]], keys: &Keys) -> Reach {
    let said = |what: &[u8]| tips.iter().find_map(|tip| tip.strip_prefix(what));
    let merge = said(b"response_policy:").map_or(Some(None), |policy| Merge::of(policy).map(Some));
    match (said(b"request_policy:"), merge) {
        (Some(b"all_shards" | b"all_nodes"), Some(merge)) => Reach::Everywhere(merge.unwrap_or(Merge::Concat)),
        (Some(b"multi_shard"), Some(merge)) => {
            let in_a_row = matches!(keys, Keys::Specs(specs) if matches!(&specs[..],
                [Spec { begin: Begin::Index(_), find: Find::Range { limit: 0, .. } }]));
            let merge = merge.unwrap_or(Merge::ByKey);
            // With any other policy the parts would not add up to what was asked: MSETNX sets all keys or none.
            let adds_up = matches!(merge, Merge::ByKey | Merge::Sum | Merge::AllSucceeded);
            if in_a_row && adds_up { Reach::Split(merge) } else { Reach::Keys }
        }
        _ => Reach::Keys,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_told_apart_by_their_letters_whatever_their_case() {
        let mut seen = HashMap::new();
        for byte in u8::MIN..=u8::MAX {
            for name in [&[byte][..], &[b'g', byte], &[byte, b'T'], &[b'Z', b'@', b'[', byte, b'a', b'`', b'{', 0xff]] {
                let number = short(name);
                assert_eq!(number, short(&name.to_ascii_lowercase()), "{name:?}");
                assert_eq!(number.is_none(), name[0] == 0, "{name:?}: it would be taken for what follows the zero");
                let other = number.and_then(|number| seen.insert(number, name.to_ascii_lowercase()));
                assert!(other.is_none_or(|other| other == name.to_ascii_lowercase()), "{name:?}");
            }
        }
        assert_eq!((short(b""), short(b"expireats")), (None, None));
    }
}
