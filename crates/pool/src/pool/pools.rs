//! The directory of pools: one for each node and login that something needs. The first is that of the configured
//! upstream, which is there from the start to the end. Further ones are started by [`Pools::find`] and ended once
//! nobody has used them for `pools_idle`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};

use crate::{
    caller::caller::Caller,
    pool::{
        access::Access,
        control::{Control, Left, Status},
        key::{At, Key},
        members::{Member, Members},
        pool::{Drained, Pool},
    },
    settings::settings::Settings,
    shared::InCommon,
    stats::totals::Totals,
};

/// How often unused pools are looked for, unless `pools_idle` is shorter.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The shortest pause between two looks.
const LOOK_PAUSE_MIN: Duration = Duration::from_millis(10);

/// The pools of a gateway. Clones are cheap and equal.
///
/// # Who owns it, who waits
/// The directory owns the pools, and a task that looks for unused ones. Whoever holds an [`Access`], a [`Caller`] or a
/// lent connection uses a pool. Finding one takes a lock for a moment and starts its workers; the first job waits for a
/// connection as in any pool. With no further pool the task sleeps. No job looks anything up: a [`Caller`] knows its pool.
///
/// # What is of all, and what of each
/// Of all together: `queue_bytes_max`, `replies_bytes_max` and what is [counted](Pools::totals), also of pools that have
/// ended. Of each: the queue, `workers`, `pipeline_depth`, `exclusive_max`.
///
/// # How many there are
/// With the gateway's own login `pools_max` at most, beside those of nodes that are [held](Control::hold) and in use still.
/// Of further logins there are `logins_max`, each with a pool at the upstream as long as anybody uses it; and as many pools
/// that such logins have at further nodes, where nobody uses one but for a request: the one that has been unused for longest
/// makes room.
///
/// # What becomes of the others
/// - *cancel*: a caller that is dropped leaves its job behind, which is executed; the pool is ended when that is done.
/// - *reload* ([`reconfigure`](Pools::reconfigure)), [`pause`](Pools::pause), [`resume`](Pools::resume) and
///   [`reconnect`](Pools::reconnect) reach all pools, each with its own node and login.
/// - *failover* ([`go`](Pools::go), [`hold`](Pools::hold)) reaches those [at the upstream](crate::At::Upstream), with every
///   login. A pool at a [named node](crate::At::Node) stays there, and fails at once while that is down.
/// - *drain* ends all together within one time; none is found afterwards.
#[derive(Debug, Clone)]
pub struct Pools(Arc<Directory>);

/// Why there is no pool for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoPool {
    /// All that there may be are used.
    #[error("all {0} pools that there may be are used")]
    Full(usize),
    /// All that there may be of one user, one for each of its passwords, are used.
    #[error("all {0} pools of this user, one for each of its passwords, are used")]
    UserFull(usize),
    /// The directory is being drained.
    #[error("the pools are closed")]
    Closed,
}

/// A pool of a directory, to look at.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Which one.
    pub key: Key,
    /// To look at it. What is done by it reaches no other pool.
    pub control: Control,
}

#[derive(Debug)]
struct Directory {
    runtimes: Vec<Handle>,
    /// Where the tasks run that look after pools.
    home: Handle,
    in_common: InCommon,
    first: Control,
    members: Mutex<Members>,
    /// Rings when there is something to look after.
    started: Arc<Notify>,
    sweeper: JoinHandle<()>,
}

