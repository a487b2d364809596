//! A session's requests and messages in shared pub/sub. Subscribing waits for the upstream's confirmation
//! (or to be asked to end, or for the client to go, or for `reply_timeout`); nothing else here waits.
//! Who speaks RESP2 and is subscribed may do little else, as with Redis.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
};

use pool::JobError;
use resp::{Protocol, Request, write_array, write_bulk, write_error};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    command::class::{Class, Here, Reason},
    observe::registry::Asked,
    pubsub::{
        cursor::Missed,
        directory::Standing,
        message::{Kind, Name, confirmation},
        subscriber::Subscriber,
    },
    session::session::Session,
    wording::errors,
};

/// Bytes of messages that are passed on in one write.
const MESSAGES_BYTES: usize = 64 * 1024;

/// Commands whose errors name the subcommand too.
const CONTAINERS: [&str; 15] = [
    "acl", "client", "cluster", "command", "config", "function", "latency", "memory", "module", "object", "pubsub",
    "script", "slowlog", "xgroup", "xinfo",
];

/// A request that changes subscriptions, copied out of the input.
#[derive(Debug)]
pub(crate) enum Subscription {
    Join(Vec<Name>),
    /// All of the kind where there are no names.
    Leave(Kind, Vec<Name>),
    /// No names where there have to be some.
    Malformed(Kind),
}

impl Subscription {
    /// `None` for any other request.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let command = request.arg(0).unwrap_or_default();
        let is = |name: &str| command.eq_ignore_ascii_case(name.as_bytes());
        let names = |kind| request.args().skip(1).map(|name| Name { kind, bytes: name.into() }).collect();
        Kind::ALL.into_iter().find_map(|kind| match () {
            () if is(kind.subscribe()) && request.len() == 1 => Some(Self::Malformed(kind)),
            () if is(kind.subscribe()) => Some(Self::Join(names(kind))),
            () if is(kind.unsubscribe()) => Some(Self::Leave(kind, names(kind))),
            () => None,
        })
    }
}

/// Answers a request that a subscriber may not make, and `PING`, whose answer is another then.
pub(crate) fn answer_restricted(request: &Request<'_>, out: &mut Vec<u8>) {
    let lower = |index| String::from_utf8_lossy(request.arg(index).unwrap_or_default()).to_ascii_lowercase();
    let mut command = lower(0);
    if command == "ping" {
        if request.len() > 2 {
            return write_error(out, &errors::wrong_arity("ping"));
        }
        write_array(out, 2);
        write_bulk(out, b"pong");
        return write_bulk(out, request.arg(1).unwrap_or_default());
    }
    if request.len() > 1 && CONTAINERS.contains(&command.as_str()) {
        command = format!("{command}|{}", lower(1));
    }
    let text = errors::restricted(&command);
    match text.strip_prefix("ERR ") {
        // There was no transaction, but Redis takes it for one that goes wrong.
        Some(reason) if command == "exec" => {
            write_error(out, &format!("EXECABORT Transaction discarded because of: {reason}"));
        }
        _ => write_error(out, &text),
    }
}

/// What became of the names that a session has joined.
enum Outcome {
    Standing(Standing),
    TimedOut,
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Whether a request changes subscriptions that are shared.
    pub(crate) fn subscribes_shared(&self, class: Class) -> bool {
        let subscribes = matches!(class, Class::Exclusive(Reason::PubSub) | Class::Here(Here::Unsubscribe));
        subscribes && self.context.feeds.is_some() && !self.is_in_multi()
    }

    /// Whether a request would change shared subscriptions from within a transaction.
    pub(crate) fn subscribes_in_multi(&self, class: Class) -> bool {
        let subscribes = matches!(class, Class::Exclusive(Reason::PubSub) | Class::Here(Here::Unsubscribe));
        subscribes && self.context.feeds.is_some() && self.is_in_multi()
    }

    fn is_in_multi(&self) -> bool {
        self.lending.as_ref().is_some_and(|lending| lending.multi)
    }

    /// Whether the session has shared subscriptions.
    pub(crate) fn is_subscribed_shared(&self) -> bool {
        self.subscriber.as_ref().is_some_and(|subscriber| subscriber.is_subscribed())
    }

    /// Whether all but a few requests get an error because of shared subscriptions.
    pub(crate) fn is_restricted(&self) -> bool {
        self.state.needs.protocol == Protocol::Resp2 && self.is_subscribed_shared()
    }

