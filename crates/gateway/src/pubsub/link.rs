//! A link of the directory to the upstream, without I/O: what a connection is to subscribe to, and what it has brought.
//! Made by `nodes` and `process`, used by `shared_connection`.

use std::{
    collections::HashSet,
    sync::{Arc, MutexGuard},
};

use resp::write_request;
use tokio::sync::Notify;
use topology::Address;

use crate::pubsub::{
    directory::{Contents, Directory},
    events::key_of,
    feed::{Feed, Upstream},
    message::{Kind, Name},
};

/// What a link brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Serves {
    /// All messages.
    All,
    /// Events of this node of a cluster, and nothing that is heard from others as well.
    Events(Address),
}

impl Serves {
    /// Whether subscribers wait for it as long as for the upstream itself.
    pub(super) fn is_main(&self) -> bool {
        *self == Self::All
    }
}

/// A request that the upstream has yet to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Subscribe(Name),
    Unsubscribe(Name),
    Ping,
}

/// What the directory knows of a link.
#[derive(Debug)]
pub(super) struct LinkState {
    pub(super) serves: Serves,
    /// Feeds whose subscription there may not be what it should be.
    changed: HashSet<Name>,
    /// Why it cannot be had, if it cannot.
    pub(super) down: Option<Arc<str>>,
    /// It brings messages.
    is_up: bool,
    news: Arc<Notify>,
}

impl LinkState {
    pub(super) fn wants(&self, name: &Name) -> bool {
        self.serves.is_main() || name.may_be_of_events()
    }

    /// There are requests to send.
    pub(super) fn has_changed(&mut self, name: &Name) {
        self.changed.insert(name.clone());
        self.news.notify_one();
    }

    pub(super) fn forget(&mut self, name: &Name) {
        self.changed.remove(name);
    }
}

/// See the module's documentation. When it is dropped nobody waits for it any more.
#[derive(Debug)]
pub(crate) struct Link {
    directory: Arc<Directory>,
    number: u64,
    news: Arc<Notify>,
}

impl Drop for Link {
    fn drop(&mut self) {
        let mut contents = self.directory.lock();
        contents.links.remove(&self.number);
        for feed in contents.feeds.iter_mut().flat_map(|feeds| feeds.values_mut()) {
            feed.leave(self.number);
            feed.wake();
        }
        contents.remove_those_over();
        self.directory.show(&contents);
    }
}

impl Link {
    /// A further one, with all to subscribe to that it serves.
    pub(crate) fn new(directory: &Arc<Directory>, serves: Serves) -> Self {
        let news = Arc::<Notify>::default();
        let mut contents = directory.lock();
        contents.links_made += 1;
        let number = contents.links_made;
        let mut state =
            LinkState { serves, changed: HashSet::new(), down: None, is_up: false, news: Arc::clone(&news) };
        state.changed = contents.names().filter(|name| state.wants(name)).collect();
        contents.links.insert(number, state);
        Self { directory: Arc::clone(directory), number, news }
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Waits until there are requests to send. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.news.notified().await;
    }

    /// Writes requests for what has changed, up to about `bytes_max`, one a name, so that each has one answer.
    /// Whether there is more to write.
    pub(crate) fn requests(&self, out: &mut Vec<u8>, bytes_max: usize, asked: &mut impl Extend<Asked>) -> bool {
        let mut contents = self.directory.lock();
        let Contents { links, feeds, .. } = &mut *contents;
        let Some(link) = links.get_mut(&self.number) else { return false };
        while out.len() < bytes_max {
            let Some(name) = link.changed.iter().next().cloned() else { return false };
            link.changed.remove(&name);
            let Some(feed) = feeds[name.kind as usize].get_mut(&name.bytes) else { continue };
            let wanted = !feed.listeners.is_empty();
            let stand = feed.at(self.number);
            let (state, command, ask) = match (&stand.upstream, wanted) {
                (Upstream::Absent | Upstream::Leaving, true) => {
                    (Upstream::Asked, name.kind.subscribe(), Asked::Subscribe(name.clone()))
                }
                (Upstream::Asked | Upstream::Confirmed, false) => {
                    (Upstream::Leaving, name.kind.unsubscribe(), Asked::Unsubscribe(name.clone()))
                }
                _ => continue,
            };
            stand.upstream = state;
            stand.outstanding += 1;
            write_request(out, &[command.as_bytes(), &name.bytes]);
            asked.extend([ask]);
        }
        !link.changed.is_empty()
    }

    /// Whether there is something to subscribe to, or the upstream's return to be noticed.
    pub(crate) fn is_idle(&self) -> bool {
        let contents = self.directory.lock();
        let Some(link) = contents.links.get(&self.number) else { return true };
        link.down.is_none() && !contents.names().any(|name| link.wants(&name))
    }

