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
    short_names::ShortNames,
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
    by_short_name: ShortNames,
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
        let whole = self.by_name.iter().filter(|(_, command)| !command.has_subcommands);
        self.by_short_name = ShortNames::new(whole.map(|(name, command)| (&**name, command)));
    }

    /// Names of all, in no order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.by_name.keys().map(AsRef::as_ref)
    }

    /// The command of a request.
    #[inline]
    pub fn find(&self, request: &Request<'_>) -> Option<&Arc<Command>> {
        let found = request.arg(0).and_then(|name| self.by_short_name.find(name));
        found.map(|found| self.by_short_name.command(found)).or_else(|| self.find_by_whole_name(request))
    }

    /// By what a request is routed, if it is of a command: one look for most.
    #[inline]
    pub fn told(&self, request: &Request<'_>) -> Option<Told<'_>> {
        if let Some(found) = request.arg(0).and_then(|name| self.by_short_name.find(name)) {
            let is_told = found.only_key > 0 && takes(found.arity.into(), request.len());
            let by = || Told::By(self.by_short_name.command(found));
            return Some(if is_told { Told::OnlyKey(found.only_key) } else { by() });
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