    /// Changes subscriptions and says so to the client; false to close the session.
    pub(crate) async fn change_subscriptions(&mut self, subscription: Subscription) -> bool {
        let protocol = self.state.needs.protocol;
        match subscription {
            Subscription::Malformed(kind) => {
                write_error(&mut self.output, &errors::wrong_arity(kind.subscribe()));
                true
            }
            Subscription::Leave(kind, names) => {
                match &mut self.subscriber {
                    Some(subscriber) => subscriber.unsubscribe(kind, names, protocol, &mut self.output),
                    None => {
                        let names = names.iter().map(|name| Some(&*name.bytes)).collect::<Vec<_>>();
                        let names = if names.is_empty() { vec![None] } else { names };
                        names.into_iter().for_each(|name| {
                            confirmation(kind.unsubscribe(), name, 0, protocol, &mut self.output);
                        });
                    }
                }
                self.end_subscriber_if_over();
                true
            }
            Subscription::Join(names) => self.subscribe(&names).await,
        }
    }

    async fn subscribe(&mut self, names: &[Name]) -> bool {
        let Some(feeds) = &self.context.feeds else { return false };
        let subscriber = self
            .subscriber
            .get_or_insert_with(|| Box::new(Subscriber::new(Arc::clone(feeds), Arc::clone(&self.entry))));
        if !subscriber.join(names) {
            let text = errors::subscriptions_full(feeds.settings.subscriptions_max);
            write_error(&mut self.output, &text);
            self.end_subscriber_if_over();
            return true;
        }
        if subscriber.standing() == Standing::Waiting {
            self.flush().await;
        }
        let reply_timeout = self.settings.reply_timeout;
        let failure = match self.confirmed(Instant::now() + reply_timeout).await {
            Outcome::Gone => return false,
            Outcome::Standing(Standing::Waiting | Standing::Confirmed) => {
                if let Some(subscriber) = &mut self.subscriber {
                    subscriber.confirm(names, self.state.needs.protocol, &mut self.output);
                }
                return true;
            }
            Outcome::Standing(Standing::Refused(text)) => JobError::StateRefused(text),
            Outcome::Standing(Standing::Down(reason)) => JobError::UpstreamDown(reason),
            Outcome::TimedOut => JobError::ReplyTimeout(reply_timeout),
        };
        write_error(&mut self.output, &errors::job(&failure, &self.settings));
        if let Some(subscriber) = &mut self.subscriber {
            subscriber.give_up();
        }
        self.end_subscriber_if_over();
        true
    }

    /// Waits until what was joined stands. Cancel-safe.
    async fn confirmed(&mut self, deadline: Instant) -> Outcome {
        poll_fn(|cx| {
            // Registers for being woken, and therefore comes before the look.
            if self.entry.poll_asked(cx) == Asked::Kill {
                return Poll::Ready(Outcome::Gone);
            }
            match self.subscriber.as_ref().map(|subscriber| subscriber.standing()) {
                Some(Standing::Waiting) => {}
                Some(standing) => return Poll::Ready(Outcome::Standing(standing)),
                None => return Poll::Ready(Outcome::Gone),
            }
            let backlog = self.settings.backlog_bytes_max;
            if self.input.poll_backlog(&mut self.stream, cx, backlog).is_ready() {
                return Poll::Ready(Outcome::Gone);
            }
            self.alarm.poll_until(cx, deadline).map(|()| Outcome::TimedOut)
        })
        .await
    }

    fn end_subscriber_if_over(&mut self) {
        self.subscriber.take_if(|subscriber| !subscriber.is_subscribed());
    }

    /// Appends the messages that are there to the output; an error when the session has missed some and is to
    /// be closed. The task is woken when there are more.
    pub(crate) fn take_messages(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(subscriber) = &mut self.subscriber else { return Ok(()) };
        self.entry.poll_asked(cx);
        let bytes_max = self.output.len() + MESSAGES_BYTES;
        let Err(missed) = subscriber.deliver(self.state.needs.protocol, &mut self.output, bytes_max) else {
            return Ok(());
        };
        let text = match (missed, &self.context.feeds) {
            (Missed::Overrun(missed), Some(feeds)) => {
                let (closed, bound) = (feeds.count_overrun(), feeds.settings.backlog_messages);
                tracing::warn!(client = self.entry.id, missed, closed, "subscriber too slow, closing it");
                errors::overrun(bound, missed)
            }
            (Missed::Gone, Some(feeds)) => {
                let (closed, bound) = (feeds.count_overrun(), feeds.settings.backlog_bytes_max);
                tracing::warn!(
                    client = self.entry.id,
                    closed,
                    "no room for what a slow subscriber has to read, closing it"
                );
                errors::backlog_full(bound)
            }
            (Missed::Overrun(_) | Missed::Gone | Missed::Ended, _) => errors::SUBSCRIPTION_ENDED.to_owned(),
        };
        write_error(&mut self.output, &text);
        self.subscriber = None;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}
