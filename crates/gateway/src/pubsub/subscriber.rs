//! One session's part in shared pub/sub: what it is subscribed to, and its messages in the order in
//! which the upstream sent them, whichever feed they come by. Leaves its feeds when it is dropped.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

use crate::{
    observe::registry::Entry,
    pubsub::{
        cursor::{Cursor, Missed},
        directory::{Directory, Joined},
        message::{Kind, Name, confirmation},
    },
};
use resp::Protocol;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Subscriber {
    directory: Arc<Directory>,
    entry: Arc<Entry>,
    /// What the client has a confirmation of.
    cursors: BTreeMap<Name, Cursor>,
    /// What it has asked for and is not confirmed yet.
    joining: BTreeMap<Name, Cursor>,
    /// Of each kind in `cursors`.
    counts: [usize; 3],
    /// Messages up to this number have been looked at.
    seen: u64,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.give_up();
        self.cursors.keys().for_each(|name| self.directory.leave(name, self.entry.id()));
    }
}

impl Subscriber {
    pub(crate) fn new(directory: Arc<Directory>, entry: Arc<Entry>) -> Self {
        Self { directory, entry, cursors: BTreeMap::new(), joining: BTreeMap::new(), counts: [0; 3], seen: 0 }
    }

    /// Counts as `CLIENT LIST` says them: channels, patterns, sharded channels.
    pub(crate) fn counts(&self) -> [usize; 3] {
        self.counts
    }

    /// Whether there is any subscription.
    pub(crate) fn is_subscribed(&self) -> bool {
        !self.cursors.is_empty()
    }

    /// Joins the feeds of `names`; false if there are as many feeds as there may be, and then none is joined.
    pub(crate) fn join(&mut self, names: &[Name]) -> bool {
        for name in names {
            if self.cursors.contains_key(name) || self.joining.contains_key(name) {
                continue;
            }
            let Some(cursor) = self.directory.join(name, &self.entry) else {
                self.give_up();
                return false;
            };
            self.joining.insert(name.clone(), cursor);
        }
        true
    }

    /// Whether what was joined can be confirmed to the client.
    pub(crate) fn joined(&self) -> Joined {
        if self.joining.is_empty() { Joined::Confirmed } else { self.directory.joined(self.joining.keys()) }
    }

    /// Takes back what was joined and is not confirmed.
    pub(crate) fn give_up(&mut self) {
        for name in std::mem::take(&mut self.joining).into_keys() {
            self.directory.leave(&name, self.entry.id());
        }
    }

    /// Confirms `names`, which have been joined, to the client, one by one as Redis does.
    pub(crate) fn confirm(&mut self, names: &[Name], protocol: Protocol, out: &mut Vec<u8>) {
        for name in names {
            if let Some(cursor) = self.joining.remove(name) {
                self.cursors.insert(name.clone(), cursor);
                self.counts[name.kind as usize] += 1;
                // Its feed may have had messages while others were looked at.
                self.seen = 0;
            }
            confirmation(name.kind.subscribe(), Some(&name.bytes), self.total(name.kind), protocol, out);
        }
    }

    /// Ends subscriptions, those of `names` or all of a kind, and confirms that.
    pub(crate) fn unsubscribe(&mut self, kind: Kind, names: Vec<Name>, protocol: Protocol, out: &mut Vec<u8>) {
        let names = if names.is_empty() {
            self.cursors.keys().filter(|name| name.kind == kind).cloned().collect()
        } else {
            names
        };
        for name in &names {
            if self.cursors.remove(name).is_some() {
                self.counts[kind as usize] -= 1;
                self.directory.leave(name, self.entry.id());
            }
            confirmation(kind.unsubscribe(), Some(&name.bytes), self.total(kind), protocol, out);
        }
        if names.is_empty() {
            confirmation(kind.unsubscribe(), None, self.total(kind), protocol, out);
        }
    }

    /// The count that a confirmation tells: channels and patterns count together, as in Redis.
    fn total(&self, kind: Kind) -> usize {
        let [channels, patterns, shards] = self.counts;
        match kind {
            Kind::Channel | Kind::Pattern => channels + patterns,
            Kind::Shard => shards,
        }
    }

    /// Whether messages have been missed, as `deliver` will say. Takes none.
    pub(crate) fn is_overrun(&self) -> bool {
        // As broadcast rounds it.
        let bound = self.directory.settings().backlog_messages.next_power_of_two();
        self.cursors.values().any(|cursor| cursor.behind() > bound || cursor.is_robbed())
    }

