//! One session's part in shared pub/sub: what it is subscribed to, and its messages in the order in which the upstream
//! sent them. Leaves its feeds when it is dropped.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    observe::registry::Entry,
    pubsub::{
        directory::{Directory, Full, Joined},
        message::{Kind, Name, confirmation},
        queue::{Missed, Queue},
    },
};
use resp::Protocol;

/// Bytes of memory for a subscription, besides its name.
const SUBSCRIPTION_BYTES: usize = 256;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Subscriber {
    directory: Arc<Directory>,
    queue: Arc<Queue>,
    /// What the client has a confirmation of, each with the number of the last message before it.
    names: BTreeMap<Name, u64>,
    /// What it has asked for and is not confirmed yet, likewise.
    joining: BTreeMap<Name, u64>,
    /// Of each kind in `names`.
    counts: [usize; 3],
    /// Of memory, for what is in `names`.
    bytes: usize,
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.give_up();
        self.names.keys().for_each(|name| self.directory.leave(name, self.queue.id()));
    }
}

impl Subscriber {
    pub(crate) fn new(directory: Arc<Directory>, entry: Arc<Entry>) -> Self {
        let queue = Arc::new(Queue::new(entry));
        Self { directory, queue, names: BTreeMap::new(), joining: BTreeMap::new(), counts: [0; 3], bytes: 0 }
    }

    /// Counts as `CLIENT LIST` says them: channels, patterns, sharded channels.
    pub(crate) fn counts(&self) -> [usize; 3] {
        self.counts
    }

    /// Bytes of memory for what the client is subscribed to.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is any subscription.
    pub(crate) fn is_subscribed(&self) -> bool {
        !self.names.is_empty()
    }

    /// Joins the feeds of `names`, all or none.
    pub(crate) fn join(&mut self, names: &[Name]) -> Result<(), Full> {
        for name in names {
            if self.names.contains_key(name) || self.joining.contains_key(name) {
                continue;
            }
            match self.directory.join(name, &self.queue) {
                Ok(number) => self.joining.insert(name.clone(), number),
                Err(full) => {
                    self.give_up();
                    return Err(full);
                }
            };
        }
        Ok(())
    }

    /// Whether what was joined can be confirmed to the client.
    pub(crate) fn joined(&self) -> Joined {
        if self.joining.is_empty() { Joined::Confirmed } else { self.directory.joined(self.joining.keys()) }
    }

    /// Takes back what was joined and is not confirmed.
    pub(crate) fn give_up(&mut self) {
        for name in std::mem::take(&mut self.joining).into_keys() {
            self.directory.leave(&name, self.queue.id());
        }
    }

    /// Confirms `names`, which have been joined, to the client, one by one as Redis does.
    pub(crate) fn confirm(&mut self, names: &[Name], protocol: Protocol, out: &mut Vec<u8>) {
        for name in names {
            if let Some(number) = self.joining.remove(name) {
                self.names.insert(name.clone(), number);
                self.counts[name.kind as usize] += 1;
                self.bytes += name.bytes.len() + SUBSCRIPTION_BYTES;
            }
            confirmation(name.kind.subscribe(), Some(&name.bytes), self.total(name.kind), protocol, out);
        }
    }

