//! Classes of commands: what is done with a request of each. Which command is of which class is in `classify`; what a
//! class means is in `session`.

use settings::SessionSettings;

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Into the queue. `read_only` requests change nothing and may be sent twice.
    Plain { read_only: bool },
    /// The gateway replies itself, from what it knows of the client.
    Local(Local),
    /// Opens a transaction: part of a burst if its `EXEC` is there too, otherwise an exclusive connection.
    Multi,
    /// Ends a transaction.
    Exec,
    /// Needs an exclusive connection.
    Exclusive(Reason),
    /// Nobody here has heard of it: the upstream is asked what it is.
    Unheard,
    /// Would harm those who share the upstream, or means nothing behind a gateway.
    Refused(&'static str),
    /// What a browser or a cross-protocol attack sends: Redis closes at once, and so do we. Also the header of a load
    /// balancer that takes us for somebody who knows the PROXY protocol.
    Attack,
}

/// What is behind the gateway, as far as classes depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// mini-redis in this process, which lacks even `PING`.
    Embedded,
    /// One Redis.
    Redis,
    /// A cluster.
    Cluster,
}

impl Upstream {
    pub(crate) fn of(settings: &SessionSettings) -> Self {
        match (settings.embedded, settings.in_cluster) {
            (true, _) => Self::Embedded,
            (false, true) => Self::Cluster,
            (false, false) => Self::Redis,
        }
    }
}

/// Commands to which the gateway replies itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Local {
    Auth,
    Hello,
    Select,
    Quit,
    Ping,
    Echo,
    /// What the embedded upstream would choke on.
    EmbeddedFault,
    ClientId,
    ClientGetName,
    ClientSetName,
    ClientSetInfo,
    ClientReply,
    ClientList,
    ClientInfo,
    ClientKill,
    ClientUnblock,
    ClientNoEvict,
    ClientUnknown,
    /// `DISCARD` where there is no transaction.
    DiscardWithoutMulti,
    /// `UNWATCH` where nothing is watched.
    Unwatch,
    /// `UNSUBSCRIBE` and its kin where nothing is subscribed.
    Unsubscribe,
    /// About the cluster that clients are to see, or not to see.
    NoCluster,
    Reset,
    /// `INFO` about clients, or with the gateway's own section.
    Info,
    /// The console.
    Respool,
}

/// Why a request needs an exclusive connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Transaction,
    Watch,
    /// Waits in the upstream, for as long as it says.
    Blocking,
    /// `WAIT` and `WAITAOF`, which ask about the connection's own last write.
    Wait,
    PubSub,
    Monitor,
    Tracking,
    NoTouch,
    ImportSource,
    /// One request that has to overtake, or may disturb, those who share.
    Other,
}

impl Reason {
    /// All of them.
    pub(crate) const ALL: [Self; 10] = [
        Self::Transaction,
        Self::Watch,
        Self::Blocking,
        Self::Wait,
        Self::PubSub,
        Self::Monitor,
        Self::Tracking,
        Self::NoTouch,
        Self::ImportSource,
        Self::Other,
    ];

    /// As people read it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Watch => "watch",
            Self::Blocking => "blocking",
            Self::Wait => "wait",
            Self::PubSub => "pubsub",
            Self::Monitor => "monitor",
            Self::Tracking => "tracking",
            Self::NoTouch => "no_touch",
            Self::ImportSource => "import_source",
            Self::Other => "other",
        }
    }
}
