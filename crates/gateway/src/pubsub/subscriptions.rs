//! A session's part in shared pub/sub: its requests and its messages. Subscribing waits for the upstream's
//! confirmation (or to be asked to end, or for the client to go, or for `reply_timeout`); nothing else here waits.
//! A client that speaks RESP2 and is subscribed may do little else, as with Redis.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
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

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// `None` where each subscriber has a connection of its own.
    directory: Option<Arc<Directory>>,
    /// `None` while the session has no subscription.
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
        self.directory.is_some() && SubscriptionRequest::is_one(class)
    }

    /// Whether there is any.
    pub(crate) fn exist(&self) -> bool {
        self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_subscribed())
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
        self.subscriber.as_ref().map_or([0; 3], |subscriber| subscriber.counts())
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
        let Some(directory) = &self.directory else { return false };
        let subscriber = self
            .subscriber
            .get_or_insert_with(|| Box::new(Subscriber::new(Arc::clone(directory), Arc::clone(link.entry()))));
        if let Err(full) = subscriber.join(names) {
            link.published().turned_away.note(Kind::SubscriptionsFull, link.entry().address(), "");
            let settings = directory.settings();
            let text = match full {
                Full::All => errors::subscriptions_full(settings.subscriptions_max),
                Full::Share => errors::subscriptions_share_full(settings.subscriptions_share),
            };
            write_error(link.output(), &text);
            self.end_if_over();
            return true;
        }
        if subscriber.joined() == Joined::Waiting {
            link.flush(settings, || self.is_overrun()).await;
        }
        let reply_timeout = settings.reply_timeout;
        let failure = match self.confirmed(link, settings, Instant::now() + reply_timeout).await {
            Outcome::Gone => return false,
            Outcome::Settled(Joined::Waiting | Joined::Confirmed) => {
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

    /// Waits until what was joined stands. Cancel-safe.
    async fn confirmed<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        link: &mut Link<S>,
        settings: &SessionSettings,
        deadline: Instant,
    ) -> Outcome {
        poll_fn(|cx| {
            // Registers for being woken, and therefore comes before the look.
            if link.poll_asked(cx).ends() {
                return Poll::Ready(Outcome::Gone);
            }
            match self.subscriber.as_ref().map(|subscriber| subscriber.joined()) {
                Some(Joined::Waiting) => {}
                Some(joined) => return Poll::Ready(Outcome::Settled(joined)),
                None => return Poll::Ready(Outcome::Gone),
            }
            if link.poll_gone(cx, settings).is_ready() {
                return Poll::Ready(Outcome::Gone);
            }
            link.poll_until(cx, deadline).map(|()| Outcome::TimedOut)
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
