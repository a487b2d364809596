//! The directory of shared subscriptions, without I/O: which channels and patterns are subscribed at the upstream,
//! and for which sessions (a feed). What comes for a name goes into the queues of those who listen.
//!
//! Sessions join and leave; the task in `shared_connection` asks what to send and tells what came. Both do so in
//! short turns at one lock; messages are taken without it.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use resp::write_request;
use settings::PubSubSettings;
use tokio::sync::Notify;

use crate::{
    observe::{published::Published, sharing::party::Party},
    pubsub::{
        backlog::Backlog,
        feed::{Feed, Upstream},
        message::{Kind, Name},
        queue::Queue,
    },
};

/// How far the subscription to names has come that a session has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Joined {
    Waiting,
    Confirmed,
    /// The upstream's error, without its mark.
    Refused(Arc<str>),
    /// The upstream cannot be reached; holds why.
    Down(Arc<str>),
}

/// Why there is no place for a further name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// As many are subscribed as may be.
    All,
    /// Clients of the same host and user have as many as they may have.
    Share,
}

/// A request that the upstream has yet to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Subscribe(Name),
    Unsubscribe(Name),
    Ping,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Directory {
    contents: Mutex<Contents>,
    /// There are requests to send.
    changed: Notify,
    settings: PubSubSettings,
    /// Where others see how many feeds there are and what became of slow listeners.
    seen_by: Arc<Published>,
}

struct Contents {
    backlog: Backlog,
    /// Number of the last message.
    number: u64,
    /// How many feeds count to whose share.
    parties: HashMap<Party, usize>,
    feeds: [HashMap<Arc<[u8]>, Feed>; 3],
    /// Feeds whose subscription at the upstream may not be what it should be.
    changed: HashSet<Name>,
    /// Why the upstream cannot be reached, if it cannot.
    down: Option<Arc<str>>,
}

impl fmt::Debug for Contents {
    /// Not the names, which are clients'.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").field("feeds", &self.len()).field("down", &self.down).finish_non_exhaustive()
    }
}

impl Contents {
    fn len(&self) -> usize {
        self.feeds.iter().map(HashMap::len).sum()
    }

    fn feed(&mut self, name: &Name) -> Option<&mut Feed> {
        self.feeds[name.kind as usize].get_mut(&name.bytes)
    }

    fn remove(&mut self, name: &Name) -> Option<Feed> {
        self.changed.remove(name);
        let feed = self.feeds[name.kind as usize].remove(&name.bytes)?;
        uncount(&mut self.parties, &feed.party);
        Some(feed)
    }

    /// Adds a feed that counts to the share of `party`.
    fn add(&mut self, name: &Name, party: &Party) {
        *self.parties.entry(party.clone()).or_default() += 1;
        self.feeds[name.kind as usize].insert(Arc::clone(&name.bytes), Feed::new(party.clone()));
    }

    /// Has a feed count to the share of one who listens, if it counts to that of one who does no more.
    fn recount(&mut self, name: &Name) {
        let Self { feeds, parties, .. } = self;
        let Some(feed) = feeds[name.kind as usize].get_mut(&name.bytes) else { return };
        let Some(listener) = feed.listeners.values().next() else { return };
        if !feed.listeners.values().any(|listener| *listener.party() == feed.party) {
            uncount(parties, &feed.party);
            feed.party = listener.party().clone();
            *parties.entry(feed.party.clone()).or_default() += 1;
        }
    }
}

fn uncount(parties: &mut HashMap<Party, usize>, party: &Party) {
    if let Some(count) = parties.get_mut(party) {
        *count -= 1;
        if *count == 0 {
            parties.remove(party);
        }
    }
}