    /// Ends subscriptions, those of `names` or all of a kind, and confirms that.
    pub(crate) fn unsubscribe(&mut self, kind: Kind, names: Vec<Name>, protocol: Protocol, out: &mut Vec<u8>) {
        let names = if names.is_empty() {
            self.names.keys().filter(|name| name.kind == kind).cloned().collect()
        } else {
            names
        };
        for name in &names {
            if self.names.remove(name).is_some() {
                self.counts[kind as usize] -= 1;
                self.bytes -= name.bytes.len() + SUBSCRIPTION_BYTES;
                self.directory.leave(name, self.queue.id());
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
        self.queue.is_overrun(&self.names)
    }

    /// Appends the messages that are there to `out`, until that has `bytes_max`; it is to be called again then.
    pub(crate) fn deliver(&mut self, protocol: Protocol, out: &mut Vec<u8>, bytes_max: usize) -> Result<(), Missed> {
        while out.len() < bytes_max
            && let Some(message) = self.queue.pop()?
        {
            if message.is_for(&self.names) && !message.write(out, protocol) {
                return Err(Missed::Gone);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use settings::PubSubSettings;

    use crate::{
        observe::{address::Address, published::Published},
        pubsub::link::{Asked, Link, Serves},
    };

    const BACKLOG: usize = 4;

    struct Desk {
        directory: Arc<Directory>,
        link: Link,
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
            let settings = PubSubSettings {
                for_all: true,
                backlog_messages: BACKLOG,
                backlog_bytes_max: 500,
                subscriptions_max: 4,
                subscriptions_share: 3,
            };
            let published = Arc::<Published>::default();
            let directory = Arc::new(Directory::new(settings, Arc::clone(&published)));
            Self { link: Link::new(&directory, Serves::All), directory, published }
        }

        fn subscriber(&self) -> Subscriber {
            self.subscriber_at(1)
        }

        /// One of a client at another host.
        fn subscriber_at(&self, host: u8) -> Subscriber {
            let address = Address::from(std::net::SocketAddr::from(([10, 0, 0, host], 1)));
            let entry = self.published.registry.enter(address.clone(), address, Arc::default());
            Subscriber::new(Arc::clone(&self.directory), entry)
        }

        fn asked(&self) -> Vec<Asked> {
            let mut asked = Vec::new();
            self.link.requests(&mut Vec::new(), usize::MAX, &mut asked);
            asked
        }

        fn answer_all(&self) -> usize {
            let asked = self.asked();
            let mut turn = self.link.turn();
            asked.iter().for_each(|asked| turn.answered(asked, None));
            asked.len()
        }

        fn publish(&self, channel: &str, text: &str) {
            self.link.turn().message(Kind::Channel, channel.as_bytes(), format!(">{text}").as_bytes());
        }

        fn subscribed(&self, channels: &[&str]) -> Subscriber {
            let mut subscriber = self.subscriber();
            let names: Vec<_> = channels.iter().map(|bytes| channel(bytes)).collect();
            subscriber.join(&names).expect("a place");
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
        one.join(&[channel("a")]).expect("a place");
        assert_eq!(one.joined(), Joined::Waiting);
        assert_eq!(desk.asked(), [Asked::Subscribe(channel("a"))]);
        let other = desk.subscriber();
        desk.link.turn().answered(&Asked::Subscribe(channel("a")), None);
        let third = desk.subscribed(&["a"]);
        assert_eq!(one.joined(), Joined::Confirmed);
        drop((one, other));
        assert_eq!(desk.asked(), []);
        drop(third);
        assert_eq!(desk.asked(), [Asked::Unsubscribe(channel("a"))]);
        desk.link.turn().answered(&Asked::Unsubscribe(channel("a")), None);
        assert!(desk.link.is_idle());
    }

    #[test]
    fn who_comes_while_the_last_one_leaves_is_subscribed_anew() {
        let desk = Desk::new();
        drop(desk.subscribed(&["a"]));
        let leaving = desk.asked();
        let mut late = desk.subscriber();
        late.join(&[channel("a")]).expect("a place");
        assert_eq!(late.joined(), Joined::Waiting, "what is confirmed now is about to end");
        let coming = desk.asked();
        assert_eq!((leaving.len(), coming.len()), (1, 1));
        desk.link.turn().answered(&leaving[0], None);
        assert_eq!(late.joined(), Joined::Waiting);
        desk.link.turn().answered(&coming[0], None);
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
            assert_eq!(subscriber.deliver(Protocol::Resp2, &mut out, expected.len() - 1), Ok(()));
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
        let mut left = desk.subscribed(&["a", "b"]);
        desk.publish("a", &"x".repeat(200));
        delivered(&mut quick).expect("all of it");
        assert!(!slow.is_overrun());
        left.unsubscribe(Kind::Channel, vec![channel("a")], Protocol::Resp2, &mut Vec::new());
        desk.publish("b", &"y".repeat(300));
        assert!(slow.is_overrun() && !quick.is_overrun() && !left.is_overrun());
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
        subscriber.join(&[channel("a")]).expect("a place");
        let asked = desk.asked();
        desk.link.turn().answered(&asked[0], Some("NOPERM".into()));
        assert_eq!(subscriber.joined(), Joined::Refused("NOPERM".into()));
        subscriber.give_up();
        assert!(desk.link.is_idle());
    }

    #[test]
    fn a_subscription_that_does_not_come_back_ends_its_subscribers() {
        let desk = Desk::new();
        let mut subscriber = desk.subscribed(&["a"]);
        desk.link.lost(None);
        let asked = desk.asked();
        assert_eq!(asked, [Asked::Subscribe(channel("a"))]);
        assert_eq!(delivered(&mut subscriber).as_deref(), Ok(""), "a loss alone ends nothing");
        desk.link.turn().answered(&asked[0], Some("NOPERM".into()));
        assert_eq!(delivered(&mut subscriber), Err(Missed::Ended));
    }

    #[test]
    fn subscriptions_are_bounded_all_or_none_and_no_host_has_them_all() {
        let desk = Desk::new();
        let taken = desk.subscribed(&["a", "b"]);
        let mut subscriber = desk.subscriber();
        assert_eq!(subscriber.join(&[channel("a"), channel("c"), name(Kind::Pattern, "a")]), Err(Full::Share));
        assert_eq!(desk.directory.len(), 2);
        assert_eq!(subscriber.join(&[channel("a"), name(Kind::Pattern, "a")]), Ok(()));
        let (mut other, mut third) = (desk.subscriber_at(2), desk.subscriber_at(3));
        assert_eq!(other.join(&[channel("a"), channel("b"), channel("d")]), Ok(()), "what others have costs nothing");
        assert_eq!(third.join(&[channel("e")]), Err(Full::All));
        // What one leaves to another counts to the other's share.
        drop((taken, subscriber));
        assert_eq!(other.join(&[channel("f")]), Err(Full::Share));
        assert_eq!(third.join(&[channel("e")]), Ok(()));
    }

    #[test]
    fn what_was_published_before_a_subscription_or_is_left_after_its_end_is_not_delivered() {
        let desk = Desk::new();
        let mut subscriber = desk.subscribed(&["a", "b"]);
        for (channel, text) in [("a", "1"), ("b", "2")] {
            desk.publish(channel, text);
        }
        subscriber.unsubscribe(Kind::Channel, vec![channel("a")], Protocol::Resp2, &mut Vec::new());
        desk.answer_all();
        assert_eq!(subscriber.join(&[channel("a")]), Ok(()));
        desk.answer_all();
        desk.publish("a", "3");
        subscriber.confirm(&[channel("a")], Protocol::Resp2, &mut Vec::new());
        desk.publish("a", "4");
        assert_eq!(delivered(&mut subscriber).as_deref(), Ok("*2*3*4"));
    }

    #[test]
    fn who_waits_is_told_that_the_upstream_is_down() {
        let desk = Desk::new();
        let (mut waiting, served) = (desk.subscriber(), desk.subscribed(&["b"]));
        waiting.join(&[channel("a")]).expect("a place");
        desk.link.lost(Some("refused".into()));
        assert_eq!(waiting.joined(), Joined::Down("refused".into()));
        drop((waiting, served));
        assert_eq!(desk.directory.len(), 0);
        assert!(!desk.link.is_idle(), "its return has to be noticed");
        desk.link.up();
        assert!(desk.link.is_idle());
    }
}
