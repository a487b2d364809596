//! What is subscribed on a connection. Of a cluster: sharded channels, whose subscription a node ends of its own accord, and
//! says so, when their slot leaves it; and names for which events of keys come, of all nodes, by way of `pubsub`. Asked by
//! `exchange`, `connection` and `lending`; `elsewhere` calls for the events.

use std::{
    collections::{BTreeMap, HashSet},
    io,
};

use bytes::Bytes;
use cluster::Cluster;
use resp::{Decoded, Request, RequestDecoder, RequestLimits, Value, write_error};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    client::state::ClientState,
    command::class::Reason,
    exclusive::{exchange::Exchange, incoming::message::subject, lending::Lending, request::ExclusiveRequest},
    pubsub::{
        message::{Kind, Name},
        request::SubscriptionRequest,
    },
};

/// Bytes of memory for a subscription, besides its name.
const SUBSCRIPTION_BYTES: usize = 64;

/// The names that are subscribed on a connection, as the upstream has confirmed them.
#[derive(Debug, Default)]
pub(in crate::exclusive) struct Names {
    /// By what they stand for.
    names: [HashSet<Vec<u8>>; 3],
    /// Of memory.
    bytes: usize,
    /// Of those that may be of events, what has changed: whether they are subscribed now.
    changed: BTreeMap<Name, bool>,
}

impl Names {
    /// Counts as `CLIENT LIST` says them: channels, patterns, sharded channels.
    pub(in crate::exclusive) fn counts(&self) -> [usize; 3] {
        [0, 1, 2].map(|kind| self.names[kind].len())
    }

    pub(in crate::exclusive) fn is_empty(&self) -> bool {
        self.names.iter().all(HashSet::is_empty)
    }

    /// Bytes of memory for them.
    pub(in crate::exclusive) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many confirmations a request gets that changes them.
    pub(in crate::exclusive) fn due(&self, request: &Request<'_>) -> usize {
        match SubscriptionRequest::of(request) {
            Some(SubscriptionRequest::Leave(kind, names)) if names.is_empty() => self.names[kind as usize].len().max(1),
            _ => (request.len() - 1).max(1),
        }
    }

    /// Takes in what confirms a subscription or its end.
    pub(in crate::exclusive) fn confirm(&mut self, message: &[u8]) {
        let Ok((confirmation, _)) = Value::decode(&Bytes::copy_from_slice(message)) else { return };
        let (Value::Array(items) | Value::Push(items)) = confirmation else { return };
        let [Some(subject), Some(name)] = [0, 1].map(|index| items.get(index).and_then(Value::as_bytes)) else {
            return;
        };
        let begins = |kind: &Kind| kind.subscribe().as_bytes() == subject;
        let is_of = |kind: &Kind| begins(kind) || kind.unsubscribe().as_bytes() == subject;
        let Some(kind) = Kind::ALL.into_iter().find(is_of) else { return };
        let (begins, bytes) = (begins(&kind), name.len() + SUBSCRIPTION_BYTES);
        let names = &mut self.names[kind as usize];
        match begins {
            true if names.insert(name.to_vec()) => self.bytes += bytes,
            false if names.remove(name) => self.bytes -= bytes,
            true | false => return,
        }
        let name = Name { kind, bytes: name.into() };
        if name.may_be_of_events() {
            self.changed.insert(name, begins);
        }
    }
}

/// The error of a connection that is given up for that.
pub(in crate::exclusive) const CUT_OFF: io::ErrorKind = io::ErrorKind::ConnectionAborted;

/// Whether a message says so: the client is closed then, as after the loss of its node. `command` is what it has asked for.
pub(in crate::exclusive) fn is_cut_off(lending: &Lending, message: &[u8], command: Option<&str>) -> bool {
    lending.node().is_some() && command != Some("sunsubscribe") && subject(message) == Some(b"sunsubscribe")
}

/// Whether a message that nobody has asked for is what a node says to `SUNSUBSCRIBE` whose slot has left it: that this is at
/// another node. It had ended the subscription of its own accord, and said so, which was taken for the answer.
pub(in crate::exclusive) fn is_belated(lending: &Lending, message: &[u8]) -> bool {
    lending.node().is_some() && message.starts_with(b"-MOVED ")
}

/// Whether that comes while a further `request` of a subscriber is under way, which is of another slot or of none.
pub(in crate::exclusive) fn is_of_former(
    lending: &Lending,
    message: &[u8],
    (request, cluster, state): (&ExclusiveRequest, &Cluster, &ClientState),
) -> bool {
    is_belated(lending, message)
        && !lending.is_in_transaction()
        && (lending.confirming || lending.is_restricted(state.needs.protocol))
        && cluster.sends_elsewhere(message, lending.node(), request.own_request(), None).is_none()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Exchange<'_, S> {
    /// Has the client get events for what `request` is to subscribe to; false if it cannot, as it has been told.
    pub(in crate::exclusive::nodes) fn join_events(&mut self, request: &ExclusiveRequest) -> bool {
        if request.reason != Reason::PubSub || self.exclusive.is_in_transaction() {
            return true;
        }
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(request.own_request()) else { return true };
        let Some(SubscriptionRequest::Join(names)) = SubscriptionRequest::of(&decoder.request(request.own_request()))
        else {
            return true;
        };
        let joined = self.subscriptions.join_events(names.into_iter(), self.link);
        if let Err(text) = &joined
            && !self.state.is_muted()
        {
            write_error(self.link.output(), text);
        }
        joined.is_ok()
    }

    /// Has the client get events for what is subscribed by now, and for nothing else; false to close the session.
    pub(in crate::exclusive::nodes) async fn follow_events(&mut self) -> bool {
        match &mut self.exclusive.listening {
            Some(listening) => {
                let changed = std::mem::take(&mut listening.names.changed);
                self.subscriptions.follow(changed, self.link, self.settings).await
            }
            None => {
                self.subscriptions.end_events();
                true
            }
        }
    }
}