    /// Appends the messages that are there to `out`, until that has `bytes_max`; it is to be called again then.
    pub(crate) fn deliver(&mut self, protocol: Protocol, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Missed> {
        // All up to this one are with their feeds; of later ones, some may not be, and they could overtake.
        let published = self.directory.published();
        if published == self.seen {
            return Ok(());
        }
        let mut cursors: Vec<&mut Cursor> = self.cursors.values_mut().collect();
        let mut next = BinaryHeap::new();
        for (index, cursor) in cursors.iter_mut().enumerate() {
            next.extend(cursor.next()?.map(|number| Reverse((number, index))));
        }
        while let Some(Reverse((number, index))) = next.pop() {
            if number > published || out.len() >= bytes_max {
                break;
            }
            cursors[index].write_next(protocol, out)?;
            next.extend(cursors[index].next()?.map(|number| Reverse((number, index))));
        }
        if out.len() < bytes_max {
            self.seen = published;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use settings::PubSubSettings;

    use crate::{observe::published::Published, pubsub::directory::Asked};

    const BACKLOG: usize = 4;

    struct Desk {
        directory: Arc<Directory>,
        published: Arc<Published>,
    }

    fn name(kind: Kind, bytes: &str) -> Name {
        Name { kind, bytes: bytes.as_bytes().into() }
    }

    fn channel(bytes: &str) -> Name {
        name(Kind::Channel, bytes)
    }

    impl Desk {
        fn new() -> Self {
            let settings = PubSubSettings { backlog_messages: BACKLOG, backlog_bytes_max: 500, subscriptions_max: 3 };
            let published = Arc::<Published>::default();
            Self { directory: Arc::new(Directory::new(settings, Arc::clone(&published))), published }
        }

        fn subscriber(&self) -> Subscriber {
            let entry =
                self.published.registry.enter(std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into(), Arc::default());
            Subscriber::new(Arc::clone(&self.directory), entry)
        }

        /// What would be sent to the upstream now.
        fn asked(&self) -> Vec<Asked> {
            let mut asked = Vec::new();
            self.directory.requests(&mut Vec::new(), usize::MAX, &mut asked);
            asked
        }

        fn answer_all(&self) -> usize {
            let asked = self.asked();
            let mut turn = self.directory.turn();
            asked.iter().for_each(|asked| turn.answered(asked, None));
            asked.len()
        }

        fn publish(&self, channel: &str, text: &str) {
            self.directory.turn().message(Kind::Channel, channel.as_bytes(), format!(">{text}").as_bytes());
        }

        fn subscribed(&self, channels: &[&str]) -> Subscriber {
            let mut subscriber = self.subscriber();
            let names: Vec<_> = channels.iter().map(|bytes| channel(bytes)).collect();
            assert!(subscriber.join(&names));
            self.answer_all();
            assert_eq!(subscriber.joined(), Joined::Confirmed);
            subscriber.confirm(&names, Protocol::Resp2, &mut Vec::new());
            subscriber
        }
    }

    fn delivered(subscriber: &mut Subscriber) -> Result<String, Missed> {
        let mut out = Vec::new();
        subscriber.deliver(Protocol::Resp2, &mut out, usize::MAX)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn one_subscription_serves_all_until_the_last_has_left() {
        let desk = Desk::new();
        let mut one = desk.subscriber();
        assert!(one.join(&[channel("a")]));
        assert_eq!(one.joined(), Joined::Waiting);
        assert_eq!(desk.asked(), [Asked::Subscribe(channel("a"))]);
        let other = desk.subscriber();
        desk.directory.turn().answered(&Asked::Subscribe(channel("a")), None);
        let third = desk.subscribed(&["a"]);
        assert_eq!(one.joined(), Joined::Confirmed);
        drop((one, other));
        assert_eq!(desk.asked(), []);
        drop(third);
        assert_eq!(desk.asked(), [Asked::Unsubscribe(channel("a"))]);
        desk.directory.turn().answered(&Asked::Unsubscribe(channel("a")), None);
        assert!(desk.directory.is_idle());
    }

    #[test]
    fn who_comes_while_the_last_one_leaves_is_subscribed_anew() {
        let desk = Desk::new();
        drop(desk.subscribed(&["a"]));
        let leaving = desk.asked();
        let mut late = desk.subscriber();
        assert!(late.join(&[channel("a")]));
        assert_eq!(late.joined(), Joined::Waiting, "what is confirmed now is about to end");
        let coming = desk.asked();
        assert_eq!((leaving.len(), coming.len()), (1, 1));
        desk.directory.turn().answered(&leaving[0], None);
        assert_eq!(late.joined(), Joined::Waiting);
        desk.directory.turn().answered(&coming[0], None);
        assert_eq!(late.joined(), Joined::Confirmed);
    }

    #[test]
    fn messages_keep_the_order_in_which_they_came() {
        let desk = Desk::new();
        let mut subscriber = desk.subscribed(&["a", "b"]);
        for (channel, text) in [("b", "1"), ("a", "2"), ("a", "3"), ("c", "no"), ("b", "4")] {
            desk.publish(channel, text);
        }
        assert_eq!(delivered(&mut subscriber).as_deref(), Ok("*1*2*3*4"));
        assert_eq!(delivered(&mut subscriber).as_deref(), Ok(""));
        desk.publish("a", "5");
        assert_eq!(delivered(&mut subscriber).as_deref(), Ok("*5"));
    }

    #[test]
    fn what_does_not_fit_is_delivered_later() {
        let desk = Desk::new();
        let mut subscriber = desk.subscribed(&["a", "b"]);
        for (channel, text) in [("b", "1"), ("a", "2"), ("b", "3")] {
            desk.publish(channel, text);
        }
        let mut out = Vec::new();
        for expected in ["*1", "*1*2", "*1*2*3"] {
            let bytes_max = out.len() + 1;
            assert_eq!(subscriber.deliver(Protocol::Resp2, &mut out, bytes_max), Ok(()));
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn only_who_is_slower_than_the_bound_is_overrun() {
        let desk = Desk::new();
        let (mut slow, mut quick) = (desk.subscribed(&["a"]), desk.subscribed(&["a"]));
        for number in 0..=BACKLOG {
            assert!(!slow.is_overrun());
            desk.publish("a", &number.to_string());
            assert_eq!(delivered(&mut quick), Ok(format!("*{number}")));
        }
        assert!(slow.is_overrun() && !quick.is_overrun());
        assert_eq!(delivered(&mut slow), Err(Missed::Overrun(1)));
    }

    #[test]
    fn only_who_has_not_read_what_had_to_go_is_told_so() {
        let desk = Desk::new();
        let (mut slow, mut quick) = (desk.subscribed(&["a", "b"]), desk.subscribed(&["a", "b"]));
        desk.publish("a", &"x".repeat(200));
        delivered(&mut quick).expect("all of it");
        assert!(!slow.is_overrun());
        desk.publish("b", &"y".repeat(300));
        assert!(slow.is_overrun() && !quick.is_overrun());
        assert_eq!(delivered(&mut slow), Err(Missed::Gone));
        assert_eq!(delivered(&mut quick).map(|text| text.len()), Ok(301));
        let mut late = desk.subscribed(&["a"]);
        desk.publish("a", "z");
        assert_eq!(delivered(&mut late).as_deref(), Ok("*z"));
    }

    #[test]
    fn a_refusal_reaches_those_who_wait_and_leaves_nothing() {
        let desk = Desk::new();
        let mut subscriber = desk.subscriber();
        assert!(subscriber.join(&[channel("a")]));
        let asked = desk.asked();
        desk.directory.turn().answered(&asked[0], Some("NOPERM".into()));
        assert_eq!(subscriber.joined(), Joined::Refused("NOPERM".into()));
        subscriber.give_up();
        assert!(desk.directory.is_idle());
    }

    #[test]
    fn a_subscription_that_does_not_come_back_ends_its_subscribers() {
        let desk = Desk::new();
        let mut subscriber = desk.subscribed(&["a"]);
        desk.directory.lost(None);
        let asked = desk.asked();
        assert_eq!(asked, [Asked::Subscribe(channel("a"))]);
        assert_eq!(delivered(&mut subscriber).as_deref(), Ok(""), "a loss alone ends nothing");
        desk.directory.turn().answered(&asked[0], Some("NOPERM".into()));
        assert_eq!(delivered(&mut subscriber), Err(Missed::Ended));
    }

    #[test]
    fn subscriptions_are_bounded_and_all_or_none() {
        let desk = Desk::new();
        let _taken = desk.subscribed(&["a", "b"]);
        let mut subscriber = desk.subscriber();
        assert!(!subscriber.join(&[channel("a"), channel("c"), name(Kind::Pattern, "a")]));
        assert_eq!(desk.directory.len(), 2);
        assert!(subscriber.join(&[channel("a"), name(Kind::Pattern, "a")]));
    }

    #[test]
    fn who_waits_is_told_that_the_upstream_is_down() {
        let desk = Desk::new();
        let (mut waiting, served) = (desk.subscriber(), desk.subscribed(&["b"]));
        assert!(waiting.join(&[channel("a")]));
        desk.directory.lost(Some("refused".into()));
        assert_eq!(waiting.joined(), Joined::Down("refused".into()));
        drop((waiting, served));
        assert_eq!(desk.directory.len(), 0);
        assert!(!desk.directory.is_idle(), "its return has to be noticed");
        desk.directory.up();
        assert!(desk.directory.is_idle());
    }
}
