//! Which pool of a directory: the node that its connections lead to, and the login with which they are made.

use std::{fmt, sync::Arc, time::Duration};

use crate::settings::{endpoint::Endpoint, password::Password, settings::Settings, tenure::Tenure};

/// Whom the upstream takes those for who do not say who they are.
const DEFAULT_USER: &str = "default";

/// Jobs that the queue of a further login holds, for each worker: there may be many of them.
const LOGIN_JOBS_MAX: usize = 64;

/// Names a pool of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Key {
    /// Where its connections lead.
    pub at: At,
    /// As whom.
    pub login: Login,
}

/// Where the connections of a pool lead.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum At {
    /// To the upstream that is configured and, where its primary is followed, to that.
    #[default]
    Upstream,
    /// To this node, whatever it is.
    Node {
        /// A name or an address.
        host: Arc<str>,
        /// Its port.
        port: u16,
    },
    /// To this node of a cluster, for what a replica may answer in the stead of its primary.
    Replica {
        /// A name or an address.
        host: Arc<str>,
        /// Its port.
        port: u16,
    },
}

impl At {
    /// A word for it. Two pools of one login can lead to the same node, but only for different words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Node { .. } => "node",
            Self::Replica { .. } => "replica",
        }
    }
}

/// With which login connections are made.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub enum Login {
    /// With that of the configuration.
    #[default]
    Configured,
    /// With none: as the upstream's default user, if that needs no password.
    Nobody,
    /// As this user of the upstream.
    User {
        /// As in `AUTH`; `None` where only a password is given.
        name: Option<Arc<str>>,
        /// Kept as long as the pool, and never shown.
        password: Password,
    },
}

/// Passwords never reach a log.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("Configured"),
            Self::Nobody => f.write_str("Nobody"),
            Self::User { name, .. } => f.debug_struct("User").field("name", name).finish_non_exhaustive(),
        }
    }
}

impl Login {
    /// The user's name, if it is not the login of the configuration.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Configured => None,
            Self::User { name: Some(name), .. } => Some(name),
            Self::Nobody | Self::User { name: None, .. } => Some(DEFAULT_USER),
        }
    }

    /// The same place, where connections are made with this login.
    pub(super) fn endpoint(&self, endpoint: Endpoint) -> Endpoint {
        match self {
            Self::Configured => endpoint,
            Self::Nobody => endpoint.with_login(None, None).of_guest(),
            Self::User { name, password } => {
                endpoint.with_login(name.as_deref().map(str::to_owned), Some(password.clone())).of_guest()
            }
        }
    }
}

impl Key {
    /// The upstream, with another login.
    pub fn login(login: Login) -> Self {
        Self { at: At::Upstream, login }
    }

    /// A node, with the login of the configuration.
    pub fn node(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { at: At::Node { host: host.into(), port }, login: Login::Configured }
    }

    /// A node of a cluster, for reads of its keys while it is a replica, with the login of the configuration.
    pub fn replica(host: impl Into<Arc<str>>, port: u16) -> Self {
        Self { at: At::Replica { host: host.into(), port }, login: Login::Configured }
    }

    /// Whether its pool goes where the first one goes.
    pub(super) fn follows(&self) -> bool {
        self.at == At::Upstream
    }

    /// What its pool goes by, where `first` is what the pool of the configured upstream goes by.
    pub(super) fn settings(&self, first: &Settings) -> Settings {
        let mut settings = first.clone();
        settings.endpoint = match &self.at {
            At::Upstream => Endpoint { tenure: Tenure::default(), ..first.endpoint.clone() },
            At::Node { host, port } => first.endpoint.alone_at(host, *port),
            At::Replica { host, port } => Endpoint { of_replica: true, ..first.endpoint.alone_at(host, *port) },
        };
        if !self.follows() {
            // Whoever sends to it has found out what it is, and knows of others.
            settings.role = None;
            settings.failover_wait = Duration::ZERO;
        }
        if self.login != Login::Configured {
            settings.endpoint = self.login.endpoint(settings.endpoint);
            settings.workers = first.login_workers.of(self.login.name().unwrap_or_default());
            settings.queue_capacity = settings.queue_capacity.min(LOGIN_JOBS_MAX.saturating_mul(settings.workers));
        }
        settings
    }
}