impl Pools {
    /// Starts the pool of the configured upstream, as [`Pool::start_on`], and looks after all others to come.
    ///
    /// # Panics
    /// As [`Pool::start_on`].
    pub fn start_on(runtimes: &[Handle], settings: Settings) -> Self {
        let (home, in_common, started) = (Handle::current(), InCommon::default(), Arc::<Notify>::default());
        let first = Pool::start_among(&home, runtimes, settings, in_common.clone());
        Self(Arc::new_cyclic(|directory: &Weak<Directory>| Directory {
            runtimes: runtimes.to_vec(),
            sweeper: home.spawn(sweep(Weak::clone(directory), Arc::clone(&started))),
            home,
            in_common,
            first: first.control(),
            members: Mutex::new(Members {
                first: Some(first),
                others: HashMap::new(),
                ending: Vec::new(),
                past: None,
                started: 0,
            }),
            started,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Members> {
        self.0.lock()
    }

    /// The pool of the configured upstream, to look at.
    pub fn first(&self) -> &Control {
        &self.0.first
    }

    /// A handle of that pool for one party that has at most one job at a time and runs on the runtime of this index;
    /// `None` once the directory is closed.
    ///
    /// # Panics
    /// If there is no runtime of this index.
    pub fn caller_on(&self, runtime: usize) -> Option<Caller> {
        self.lock().first.as_ref().map(|first| first.caller_on(runtime))
    }

    /// The way into the pool of this key, which is started if there is none. Where there are as many as there may be,
    /// the one that has been unused for longest makes room.
    ///
    /// # Errors
    /// See [`NoPool`].
    pub fn find(&self, key: &Key) -> Result<Access, NoPool> {
        let mut members = self.lock();
        let Some(first) = &members.first else { return Err(NoPool::Closed) };
        if *key == Key::default() {
            return Ok(first.access());
        }
        if let Some(member) = members.others.get_mut(key) {
            member.unused_since = None;
            return Ok(member.pool.access());
        }
        let settings = self.first().settings();
        members.make_room(key, (settings.pools_max, settings.logins_max))?;
        let pool = self.start(&members, key, &settings);
        let access = pool.access();
        members.started += 1;
        let member = Member { pool, number: members.started, unused_since: None, proven: None };
        members.others.insert(key.clone(), member);
        self.0.started.notify_one();
        Ok(access)
    }

    /// The way to where the pool of `key` leads, with the login of this caller: whatever comes by way of it is executed as
    /// the same user.
    ///
    /// # Errors
    /// See [`NoPool`].
    pub fn find_as(&self, caller: &Caller, key: &Key) -> Result<Access, NoPool> {
        self.find(&Key { at: key.at.clone(), login: caller.shared().login.clone() })
    }

    /// A pool for this key, which is to be one of the `members`.
    fn start(&self, members: &Members, key: &Key, settings: &Settings) -> Pool {
        let own = members.own_at(&key.at).unwrap_or_else(|| self.first().clone());
        let in_common = match key.is_of_guest() {
            true => self.0.in_common.of_login(key.login.clone(), own.shared(), members.queued_by(&key.login)),
            false => self.0.in_common.of_node(),
        };
        let pool = Pool::start_among(&self.0.home, &self.0.runtimes, key.settings(settings), in_common);
        if self.first().status().paused {
            pool.control().pause();
        }
        if !key.follows() && key.is_of_guest() {
            pool.control().hold(own.settings().endpoint.held.clone());
        }
        pool
    }

    /// The way into a pool whose login the upstream has let in now.
    pub(super) fn find_proven(&self, key: &Key) -> Result<Access, NoPool> {
        let access = self.find(key)?;
        let mut members = self.lock();
        // Nodes that have turned it away are asked again, too.
        let of_login = members.others.iter().filter(|(other, _)| other.login == key.login);
        of_login.for_each(|(_, member)| member.pool.is_let_in());
        if let Some(member) = members.others.get_mut(key) {
            member.proven = Some(Instant::now());
        }
        Ok(access)
    }

    /// The way into a pool whose login the upstream has let in within `fresh`, and has not refused since.
    pub(super) fn proven_within(&self, key: &Key, fresh: Duration) -> Option<Access> {
        let mut members = self.lock();
        let member = members.others.get_mut(key)?;
        let access = member.pool.access();
        let is_fresh = member.proven.is_some_and(|proven| proven.elapsed() < fresh);
        (is_fresh && !access.shared.node.is_turned_away()).then(|| {
            member.unused_since = None;
            access
        })
    }

    /// Waits until some [`Caller::is_turned_away`], for one that waits. Cancel-safe.
    pub async fn turned_away(&self) {
        self.0.in_common.turned_away.notified().await;
    }

    /// Waits until some pool [is silent](Control::is_silent), for one that waits. Cancel-safe.
    pub async fn fallen_silent(&self) {
        self.0.in_common.silent.notified().await;
    }

    /// All pools that are not being ended, the first one first.
    pub fn all(&self) -> Vec<Listed> {
        let members = self.lock();
        let mut others: Vec<_> = members.others.iter().collect();
        others.sort_by_key(|(_, member)| member.number);
        let others = others.into_iter().map(|(key, member)| (key.clone(), member.pool.control()));
        let first = (Key::default(), self.first().clone());
        std::iter::once(first).chain(others).map(|(key, control)| Listed { key, control }).collect()
    }

    /// Puts new settings in force in all pools, each with its own node and login; see [`Control::reconfigure`].
    pub fn reconfigure(&self, settings: Settings) {
        let members = self.lock();
        self.first().reconfigure(settings);
        let settings = self.first().settings();
        members.others.iter().for_each(|(key, member)| member.pool.control().reconfigure(key.settings(&settings)));
    }

    /// As [`Control::reconnect`], in all pools.
    pub fn reconnect(&self) {
        self.each(|_| true, Control::reconnect);
    }

    /// As [`Control::pause`], in all pools.
    pub fn pause(&self) {
        self.each(|_| true, Control::pause);
    }

    /// As [`Control::resume`], in all pools.
    pub fn resume(&self) {
        self.each(|_| true, Control::resume);
    }

    /// As [`Control::go`], for all pools that go where the upstream's primary is.
    pub fn go(&self, host: &str, port: u16) -> Vec<Left> {
        let mut left = Vec::new();
        self.each(Key::follows, |control| left.push(control.go(host, port)));
        left
    }

    /// As [`Control::hold`], for all pools that go where the upstream's primary is.
    pub fn hold(&self, reason: Option<&Arc<str>>) {
        self.each(Key::follows, |control| control.hold(reason.cloned()));
    }

    /// Does this to all pools at a place, of every login.
    pub fn at(&self, at: &At, act: impl Fn(&Control)) {
        self.each(|key| key.at == *at, act);
    }

    /// Under the lock: a pool that starts meanwhile has it done, or begins with what the first one has.
    fn each(&self, which: impl Fn(&Key) -> bool, mut act: impl FnMut(&Control)) {
        let members = self.lock();
        if which(&Key::default()) {
            act(self.first());
        }
        members.others.iter().filter(|(key, _)| which(key)).for_each(|(_, member)| act(&member.pool.control()));
    }

    /// As [`Control::idle`], of all pools: they have the count in common.
    pub async fn idle(&self, limit: Duration) -> bool {
        self.first().idle(limit).await
    }

    /// What all pools have counted since the start.
    pub fn totals(&self) -> Totals {
        let members = self.lock();
        let past = members.past.iter().map(|(totals, _)| totals.clone());
        Totals::sum(past.chain(self.0.controls(&members).map(|control| control.totals())))
    }

    /// The status of the first pool, with the counts of all.
    pub fn status(&self) -> Status {
        let members = self.lock();
        let mut status = self.first().status();
        let others = self.0.controls(&members).skip(1).map(|control| control.status());
        others.chain(members.past.iter().map(|(_, status)| status.clone())).for_each(|other| status.add(&other));
        status
    }

    /// Closes all pools and drains them together; see [`Pool::drain`].
    pub async fn drain(&self, grace: Duration) -> Drained {
        let pools: Vec<Pool> = {
            let mut members = self.lock();
            let others = std::mem::take(&mut members.others).into_values().map(|member| member.pool);
            let others: Vec<Pool> = others.collect();
            let ending = std::mem::take(&mut members.ending).into_iter().map(|(_, pool)| pool);
            let ending: Vec<Pool> = ending.collect();
            members.first.take().into_iter().chain(others).chain(ending).collect()
        };
        self.0.sweeper.abort();
        let mut draining: JoinSet<Drained> = pools.into_iter().map(|pool| pool.drain(grace)).collect();
        let mut abandoned = 0;
        while let Some(drained) = draining.join_next().await {
            // They count what they have in common. A panic is a bug, and says so by itself.
            abandoned = drained.map_or(abandoned, |drained| abandoned.max(drained.abandoned));
        }
        Drained { abandoned }
    }
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first one, all others, and those that are ending.
    fn controls<'m>(&self, members: &'m Members) -> impl Iterator<Item = Control> + use<'m> {
        let others = members.others.values().map(|member| &member.pool);
        let others = others.chain(members.ending.iter().map(|(_, pool)| pool));
        std::iter::once(self.first.clone()).chain(others.map(Pool::control))
    }

    /// Ends what has been unused for long; when to look again, if there is anything to look after.
    fn look(&self) -> Option<Duration> {
        let (now, idle) = (Instant::now(), self.first.settings().pools_idle);
        let mut members = self.lock();
        members.bury();
        members.others.values_mut().for_each(|member| member.look(now));
        let is_over = |member: &Member| member.unused_since.is_some_and(|since| now >= since + idle);
        let over: Vec<Key> =
            members.others.iter().filter(|(_, member)| is_over(member)).map(|(key, _)| key.clone()).collect();
        over.iter().for_each(|key| members.end(key));
        let is_anything = !members.others.is_empty() || !members.ending.is_empty();
        is_anything.then(|| LOOK_EVERY.min(idle).max(LOOK_PAUSE_MIN))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.sweeper.abort();
    }
}

/// Looks after pools as long as the directory is there.
async fn sweep(directory: Weak<Directory>, started: Arc<Notify>) {
    loop {
        started.notified().await;
        while let Some(pause) = directory.upgrade().and_then(|directory| directory.look()) {
            sleep(pause).await;
        }
    }
}
