//! One command: where its keys stand, and how far it reaches.

use resp::Request;

use crate::{keys::Keys, merge::Merge, slot::slot};

/// How far a command reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The shard of its keys, which are in one slot; any shard if it has none.
    Keys,
    /// The shards of its keys, which may be in several slots: it is split.
    Split(Merge),
    /// All shards.
    Everywhere(Merge),
    /// All shards, one after another: `SCAN`.
    Scan,
    /// A shard that has keys: `RANDOMKEY`.
    RandomKey,
    /// None: it asks about the cluster, which clients are not to see.
    Nowhere,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy)]
pub enum Route<'c> {
    /// To the shard that has this slot: that of its first key. If others are in other slots, the node there says so.
    Slot(u16),
    /// To any shard: it has no key, or is none that can be executed.
    Anywhere,
    /// To the shards of its keys, as [`Plan`](crate::Plan) splits it.
    Split(&'c Command, Merge),
    /// To all shards.
    Everywhere(Merge),
    /// To the shard that its cursor tells.
    Scan,
    /// To a shard that has keys.
    RandomKey,
    /// To none: it asks about the cluster.
    Nowhere,
}

/// A command as its upstream describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// As many arguments, its name included; at least so many where it is negative.
    pub(crate) arity: i64,
    pub(crate) keys: Keys,
    pub(crate) reach: Reach,
    /// It changes nothing.
    pub(crate) only_reads: bool,
    /// It costs its node no time worth mentioning.
    pub(crate) is_fast: bool,
    /// It looks at nothing but the keys that stand at fixed places, and remembers nothing of a client.
    pub(crate) is_of_its_keys: bool,
    /// It is told apart by its second argument.
    pub(crate) has_subcommands: bool,
}

/// Whether an arity allows for so many arguments.
#[inline]
pub(crate) fn takes(arity: i64, count: usize) -> bool {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    if arity < 0 { count >= -arity } else { count == arity }
}

impl Command {
    /// How far it reaches.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Whether it changes nothing, so that it may be sent twice.
    pub fn only_reads(&self) -> bool {
        self.only_reads
    }

    /// Whether a replica may answer `request`, as far as its command tells: it reads one key, and says nothing that another
    /// node would have to understand.
    pub fn suits_replica(&self, request: &Request<'_>) -> bool {
        self.only_reads && self.is_of_its_keys && !self.has_several_keys(request)
    }

    /// Whether it looks at nothing but the keys that stand at fixed places, and remembers nothing of a client: no script does.
    pub fn is_of_its_keys(&self) -> bool {
        self.is_of_its_keys
    }

    /// Whether it costs its node no time worth mentioning.
    pub fn is_fast(&self) -> bool {
        self.is_fast
    }

    /// Where the keys of a request stand among its arguments, in the order in which Redis names them; none if its
    /// arguments do not fit the command.
    pub fn keys(&self, request: &Request<'_>) -> Vec<usize> {
        let mut found = Vec::new();
        let fits = self.keys.find(request, |at| {
            found.push(at);
            None::<()>
        });
        if fits.is_err() {
            found.clear();
        }
        found
    }

    /// Whether a request names different keys. Allocates nothing.
    #[inline]
    pub fn has_several_keys(&self, request: &Request<'_>) -> bool {
        if let Keys::One(_) = self.keys {
            return false;
        }
        let mut first = None;
        let other = self.keys.find(request, |at| {
            let key = request.arg(at)?;
            (*first.get_or_insert(key) != key).then_some(())
        });
        other.is_ok_and(|other| other.is_some())
    }

    /// Whether a request may have so many arguments, the name included.
    #[inline]
    pub fn takes(&self, count: usize) -> bool {
        takes(self.arity, count)
    }

    /// Where its only key stands in all requests that are told to be of this command by their name, if they go to the shard
    /// of that one and look at nothing else.
    pub(crate) fn only_key(&self) -> Option<u8> {
        match (self.reach, &self.keys) {
            (Reach::Keys, Keys::One(at)) if self.is_of_its_keys && !self.has_subcommands => u8::try_from(*at).ok(),
            _ => None,
        }
    }

    /// Where a request goes that is one of this command. Allocates nothing.
    pub fn route(&self, request: &Request<'_>) -> Route<'_> {
        if !self.takes(request.len()) {
            return Route::Anywhere;
        }
        let slot_at = |at: usize| request.arg(at).map(slot);
        match self.reach {
            Reach::Keys => match self.keys.find(request, slot_at) {
                Ok(Some(first)) => Route::Slot(first),
                Ok(None) | Err(_) => Route::Anywhere,
            },
            Reach::Split(merge) => {
                let mut first = None;
                let other = self.keys.find(request, |at| {
                    let slot = slot_at(at)?;
                    (*first.get_or_insert(slot) != slot).then_some(())
                });
                match (other, first) {
                    (Ok(Some(())), _) => Route::Split(self, merge),
                    (Ok(None), Some(slot)) => Route::Slot(slot),
                    (Ok(None), None) | (Err(_), _) => Route::Anywhere,
                }
            }
            Reach::Everywhere(merge) => Route::Everywhere(merge),
            Reach::Scan => Route::Scan,
            Reach::RandomKey => Route::RandomKey,
            Reach::Nowhere => Route::Nowhere,
        }
    }
}
