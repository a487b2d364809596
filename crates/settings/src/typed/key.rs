//! What is known of a key of the configuration file beside its value. The list of all keys is made from the
//! sections, so that errors, the console and the shipped file never differ from them.

use crate::{Config, typed::kind::Kind};

/// A key of the configuration file.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Without its section.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The lines of its documentation, each with the space before it.
    pub docs: &'static [&'static str],
    /// A change counts at the next start only.
    pub at_start: bool,
}

/// When a change of a key counts, as a section says it after a key's default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// A reload puts it in force.
    AtOnce,
    /// It needs a restart.
    AtStart,
}

impl Key {
    /// Every key with its dotted name, sections left out, in the order of the file.
    pub fn all() -> Vec<(String, Self)> {
        let mut found = Vec::new();
        gather("", Config::KEYS, &mut found);
        found
    }

    /// The key of a dotted name.
    pub fn named(path: &str) -> Option<Self> {
        let mut keys = Config::KEYS;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let key = keys.iter().find(|key| key.name == part)?;
            match key.kind {
                Kind::Section(inner) if parts.peek().is_some() => keys = inner,
                _ if parts.peek().is_some() => return None,
                _ => return Some(*key),
            }
        }
        None
    }
}

fn gather(before: &str, keys: &[Key], found: &mut Vec<(String, Key)>) {
    for key in keys {
        let path = format!("{before}{}", key.name);
        match key.kind {
            Kind::Section(inner) => gather(&format!("{path}."), inner, found),
            _ => found.push((path, *key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_their_dotted_names() {
        assert!(Key::named("pool.workers").is_some_and(|key| !key.at_start));
        assert!(Key::named("pool.queue_capacity").is_some_and(|key| key.at_start));
        assert!(matches!(Key::named("pool").map(|key| key.kind), Some(Kind::Section(_))));
        for unknown in ["", "nosuch", "pool.nosuch", "pool.workers.x", "pool.", ".pool"] {
            assert!(Key::named(unknown).is_none(), "{unknown}");
        }
        for (path, _) in Key::all() {
            assert!(Key::named(&path).is_some(), "{path}");
        }
    }

    #[test]
    fn a_key_that_needs_a_restart_says_so() {
        for (path, key) in Key::all() {
            let says = key.docs.concat().contains("Needs a restart");
            assert_eq!(says, key.at_start, "{path}");
        }
    }
}