    /// The upstream can be reached again.
    pub(crate) fn up(&self) {
        if let Some(link) = self.directory.lock().links.get_mut(&self.number) {
            link.down = None;
        }
    }

    /// The connection is lost or was not to be had: every feed that has listeners is to be subscribed anew.
    /// `reason` is set when sessions that wait for confirmations should know.
    pub(crate) fn lost(&self, reason: Option<Arc<str>>) {
        let mut contents = self.directory.lock();
        let Contents { links, feeds, .. } = &mut *contents;
        let Some(link) = links.get_mut(&self.number) else { return };
        let news = link.down.is_none() && reason.is_some();
        (link.down, link.is_up) = (reason, false);
        link.changed.clear();
        for (kind, feeds) in Kind::ALL.into_iter().zip(feeds) {
            for (bytes, feed) in feeds {
                let name = Name { kind, bytes: Arc::clone(bytes) };
                if !link.wants(&name) {
                    continue;
                }
                let stand = feed.at(self.number);
                stand.outstanding = 0;
                if !matches!(stand.upstream, Upstream::Refused(_)) {
                    stand.upstream = Upstream::Absent;
                    link.changed.insert(name);
                }
                if news {
                    feed.wake();
                }
            }
        }
        contents.remove_those_over();
        self.directory.show(&contents);
    }

    /// Takes in what came, at one go; listeners are woken when the turn ends.
    pub(crate) fn turn(&self) -> Turn<'_> {
        let contents = self.directory.lock();
        Turn { link: self, contents, fresh: Vec::new(), ended: Vec::new() }
    }
}

/// The right to tell what came from the upstream.
pub(crate) struct Turn<'f> {
    link: &'f Link,
    contents: MutexGuard<'f, Contents>,
    fresh: Vec<Name>,
    ended: Vec<Feed>,
}

impl Turn<'_> {
    /// A message for those who listen to `bytes`.
    pub(crate) fn message(&mut self, kind: Kind, bytes: &[u8], message: &[u8]) {
        if !self.is_to_be_taken(message) {
            return;
        }
        let Some((name, _)) = self.contents.feeds[kind as usize].get_key_value(bytes) else { return };
        let name = Name { kind, bytes: Arc::clone(name) };
        self.contents.number += 1;
        let (number, max) = (self.contents.number, self.link.directory.settings().backlog_messages);
        let message = self.contents.backlog.keep(number, &name, message);
        let Some(feed) = self.contents.feed(&name) else { return };
        feed.listeners.values().for_each(|listener| listener.push(&message, max));
        if !std::mem::replace(&mut feed.fresh, true) {
            self.fresh.push(name);
        }
    }

    fn is_to_be_taken(&self, message: &[u8]) -> bool {
        let links = &self.contents.links;
        let Some(Serves::Events(node)) = links.get(&self.link.number).map(|link| &link.serves) else { return true };
        // Without a link of its own the first one is heard by each subscriber.
        let is_up = |node: Option<&Address>| match node {
            None => links.values().find(|link| link.serves.is_main()).is_none_or(|link| link.is_up),
            Some(node) => links.values().any(|link| link.is_up && link.serves == Serves::Events(node.clone())),
        };
        key_of(message)
            .is_some_and(|key| self.contents.shards.as_ref().is_none_or(|shards| shards.are_told_by(node, key, is_up)))
    }

    /// The upstream confirmed what it was asked, or refused it with `error`.
    pub(crate) fn answered(&mut self, asked: &Asked, error: Option<Arc<str>>) {
        let (Asked::Subscribe(name) | Asked::Unsubscribe(name)) = asked else { return };
        let Contents { links, feeds, .. } = &mut *self.contents;
        let Some(feed) = feeds[name.kind as usize].get_mut(&name.bytes) else { return };
        if let Some(link) = links.get_mut(&self.link.number) {
            link.is_up = true;
        }
        let stand = feed.at(self.link.number);
        stand.outstanding = stand.outstanding.saturating_sub(1);
        if stand.outstanding > 0 {
            // A later request decides.
            return;
        }
        let mut refused = None;
        stand.upstream = match (asked, error) {
            (Asked::Subscribe(_), None) => Upstream::Confirmed,
            (Asked::Subscribe(_), Some(text)) => {
                refused = Some(Arc::clone(&text));
                Upstream::Refused(text)
            }
            (Asked::Unsubscribe(_) | Asked::Ping, _) => Upstream::Absent,
        };
        if !std::mem::replace(&mut feed.fresh, true) {
            self.fresh.push(name.clone());
        }
        if let Some(text) = refused.filter(|_| feed.served) {
            // It was in force before the connection was lost. The rest of the text may name the channel.
            let error = text.split(' ').next().unwrap_or_default();
            tracing::warn!(error, "subscription refused, closing its subscribers");
            feed.listeners.values().for_each(|listener| listener.end());
            self.ended.extend(self.contents.remove(name));
        } else if feed.is_over() {
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
