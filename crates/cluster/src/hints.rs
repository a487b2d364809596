//! Where scripts and functions without keys are to run: any node may execute them, and one of them is likely to have what they
//! use. Of each text that is found out once. Asked by `round`, and for clients that have connections of their own.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use resp::{Decoded, Request, RequestDecoder, RequestLimits};
use route::{Commands, HINT_BYTES_MAX, Route, slot_of_script, slots_of_library};

use crate::{
    cluster::Cluster,
    map::Map,
    scripts::{Scripts, digest_of},
    taught::loads_script,
};

/// Texts and digests of scripts of which it is remembered. Each takes some 30 bytes.
const SCRIPTS_MAX: usize = 4096;

/// Functions of which it is remembered, and bytes of the name of one.
const FUNCTIONS_MAX: usize = 2048;
const NAME_BYTES_MAX: usize = 64;

/// See the module's documentation. If there are too many, all are found out anew.
#[derive(Debug, Default)]
pub(crate) struct Hints(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    /// What has been found with these.
    commands: Arc<Commands>,
    /// The slots of scripts, by a hash of their texts or digests.
    scripts: HashMap<u64, Option<u16>>,
    /// The slots of functions that nodes have, by name.
    functions: HashMap<Box<[u8]>, u16>,
    /// With a secret, so that nobody can make two texts that are taken for one.
    hasher: RandomState,
}

impl Hints {
    /// The slot of what `request`, which names no keys, is likely to use, if that is a script or a function and a node has it.
    pub(crate) fn of(request: &Request<'_>, map: &Map, scripts: &Scripts) -> Option<u16> {
        let name = request.arg(0).filter(|_| !map.is_one_shard())?;
        let is = |names: [&str; 2]| names.iter().any(|other| name.eq_ignore_ascii_case(other.as_bytes()));
        let hints = scripts.hints();
        let slot = if is(["EVAL", "EVAL_RO"]) {
            hints.text(request.arg(1)?, &map.commands)?
        } else if is(["EVALSHA", "EVALSHA_RO"]) {
            let digest = request.arg(1)?;
            let found = || Some(slot_of_script(&scripts.text(digest)?, &map.commands));
            hints.script(&digest.to_ascii_lowercase(), &map.commands, found)?
        } else if is(["FCALL", "FCALL_RO"]) {
            *hints.found().functions.get(request.arg(1)?)?
        } else {
            return None;
        };
        map.node_of(slot).map(|_| slot)
    }

