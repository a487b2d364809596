//! Commands by names of at most 8 bytes, which most have, each of which is one number. What most requests are routed by is
//! in the table beside the name, so that one look is enough for them.

use std::sync::Arc;

use crate::command::Command;

/// There are at least so many places for each name, so that most names stand at their own.
const PLACES: usize = 4;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ShortNames {
    /// As many as a power of two, or none. A name whose place another has stands at the next that is free.
    rows: Box<[Row]>,
    commands: Vec<Arc<Command>>,
}

/// A name, and what most of its requests are routed by, so that the command need not be looked at itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Row {
    /// 0 where there is none.
    name: u64,
    /// The place of its command.
    command: u16,
    /// As many arguments, or at least so many where it is negative.
    pub(crate) arity: i16,
    /// Where the only key of all its requests stands, whose shard they go to and at which alone they look; 0 if that is
    /// not so.
    pub(crate) only_key: u8,
}

impl ShortNames {
    /// Of those among these names that are short.
    pub(crate) fn new<'c>(named: impl Iterator<Item = (&'c [u8], &'c Arc<Command>)>) -> Self {
        let mut named: Vec<(u64, &Arc<Command>)> =
            named.filter_map(|(name, command)| Some((short(name)?, command))).take(u16::MAX.into()).collect();
        // In whatever order they come, they are the same.
        named.sort_unstable_by_key(|(name, _)| *name);
        let mut rows = vec![Row::default(); (named.len() * PLACES).next_power_of_two()].into_boxed_slice();
        for (place, (name, command)) in (0_u16..).zip(&named) {
            let known = command.only_key().zip(i16::try_from(command.arity).ok());
            let (only_key, arity) = known.unwrap_or_default();
            let mut at = home(*name, rows.len());
            while rows[at].name != 0 {
                at = (at + 1) % rows.len();
            }
            rows[at] = Row { name: *name, command: place, arity, only_key };
        }
        Self { rows, commands: named.into_iter().map(|(_, command)| Arc::clone(command)).collect() }
    }

    /// A name in upper or lower case, if it is one of these.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<&Row> {
        let name = short(name)?;
        let mut at = home(name, self.rows.len());
        loop {
            let row = self.rows.get(at)?;
            if row.name == name {
                return Some(row);
            }
            if row.name == 0 {
                return None;
            }
            at = (at + 1) & (self.rows.len() - 1);
        }
    }

    /// The command of a name that was found.
    #[inline]
    pub(crate) fn command(&self, found: &Row) -> &Arc<Command> {
        &self.commands[usize::from(found.command)]
    }
}

/// The place of a name among so many.
#[inline]
fn home(name: u64, places: usize) -> usize {
    // All bits of the name have a part in the upper ones.
    let mixed = name.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    mixed as usize & places.wrapping_sub(1)
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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
