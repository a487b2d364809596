//! Opens sessions: holds what all sessions of a gateway have in common and hands each of them its parts.

use std::sync::Arc;

use cluster::Cluster;
use pool::Caller;
use settings::SessionSettings;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    config::operator::Operator,
    observe::{
        address::Address,
        presence::Presence,
        published::Published,
        turned_away::{Kind, TurnedAway},
    },
    pubsub::{directory::Directory, subscriptions::Subscriptions},
    session::session::Session,
};

/// Both ends of a client's connection.
// Open: a plain value, made by the listener for one client.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) client: Address,
    /// The gateway's own.
    pub(crate) local: Address,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    operator: Arc<Operator>,
    published: Arc<Published>,
    /// Shared pub/sub; `None` where each subscriber has a connection of its own.
    directory: Option<Arc<Directory>>,
    /// The upstream is a cluster.
    cluster: Option<Cluster>,
}

impl Opener {
    pub(crate) fn new(
        operator: Arc<Operator>,
        published: Arc<Published>,
        directory: Option<Arc<Directory>>,
        cluster: Option<Cluster>,
    ) -> Self {
        Self { operator, published, directory, cluster }
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<SessionSettings> {
        self.operator.sessions()
    }

    /// Counts a client at `address` that was not let in.
    pub(crate) fn refused(&self, address: &Address) {
        self.published.counts.clients_refused.add_one();
        self.published.turned_away.note(Kind::ClientsMax, address, "");
    }

    /// Where clients are told of that could not be served.
    pub(crate) fn turned_away(&self) -> &TurnedAway {
        &self.published.turned_away
    }

    /// A session for a client between these `ends`, which has proved to be `user` if it has proved anything. Its jobs go to the
    /// pool by way of `caller`. `bytes_waiting` says how much waits in the system to be read of its stream.
    pub(crate) fn open<S>(
        &self,
        stream: S,
        bytes_waiting: fn(&S) -> usize,
        ends: Ends,
        user: Option<String>,
        caller: Caller,
    ) -> Session<S>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.published.counts.clients_accepted.add_one();
        let presence = Presence::new(&self.published, ends.client, ends.local, caller.progress());
        tracing::debug!(client = presence.id(), address = %presence.address(), "client connected");
        let subscriptions = Subscriptions::new(self.directory.clone());
        let operator = Arc::clone(&self.operator);
        let upstream = (caller, self.cluster.clone());
        let mut session = Session::new(stream, bytes_waiting, presence, upstream, operator, subscriptions);
        if let Some(user) = user {
            session.log_in(user);
        }
        session
    }

    /// Asks all sessions, and those still to come, to finish what has come and to end. They read none of it after
    /// `reads_until`.
    pub(crate) fn drain(&self, reads_until: Instant) {
        self.published.registry.drain(reads_until);
    }
}