impl Directory {
    pub(crate) fn new(settings: PubSubSettings, seen_by: Arc<Published>) -> Self {
        Self {
            contents: Mutex::new(Contents {
                backlog: Backlog::new(settings.backlog_bytes_max),
                number: 0,
                parties: HashMap::new(),
                feeds: Default::default(),
                changed: HashSet::new(),
                down: None,
            }),
            changed: Notify::new(),
            settings,
            seen_by,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn settings(&self) -> &PubSubSettings {
        &self.settings
    }

    /// Waits until there are requests to send. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Counts a session that was too slow.
    pub(crate) fn count_overrun(&self) {
        self.seen_by.counts.subscribers_overrun.add_one();
    }

    /// Lets others see how many feeds there are.
    fn show(&self, contents: &Contents) {
        self.seen_by.counts.subscriptions.set(contents.len());
    }

    /// Channels, patterns and sharded channels for which there is a feed.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Makes a session a listener of `name`, of what comes after the message whose number is returned. Fails when there
    /// is no place for a further feed.
    pub(crate) fn join(&self, name: &Name, listener: &Arc<Queue>) -> Result<u64, Full> {
        let mut contents = self.lock();
        if contents.feed(name).is_none() {
            if contents.len() >= self.settings.subscriptions_max {
                return Err(Full::All);
            }
            if contents.parties.get(listener.party()).is_some_and(|count| *count >= self.settings.subscriptions_share) {
                return Err(Full::Share);
            }
            contents.add(name, listener.party());
            self.show(&contents);
        }
        let number = contents.number;
        let Some(feed) = contents.feed(name) else { return Err(Full::All) };
        feed.listeners.insert(listener.id(), Arc::clone(listener));
        match feed.upstream {
            Upstream::Asked | Upstream::Confirmed => {}
            Upstream::Refused(_) | Upstream::Absent | Upstream::Leaving => {
                if matches!(feed.upstream, Upstream::Refused(_)) {
                    feed.upstream = Upstream::Absent;
                }
                contents.changed.insert(name.clone());
                self.changed.notify_one();
            }
        }
        Ok(number)
    }

    /// Takes a session off the listeners of `name`. The last one's leaving ends the subscription.
    pub(crate) fn leave(&self, name: &Name, id: u64) {
        let mut contents = self.lock();
        let Some(feed) = contents.feed(name) else { return };
        feed.listeners.remove(&id);
        if !feed.listeners.is_empty() {
            return contents.recount(name);
        }
        match feed.upstream {
            Upstream::Absent | Upstream::Refused(_) if feed.outstanding == 0 => {
                contents.remove(name);
                self.show(&contents);
            }
            Upstream::Absent | Upstream::Refused(_) | Upstream::Leaving => {}
            Upstream::Asked | Upstream::Confirmed => {
                contents.changed.insert(name.clone());
                self.changed.notify_one();
            }
        }
    }

    /// Whether all of `names` can be confirmed to a session that has joined them.
    pub(crate) fn joined<'n>(&self, names: impl IntoIterator<Item = &'n Name>) -> Joined {
        let mut contents = self.lock();
        let mut joined = Joined::Confirmed;
        for name in names {
            let Some(feed) = contents.feed(name) else { return Joined::Refused("ERR no such subscription".into()) };
            match &feed.upstream {
                Upstream::Confirmed => feed.served = true,
                Upstream::Refused(text) => return Joined::Refused(Arc::clone(text)),
                Upstream::Absent | Upstream::Asked | Upstream::Leaving => joined = Joined::Waiting,
            }
        }
        match (joined, &contents.down) {
            (Joined::Waiting, Some(reason)) => Joined::Down(Arc::clone(reason)),
            (joined, _) => joined,
        }
    }

    /// Writes requests for what has changed, up to about `bytes_max`, one a name, so that each has one answer.
    /// Whether there is more to write.
    pub(crate) fn requests(&self, out: &mut Vec<u8>, bytes_max: usize, asked: &mut impl Extend<Asked>) -> bool {
        let mut contents = self.lock();
        while out.len() < bytes_max {
            let Some(name) = contents.changed.iter().next().cloned() else { return false };
            contents.changed.remove(&name);
            let Some(feed) = contents.feed(&name) else { continue };
            let wanted = !feed.listeners.is_empty();
            let (state, command, ask) = match (&feed.upstream, wanted) {
                (Upstream::Absent | Upstream::Leaving, true) => {
                    (Upstream::Asked, name.kind.subscribe(), Asked::Subscribe(name.clone()))
                }
                (Upstream::Asked | Upstream::Confirmed, false) => {
                    (Upstream::Leaving, name.kind.unsubscribe(), Asked::Unsubscribe(name.clone()))
                }
                _ => continue,
            };
            feed.upstream = state;
            feed.outstanding += 1;
            write_request(out, &[command.as_bytes(), &name.bytes]);
            asked.extend([ask]);
        }
        !contents.changed.is_empty()
    }

    /// Whether there is something to subscribe to, or the upstream's return to be noticed.
    pub(crate) fn is_idle(&self) -> bool {
        let contents = self.lock();
        contents.len() == 0 && contents.down.is_none()
    }

    /// The upstream can be reached again.
    pub(crate) fn up(&self) {
        self.lock().down = None;
    }

    /// The connection is lost or was not to be had: every feed that has listeners is to be subscribed anew.
    /// `reason` is set when sessions that wait for confirmations should know.
    pub(crate) fn lost(&self, reason: Option<Arc<str>>) {
        let mut contents = self.lock();
        let Contents { feeds, changed, down, parties, .. } = &mut *contents;
        let news = down.is_none() && reason.is_some();
        *down = reason;
        changed.clear();
        for (kind, feeds) in Kind::ALL.into_iter().zip(feeds) {
            feeds.retain(|_, feed| {
                let stays = !feed.listeners.is_empty();
                if !stays {
                    uncount(parties, &feed.party);
                }
                stays
            });
            for (bytes, feed) in feeds {
                feed.outstanding = 0;
                if !matches!(feed.upstream, Upstream::Refused(_)) {
                    feed.upstream = Upstream::Absent;
                    changed.insert(Name { kind, bytes: Arc::clone(bytes) });
                }
                if news {
                    feed.wake();
                }
            }
        }
        self.show(&contents);
    }

    /// Takes in what came, at one go; listeners are woken when the turn ends.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { directory: self, contents: self.lock(), fresh: Vec::new(), ended: Vec::new() }
    }
}

