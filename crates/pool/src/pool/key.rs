//! Which pool of a directory: the node that its connections lead to, and the login with which they are made.

use std::{sync::Arc, time::Duration};

use crate::settings::{endpoint::Endpoint, login::Login, settings::Settings, tenure::Tenure};

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

    /// Whether it is one of a further login.
    pub(super) fn is_of_guest(&self) -> bool {
        self.login != Login::Configured
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
        if self.is_of_guest() {
            settings.endpoint = self.login.endpoint(settings.endpoint);
            settings.workers = first.login_workers.of(self.login.name().unwrap_or_default());
            settings.queue_capacity = settings.queue_capacity.min(LOGIN_JOBS_MAX.saturating_mul(settings.workers));
        }
        settings
    }
}
