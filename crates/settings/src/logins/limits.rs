//! What each user may do: a bound on its clients, one on its requests a second, and commands that it may not send.

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroU32,
};

use crate::meaning::upstream::reads::ReadSettings;

/// What one user may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Clients at the same time, if there is a bound.
    pub clients_max: Option<usize>,
    /// Requests a second to the upstream, of all its clients together, if there is a bound.
    pub requests_per_second: Option<NonZeroU32>,
    /// Where its reads go, if not all to the primary.
    pub reads: Option<ReadSettings>,
    /// `COMMAND` and `COMMAND|SUBCOMMAND`, in upper case; those that nobody may send are among them.
    pub denied: HashSet<Vec<u8>>,
}

/// The limits of all users. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Of users without a section, then those of the sections.
    all: Vec<UserLimits>,
    named: BTreeMap<String, usize>,
}

impl Limits {
    /// `others` are those of users that are not `named`.
    pub fn new(others: UserLimits, named: impl IntoIterator<Item = (String, UserLimits)>) -> Self {
        let mut limits = Self { all: vec![others], named: BTreeMap::new() };
        for (name, of_user) in named {
            limits.named.insert(name, limits.all.len());
            limits.all.push(of_user);
        }
        limits
    }

    /// Where the limits of `user` stand.
    pub fn place_of(&self, user: &str) -> usize {
        self.named.get(user).copied().unwrap_or_default()
    }

    /// The limits at a place; those of users without a section if there is none.
    pub fn at(&self, place: usize) -> &UserLimits {
        self.all.get(place).unwrap_or(&self.all[0])
    }

    /// The limits of `user`.
    pub fn of(&self, user: &str) -> &UserLimits {
        self.at(self.place_of(user))
    }

    /// Whether `user` has limits of its own.
    pub fn name(&self, user: &str) -> bool {
        self.named.contains_key(user)
    }

    /// Users with limits of their own.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_its_own_limits_or_those_of_all_others() {
        let of = |clients_max| UserLimits { clients_max: Some(clients_max), ..UserLimits::default() };
        let limits = Limits::new(of(1), [("a".to_owned(), of(2)), ("b".to_owned(), of(3))]);
        let found: Vec<_> = ["a", "b", "c", ""].map(|user| limits.of(user).clients_max).into();
        assert_eq!(found, [Some(2), Some(3), Some(1), Some(1)]);
        assert_eq!(limits.at(99), limits.of("c"));
        assert_eq!(limits.names().collect::<Vec<_>>(), ["a", "b"]);
        assert!(limits.name("a") && !limits.name("c"));
    }
}
