//! What is in a directory of pools, and which of them has to make room for another. Owned by `pools`, under its lock.

use std::collections::HashMap;

use tokio::time::Instant;

use crate::{
    pool::{
        control::Status,
        key::{Key, Login},
        pool::Pool,
        pools::NoPool,
    },
    stats::totals::Totals,
};

/// Pools with one user's name. Each of its passwords has one of its own, and where any will do there are many.
const USER_POOLS_MAX: usize = 8;

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Members {
    /// Of the configured upstream; `None` once the directory is closed.
    pub(super) first: Option<Pool>,
    pub(super) others: HashMap<Key, Member>,
    /// Closed, and not over yet.
    pub(super) ending: Vec<Pool>,
    /// What those have counted that are over.
    pub(super) past: Option<(Totals, Status)>,
    /// Pools that were started.
    pub(super) started: u64,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) pool: Pool,
    /// Counted from 1, in the order in which they started.
    pub(super) number: u64,
    pub(super) unused_since: Option<Instant>,
    /// When the upstream has last let its login in.
    pub(super) proven: Option<Instant>,
}

impl Member {
    pub(super) fn look(&mut self, now: Instant) {
        self.unused_since = if self.pool.is_used() { None } else { Some(self.unused_since.unwrap_or(now)) };
    }
}

impl Members {
    /// Has room for one more, with the first one, below `max`, and for this one among those of its user.
    pub(super) fn make_room(&mut self, key: &Key, max: usize) -> Result<(), NoPool> {
        self.bury();
        // They are soon over. Whoever comes and goes quickly does not have them pile up.
        if self.ending.len() >= max {
            return Err(NoPool::Full(max));
        }
        let is_of_user =
            |other: &Key| matches!(other.login, Login::User { .. }) && other.login.name() == key.login.name();
        let of_user = self.others.keys().filter(|other| is_of_user(other)).count();
        if matches!(key.login, Login::User { .. }) && of_user >= USER_POOLS_MAX {
            return self.end_unused(is_of_user, NoPool::UserFull(USER_POOLS_MAX));
        }
        if self.others.len() + 1 < max { Ok(()) } else { self.end_unused(|_| true, NoPool::Full(max)) }
    }

    /// Ends what has been unused for longest of those that count; an error if all of them are used.
    fn end_unused(&mut self, counts: impl Fn(&Key) -> bool, full: NoPool) -> Result<(), NoPool> {
        let now = Instant::now();
        self.others.values_mut().for_each(|member| member.look(now));
        let among = self.others.iter().filter(|(key, _)| counts(key));
        let unused = among.filter_map(|(key, member)| Some((member.unused_since?, member.number, key)));
        let longest = unused.min_by_key(|(since, number, _)| (*since, *number)).map(|(_, _, key)| key.clone());
        self.end(&longest.ok_or(full)?);
        Ok(())
    }

    pub(super) fn end(&mut self, key: &Key) {
        if let Some(member) = self.others.remove(key) {
            tracing::debug!(?key, "pool ends, nobody uses it");
            member.pool.close();
            self.ending.push(member.pool);
        }
    }

    /// Remembers what those have counted that are over, and forgets them.
    pub(super) fn bury(&mut self) {
        let over: Vec<Pool>;
        (over, self.ending) = std::mem::take(&mut self.ending).into_iter().partition(Pool::is_over);
        for pool in over {
            let control = pool.control();
            let (totals, status) = (control.totals(), control.status());
            self.past = Some(match self.past.take() {
                None => (totals, status.counts()),
                Some((past, mut counts)) => {
                    counts.add(&status.counts());
                    (Totals::sum([past, totals].into_iter()), counts)
                }
            });
        }
    }
}