/// The right to tell what came from the upstream.
pub(crate) struct Turn<'f> {
    directory: &'f Directory,
    contents: MutexGuard<'f, Contents>,
    fresh: Vec<Name>,
    ended: Vec<Feed>,
}

impl Turn<'_> {
    /// A message for those who listen to `bytes`.
    pub(crate) fn message(&mut self, kind: Kind, bytes: &[u8], message: &[u8]) {
        let Some((name, _)) = self.contents.feeds[kind as usize].get_key_value(bytes) else { return };
        let name = Name { kind, bytes: Arc::clone(name) };
        self.contents.number += 1;
        let (number, max) = (self.contents.number, self.directory.settings.backlog_messages);
        let message = self.contents.backlog.keep(number, &name, message);
        let Some(feed) = self.contents.feed(&name) else { return };
        feed.listeners.values().for_each(|listener| listener.push(&message, max));
        if !std::mem::replace(&mut feed.fresh, true) {
            self.fresh.push(name);
        }
    }

    /// The upstream confirmed what it was asked, or refused it with `error`.
    pub(crate) fn answered(&mut self, asked: &Asked, error: Option<Arc<str>>) {
        let (Asked::Subscribe(name) | Asked::Unsubscribe(name)) = asked else { return };
        let Some(feed) = self.contents.feed(name) else { return };
        feed.outstanding = feed.outstanding.saturating_sub(1);
        if feed.outstanding > 0 {
            // A later request decides.
            return;
        }
        feed.upstream = match (asked, error) {
            (Asked::Subscribe(_), None) => Upstream::Confirmed,
            (Asked::Subscribe(_), Some(text)) => Upstream::Refused(text),
            (Asked::Unsubscribe(_) | Asked::Ping, _) => Upstream::Absent,
        };
        if !std::mem::replace(&mut feed.fresh, true) {
            self.fresh.push(name.clone());
        }
        if let Upstream::Refused(text) = &feed.upstream
            && feed.served
        {
            // It was in force before the connection was lost. The rest of the text may name the channel.
            let error = text.split(' ').next().unwrap_or_default();
            tracing::warn!(error, "subscription refused, closing its subscribers");
            feed.listeners.values().for_each(|listener| listener.end());
            self.ended.extend(self.contents.remove(name));
        } else if feed.listeners.is_empty() && matches!(feed.upstream, Upstream::Absent | Upstream::Refused(_)) {
            self.contents.remove(name);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.ended.iter_mut().for_each(Feed::wake);
        for name in &self.fresh {
            if let Some(feed) = self.contents.feed(name) {
                feed.wake();
            }
        }
    }
}
