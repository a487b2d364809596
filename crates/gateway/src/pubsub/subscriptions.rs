//! A session's part in shared pub/sub: its requests and its messages. Subscribing waits for the upstream's
//! confirmation (or to be asked to end, or for the client to go, or for `reply_timeout`); nothing else here waits.
//! A client that speaks RESP2 and is subscribed may do little else, as with Redis.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use pool::JobError;
use resp::{Protocol, write_error};
use settings::SessionSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    client::link::Link,
    command::{class::Class, errors},
    observe::turned_away::Kind,
    pubsub::{
        directory::{Directory, Full, Joined},
        message::{Name, confirmation},
        queue::Missed,
        request::SubscriptionRequest,
        subscriber::Subscriber,
    },
};

/// Bytes of messages that are passed on in one write.
const MESSAGES_BYTES: usize = 64 * 1024;

/// How long a subscriber waits for nodes that do not answer, whose events it gets once they do.
const NODES_WAIT: Duration = Duration::from_millis(500);

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// `None` where each subscriber has a connection of its own, and the upstream is no cluster.
    directory: Option<Arc<Directory>>,
    /// `None` while the session has no subscription here.
    subscriber: Option<Box<Subscriber>>,
}

/// What became of the names that a session has joined.
enum Outcome {
    Settled(Joined),
    TimedOut,
    Gone,
}

impl Subscriptions {
    pub(crate) fn new(directory: Option<Arc<Directory>>) -> Self {
        Self { directory, subscriber: None }
    }

    /// Whether a request of `class` changes subscriptions that are shared.
    pub(crate) fn are_changed_by(&self, class: Class) -> bool {
        self.are_all_here() && SubscriptionRequest::is_one(class)
    }

    /// Whether all of the client's are here, and not only events beside a connection of its own.
    fn are_all_here(&self) -> bool {
        self.directory.as_ref().is_some_and(|directory| directory.is_for_all())
    }