    /// The same of the first of these requests that has one.
    pub(crate) fn of_requests(requests: &[u8], map: &Map, scripts: &Scripts) -> Option<u16> {
        let (mut decoder, mut at) = (RequestDecoder::new(RequestLimits::accepted()), 0);
        while let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..]) {
            let request = decoder.request(&requests[at..]);
            if let Some(slot) = Self::of(&request, map, scripts) {
                return Some(slot);
            }
            at += len;
        }
        None
    }

    /// Takes note of the script that `request` loads, if it loads one: its digest may follow before that is executed.
    pub(crate) fn foresee(request: &Request<'_>, map: &Map, scripts: &Scripts) {
        if loads_script(request)
            && !map.is_one_shard()
            && let Some(text) = request.arg(2)
        {
            scripts.hints().text(text, &map.commands);
        }
    }

    /// The slot of the script with this text. It is known by its digest from now on, too, even if the text is never kept.
    fn text(&self, text: &[u8], commands: &Arc<Commands>) -> Option<u16> {
        let mut is_new = false;
        let found = || {
            is_new = true;
            Some(slot_of_script(text, commands))
        };
        let slot = self.script(text, commands, found);
        if is_new && text.len() <= HINT_BYTES_MAX {
            self.script(&digest_of(text), commands, || Some(slot));
        }
        slot
    }

    /// The slot of the script with this text or digest, which is to be `found` if nobody has asked for it yet.
    fn script(
        &self,
        name: &[u8],
        commands: &Arc<Commands>,
        found: impl FnOnce() -> Option<Option<u16>>,
    ) -> Option<u16> {
        let hash = {
            let mut known = self.found();
            if !Arc::ptr_eq(&known.commands, commands) {
                known.scripts.clear();
                known.commands = Arc::clone(commands);
            }
            let hash = known.hasher.hash_one(name);
            if let Some(slot) = known.scripts.get(&hash) {
                return *slot;
            }
            hash
        };
        // Nobody else waits for that.
        let slot = found()?;
        let mut known = self.found();
        if known.scripts.len() >= SCRIPTS_MAX {
            known.scripts.clear();
        }
        known.scripts.insert(hash, slot);
        slot
    }

    /// Nodes have taken in the library with this text, or the beginning of one.
    pub(crate) fn learn(&self, library: &[u8], commands: &Commands) {
        let functions = slots_of_library(library, commands);
        let known = &mut self.found().functions;
        for (name, slot) in functions {
            match slot.filter(|_| name.len() <= NAME_BYTES_MAX) {
                Some(slot) => {
                    if known.len() >= FUNCTIONS_MAX {
                        known.clear();
                    }
                    known.insert(name.into(), slot);
                }
                // It is another one than before.
                None => drop(known.remove(&name[..])),
            }
        }
    }

    /// Nodes have other functions now, or none.
    pub(crate) fn forget_functions(&self) {
        self.found().functions.clear();
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is read of a library.
pub(crate) fn beginning(library: &[u8]) -> &[u8] {
    &library[..library.len().min(HINT_BYTES_MAX)]
}

impl Cluster {
    /// The slot of what the first of these requests is likely to use, if it names no keys.
    pub fn hint(&self, requests: &[u8]) -> Option<u16> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return None };
        let (request, map) = (decoder.request(requests), self.map());
        match map.commands.route(&request) {
            Route::Anywhere => Hints::of(&request, &map, self.scripts()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use resp::Value;

    use super::*;

    fn commands() -> Arc<Commands> {
        let told = "*1\r\n*6\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n";
        Arc::new(Commands::read(&Value::decode(&told.into()).expect("a reply").0).expect("commands"))
    }

    #[test]
    fn a_text_is_read_once_while_commands_are_the_same() {
        let (hints, commands, mut read) = (Hints::default(), commands(), 0);
        let mut ask = |name: &[u8], commands: &Arc<Commands>, slot| {
            let found = || {
                read += 1;
                slot
            };
            (hints.script(name, commands, found), read)
        };
        assert_eq!(ask(b"one", &commands, Some(Some(7))), (Some(7), 1));
        assert_eq!(ask(b"one", &commands, Some(Some(8))), (Some(7), 1));
        assert_eq!(ask(b"none", &commands, Some(None)), (None, 2));
        assert_eq!(ask(b"none", &commands, Some(Some(8))), (None, 2));
        // A digest whose text is not kept may be another time.
        assert_eq!(ask(b"unknown", &commands, None), (None, 3));
        assert_eq!(ask(b"unknown", &commands, Some(Some(9))), (Some(9), 4));
        assert_eq!(ask(b"one", &Arc::default(), Some(None)), (None, 5));
    }

    #[test]
    fn a_digest_is_known_once_its_text_has_been_read() {
        let (hints, commands) = (Hints::default(), commands());
        let ask = |digest: &[u8]| hints.script(digest, &commands, || None);
        let text = b"return redis.call('get', 'x')";
        assert_eq!(ask(&digest_of(text)), None);
        assert_eq!(hints.text(text, &commands), Some(route::slot(b"x")));
        assert_eq!(ask(&digest_of(text)), Some(route::slot(b"x")));
        // Of a large one that would take long.
        let large = [&text[..], &b" ".repeat(HINT_BYTES_MAX)].concat();
        assert_eq!((hints.text(&large, &commands), ask(&digest_of(&large))), (Some(route::slot(b"x")), None));
    }

    #[test]
    fn no_more_is_remembered_than_may_be() {
        let (hints, commands) = (Hints::default(), commands());
        for number in 0..=SCRIPTS_MAX {
            hints.script(&number.to_le_bytes(), &commands, || Some(None));
        }
        assert_eq!(hints.found().scripts.len(), 1);
        let function =
            |name: &str| format!("redis.register_function('{name}', function() redis.call('get', 'x') end)\n");
        for from in [0, FUNCTIONS_MAX / 2, FUNCTIONS_MAX] {
            let library: String =
                (from..from + FUNCTIONS_MAX / 2).map(|number| function(&number.to_string())).collect();
            hints.learn(library.as_bytes(), &commands);
        }
        let known = hints.found().functions.len();
        assert!((1..=FUNCTIONS_MAX).contains(&known), "{known}");
        hints.learn(function(&"f".repeat(NAME_BYTES_MAX + 1)).as_bytes(), &commands);
        assert_eq!(hints.found().functions.len(), known);
    }

    #[test]
    fn a_function_is_what_was_loaded_last() {
        let (hints, commands) = (Hints::default(), commands());
        let slot = |name: &[u8]| hints.found().functions.get(name).copied();
        hints.learn(b"redis.register_function('f', function() redis.call('get', 'x') end)", &commands);
        assert_eq!(slot(b"f"), Some(route::slot(b"x")));
        hints.learn(b"redis.register_function('f', function(keys) redis.call('get', keys[1]) end)", &commands);
        assert_eq!(slot(b"f"), None);
        hints.learn(b"redis.register_function('f', function() redis.call('get', 'x') end)", &commands);
        hints.forget_functions();
        assert_eq!(slot(b"f"), None);
    }
}
