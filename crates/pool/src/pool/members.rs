//! What is in a directory of pools, and which of them has to make room for another. Owned by `pools`, under its lock.

use std::{collections::HashMap, sync::Arc};

use tokio::time::Instant;

use crate::{
    bounds::budget::Budget,
    pool::{
        control::{Control, Status},
        key::{At, Key},
        pool::Pool,
        pools::NoPool,
    },
    settings::login::Login,
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
    pub(super) ending: Vec<(Key, Pool)>,
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

    /// Whether its node is to have no requests for now: whoever uses it waits to be sent elsewhere.
    fn is_held(&self) -> bool {
        self.pool.control().settings().endpoint.held.is_some()
    }
}

impl Members {
    /// The pool with the gateway's own login at this place, if it is not the first one.
    pub(super) fn own_at(&self, at: &At) -> Option<Control> {
        let own = Key { at: at.clone(), login: Login::Configured };
        self.others.get(&own).map(|member| member.pool.control())
    }

    /// What the pools of a further login have of the room for requests.
    pub(super) fn queued_by(&self, login: &Login) -> Option<Arc<Budget>> {
        let of_login = self.others.iter().find(|(other, _)| other.login == *login)?;
        of_login.1.pool.queued_by_login()
    }

    /// Has room for one more among those of its kind, of which there may be so many: own ones, the first one included, or
    /// those of logins at the upstream, or as many at further nodes; and for this one among those of its user.
    pub(super) fn make_room(&mut self, key: &Key, (own_max, logins_max): (usize, usize)) -> Result<(), NoPool> {
        self.bury();
        let (max, first) = if key.is_of_guest() { (logins_max, 0) } else { (own_max, 1) };
        let counts = |other: &Key| {
            let is_alike = other.is_of_guest() == key.is_of_guest();
            is_alike && (!key.is_of_guest() || other.follows() == key.follows())
        };
        // They are soon over. Whoever comes and goes quickly does not have them pile up.
        if self.ending.iter().filter(|(other, _)| counts(other)).count() >= max {
            return Err(NoPool::Full(max));
        }
        let is_of_user = |other: &Key| {
            matches!(other.login, Login::User { .. }) && counts(other) && other.login.name() == key.login.name()
        };
        let of_user = self.others.keys().filter(|other| is_of_user(other)).count();
        if matches!(key.login, Login::User { .. }) && key.follows() && of_user >= USER_POOLS_MAX {
            return self.end_unused(is_of_user, NoPool::UserFull(USER_POOLS_MAX));
        }
        let counted = || self.others.iter().filter(|(other, _)| counts(other));
        let number = counted().count() + first;
        if number < max {
            return Ok(());
        }
        let held = counted().filter(|(_, member)| member.is_held()).count();
        // Who uses one of a node that has been replaced does so until there is one of the node that has its place: the
        // former does not keep it. So there may be twice as many for a moment.
        let is_replaced = !key.is_of_guest() && number - held < max && number < 2 * max;
        self.end_unused(counts, NoPool::Full(max)).or_else(|full| if is_replaced { Ok(()) } else { Err(full) })
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
            self.ending.push((key.clone(), member.pool));
        }
    }

    /// Remembers what those have counted that are over, and forgets them.
    pub(super) fn bury(&mut self) {
        let over: Vec<(Key, Pool)>;
        (over, self.ending) = std::mem::take(&mut self.ending).into_iter().partition(|(_, pool)| pool.is_over());
        for (_, pool) in over {
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