    /// Whether there is any, besides events.
    pub(crate) fn exist(&self) -> bool {
        self.are_all_here() && self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_subscribed())
    }

    /// Bytes of memory for them.
    pub(crate) fn bytes(&self) -> usize {
        self.subscriber.as_ref().map_or(0, |subscriber| subscriber.bytes())
    }

    /// Whether all but a few requests get an error because of them.
    pub(crate) fn restrict(&self, protocol: Protocol) -> bool {
        protocol == Protocol::Resp2 && self.exist()
    }

    /// Channels, patterns and sharded channels.
    pub(crate) fn counts(&self) -> [usize; 3] {
        self.subscriber.as_ref().filter(|_| self.are_all_here()).map_or([0; 3], |subscriber| subscriber.counts())
    }

    /// Whether the client has missed messages, because it was too slow to read them.
    pub(crate) fn is_overrun(&self) -> bool {
        self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_overrun())
    }

    /// Ends all of them.
    pub(crate) fn end(&mut self) {
        self.subscriber = None;
    }

    fn end_if_over(&mut self) {
        self.subscriber.take_if(|subscriber| !subscriber.is_subscribed());
    }

    /// Changes them and says so to the client; false to close the session.
    pub(crate) async fn change<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        request: SubscriptionRequest,
        link: &mut Link<S>,
        protocol: Protocol,
        settings: &SessionSettings,
    ) -> bool {
        match request {
            SubscriptionRequest::Malformed(kind) => {
                write_error(link.output(), &errors::wrong_arity(kind.subscribe()));
                true
            }
            SubscriptionRequest::Leave(kind, names) => {
                match &mut self.subscriber {
                    Some(subscriber) => subscriber.unsubscribe(kind, names, protocol, link.output()),
                    None => {
                        let names = names.iter().map(|name| Some(&*name.bytes)).collect::<Vec<_>>();
                        let names = if names.is_empty() { vec![None] } else { names };
                        names.into_iter().for_each(|name| {
                            confirmation(kind.unsubscribe(), name, 0, protocol, link.output());
                        });
                    }
                }
                self.end_if_over();
                true
            }
            SubscriptionRequest::Join(names) => self.subscribe(&names, link, protocol, settings).await,
        }
    }

    async fn subscribe<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        names: &[Name],
        link: &mut Link<S>,
        protocol: Protocol,
        settings: &SessionSettings,
    ) -> bool {
        if let Err(text) = self.join(names, link) {
            write_error(link.output(), &text);
            self.end_if_over();
            return true;
        }
        if self.is_waiting() {
            link.flush(settings, || self.is_overrun()).await;
        }
        let reply_timeout = settings.reply_timeout;
        let failure = match self.confirmed(link, settings, Instant::now() + reply_timeout).await {
            Outcome::Gone => return false,
            Outcome::Settled(Joined::Waiting | Joined::WaitingForNodes | Joined::Confirmed) => {
                if let Some(subscriber) = &mut self.subscriber {
                    subscriber.confirm(names, protocol, link.output());
                }
                return true;
            }
            Outcome::Settled(Joined::Refused(text)) => JobError::StateRefused(text),
            Outcome::Settled(Joined::Down(reason)) => JobError::UpstreamDown(reason),
            Outcome::TimedOut => JobError::ReplyTimeout(reply_timeout),
        };
        link.fail(&failure, 1, &settings.upstream);
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.give_up();
        }
        self.end_if_over();
        true
    }

    fn is_waiting(&self) -> bool {
        let joined = self.subscriber.as_ref().map(|subscriber| subscriber.joined());
        matches!(joined, Some(Joined::Waiting | Joined::WaitingForNodes))
    }

    /// Joins `names`, all or none; why not, as the client is to be told.
    fn join<S>(&mut self, names: &[Name], link: &Link<S>) -> Result<(), String> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let subscriber = self
            .subscriber
            .get_or_insert_with(|| Box::new(Subscriber::new(Arc::clone(directory), Arc::clone(link.entry()))));
        subscriber.join(names).map_err(|full| {
            link.published().turned_away.note(Kind::SubscriptionsFull, link.entry().address(), "");
            let settings = directory.settings();
            match full {
                Full::All => errors::subscriptions_full(settings.subscriptions_max),
                Full::Share => errors::subscriptions_share_full(settings.subscriptions_share),
            }
        })
    }

    /// Has the client, which has a connection of its own, get events of all nodes for those of `names` that may have some;
    /// why not, if it cannot. They are to be subscribed on its connection, and `follow` is to be called then.
    pub(crate) fn join_events<S>(&mut self, names: impl Iterator<Item = Name>, link: &Link<S>) -> Result<(), String> {
        if self.directory.is_none() || self.are_all_here() {
            return Ok(());
        }
        let names: Vec<Name> = names.filter(Name::may_be_of_events).collect();
        if names.is_empty() { Ok(()) } else { self.join(&names, link) }
    }

    /// Goes by what has `changed` of the names subscribed on the client's connection: which are by now, and which are not.
    /// Waits until it gets events for all of them; false to close the session.
    pub(crate) async fn follow<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        changed: BTreeMap<Name, bool>,
        link: &mut Link<S>,
        settings: &SessionSettings,
    ) -> bool {
        let begun: Vec<Name> = changed.iter().filter(|(_, begins)| **begins).map(|(name, _)| name.clone()).collect();
        if let Err(text) = self.join_events(begun.iter().cloned(), link) {
            write_error(link.output(), &text);
            return false;
        }
        if self.is_waiting()
            && let Outcome::Gone = self.confirmed(link, settings, Instant::now() + NODES_WAIT).await
        {
            return false;
        }
        if let Some(subscriber) = &mut self.subscriber {
            // The client has been told by the upstream.
            let mut unsaid = Vec::new();
            subscriber.confirm(&begun, Protocol::Resp2, &mut unsaid);
            subscriber.give_up();
            for (name, _) in changed.into_iter().filter(|(_, begins)| !begins) {
                subscriber.unsubscribe(name.kind, vec![name], Protocol::Resp2, &mut unsaid);
            }
        }
        self.end_if_over();
        true
    }

    /// Ends those to events.
    pub(crate) fn end_events(&mut self) {
        if !self.are_all_here() {
            self.end();
        }
    }

    /// Waits until what was joined stands. Cancel-safe.
    async fn confirmed<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        link: &mut Link<S>,
        settings: &SessionSettings,
        deadline: Instant,
    ) -> Outcome {
        let nodes_deadline = deadline.min(Instant::now() + NODES_WAIT);
        poll_fn(|cx| {
            // Registers for being woken, and therefore comes before the look.
            if link.poll_asked(cx).ends() {
                return Poll::Ready(Outcome::Gone);
            }
            let joined = self.subscriber.as_ref().map(|subscriber| subscriber.joined());
            let (until, over) = match joined {
                Some(Joined::Waiting) => (deadline, Outcome::TimedOut),
                Some(Joined::WaitingForNodes) => (nodes_deadline, Outcome::Settled(Joined::WaitingForNodes)),
                Some(joined) => return Poll::Ready(Outcome::Settled(joined)),
                None => return Poll::Ready(Outcome::Gone),
            };
            if link.poll_gone(cx, settings).is_ready() {
                return Poll::Ready(Outcome::Gone);
            }
            link.poll_until(cx, until).map(|()| over)
        })
        .await
    }

    /// Passes on the messages that are there; an error when the session has missed some and is to be closed. The
    /// task is woken when there are more.
    pub(crate) fn take_messages<S>(
        &mut self,
        cx: &mut Context<'_>,
        link: &mut Link<S>,
        protocol: Protocol,
    ) -> io::Result<()> {
        let Some(subscriber) = &mut self.subscriber else { return Ok(()) };
        link.poll_asked(cx);
        let bytes_max = link.unwritten() + MESSAGES_BYTES;
        let Err(missed) = subscriber.deliver(protocol, link.output(), bytes_max) else { return Ok(()) };
        let (kind, reason, text) = match (missed, &self.directory) {
            (Missed::Overrun(missed), Some(directory)) => {
                directory.count_overrun();
                let text = errors::overrun(directory.settings().backlog_messages, missed);
                (Kind::Overrun, format!("{missed} messages were not sent"), text)
            }
            (Missed::Gone, Some(directory)) => {
                directory.count_overrun();
                let text = errors::backlog_full(directory.settings().backlog_bytes_max);
                (Kind::BacklogFull, String::new(), text)
            }
            (Missed::Overrun(_) | Missed::Gone | Missed::Ended, _) => {
                (Kind::SubscriptionEnded, String::new(), errors::SUBSCRIPTION_ENDED.to_owned())
            }
        };
        link.published().turned_away.note(kind, link.entry().address(), &reason);
        write_error(link.output(), &text);
        self.end();
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}
