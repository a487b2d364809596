//! Opens sessions: holds what all sessions of a gateway have in common and hands each of them its parts.

use std::sync::Arc;

use pool::{Access, Caller};
use settings::{DEFAULT_USER, SessionSettings};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

use crate::{
    command::errors,
    config::operator::Operator,
    observe::{
        address::Address,
        presence::Presence,
        published::Published,
        sharing::account::Member,
        turned_away::{Kind, TurnedAway},
    },
    pubsub::{directory::Directory, subscriptions::Subscriptions},
    session::{logins::access_of, session::Session},
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
    /// Shared pub/sub; `None` where each subscriber has a connection of its own, and the upstream is no cluster.
    directory: Option<Arc<Directory>>,
}

/// As whose client a client counts before it has said a word.
#[derive(Debug)]
pub(crate) struct Identity {
    member: Member,
    /// It has proved to be that user.
    is_named: bool,
    /// The way to the upstream as that user, if it is known there.
    access: Option<Access>,
}

impl Opener {
    pub(crate) fn new(operator: Arc<Operator>, published: Arc<Published>, directory: Option<Arc<Directory>>) -> Self {
        Self { operator, published, directory }
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

    /// Has a client count as one of `user`, which it has proved to be, or of the default user if nobody has to log in. One
    /// that is still to log in counts as nobody's.
    ///
    /// # Errors
    /// That user has as many clients as it may have; the error reply that says so.
    pub(crate) fn enter(&self, address: &Address, user: Option<&str>) -> Result<Option<Identity>, String> {
        let settings = self.settings();
        let name = match user {
            // Where the upstream decides, its session finds out.
            None if settings.users.are_required() => return Ok(None),
            None => DEFAULT_USER,
            Some(user) => user,
        };
        let is_known = settings.users.are_known_upstream();
        let access = is_known.then(|| access_of(name, &self.operator, &settings)).transpose()?;
        match self.published.accounts.enter(name, &settings.of_users) {
            Ok(member) => Ok(Some(Identity { member, is_named: user.is_some(), access })),
            Err(max) => {
                self.published.turned_away.note(Kind::UserClients, address, name);
                Err(errors::user_clients_full(name, max))
            }
        }
    }

    /// A session for a client between these `ends`, which counts as `identity` says. Its jobs go to the pool by way of
    /// `caller`. `bytes_waiting` says how much waits in the system to be read of its stream.
    pub(crate) fn open<S>(
        &self,
        stream: S,
        bytes_waiting: fn(&S) -> usize,
        ends: Ends,
        identity: Option<Identity>,
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
        let mut session = Session::new(stream, bytes_waiting, presence, caller, operator, subscriptions);
        if let Some(Identity { member, is_named, access }) = identity {
            if let Some(mut access) = access {
                access.exchange(&mut session.caller);
            }
            session.join(member, is_named);
            session.state.proven = is_named;
        }
        session
    }

    /// Asks all sessions, and those still to come, to finish what has come and to end. They read none of it after
    /// `reads_until`.
    pub(crate) fn drain(&self, reads_until: Instant) {
        self.published.registry.drain(reads_until);
    }
}
