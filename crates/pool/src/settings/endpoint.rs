//! Where an upstream is and how to log in there. Owns no connection; `stream` dials, `login` logs in, `url` reads the
//! text that names it.

use std::{fmt, path::PathBuf, sync::Arc};

use tls::ClientTls;
use tokio::io::DuplexStream;

use crate::settings::{ours::Ours, password::Password, tenure::Tenure};

/// An upstream: its address, and the credentials and database that its URL names.
#[derive(Clone)]
pub struct Endpoint {
    /// Where to connect.
    pub(crate) address: Address,
    /// ACL user; `None` for the password of `requirepass`.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Password>,
    /// The database that sessions begin in.
    pub db: u32,
    /// Rises when all connections are to be replaced though nothing else has changed.
    pub(crate) epoch: u64,
    /// The service whose primary is at the address, if somebody looks for it. The host is empty until it is found.
    pub(crate) service: Option<Arc<str>>,
    /// Left when the upstream is elsewhere, and ends when the address is not the primary's any more.
    pub(crate) tenure: Tenure,
    /// Connections are made as somebody of whom nothing is known, and send nothing of our own that its rights may forbid.
    pub(crate) guest: bool,
    /// The node is a replica of a cluster, whose connections say `READONLY`: without it, it sends all reads elsewhere.
    pub(crate) of_replica: bool,
    /// Why nothing is to be sent for now, if that is so.
    pub(crate) held: Option<Arc<str>>,
    /// Where connections are noted, of this and of all that is made of it.
    pub(crate) ours: Ours,
}

#[derive(Clone)]
pub(crate) enum Address {
    /// Resolved anew for each connection.
    Tcp {
        host: String,
        port: u16,
    },
    /// As `Tcp`. Without TLS until [`Endpoint::secure`] has said how: it cannot be dialled until then.
    Tls {
        host: String,
        port: u16,
        tls: Option<ClientTls>,
    },
    Unix(PathBuf),
    /// Hands the other end of an in-memory stream to whoever listens, for tests.
    Memory(async_channel::Sender<DuplexStream>),
}

impl Endpoint {
    /// An upstream at `host:port` without login.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::with_address(Address::Tcp { host: host.into(), port })
    }

    /// The primary of the service `name`, for which somebody looks: requests wait until
    /// [`Control::go`](crate::Control::go) tells where it is.
    pub fn service(name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        let held = Some(format!("no primary of {name} has been found yet").into());
        Self { held, service: Some(name), ..Self::tcp("", 0) }
    }

    pub(super) fn with_address(address: Address) -> Self {
        let (user, password, service, held) = (None, None, None, None);
        let tenure = Tenure::default();
        let (guest, of_replica, ours) = (false, false, Ours::default());
        Self { address, user, password, db: 0, epoch: 0, service, tenure, guest, of_replica, held, ours }
    }

    /// With this login.
    pub fn with_login(self, user: Option<String>, password: Option<Password>) -> Self {
        Self { user, password, ..self }
    }

    /// As somebody of whom nothing is known.
    pub(crate) fn of_guest(self) -> Self {
        Self { guest: true, ..self }
    }

    /// By TLS, once [`secure`](Self::secure) has said how.
    pub fn by_tls(mut self) -> Self {
        if let Address::Tcp { host, port } = self.address {
            self.address = Address::Tls { host, port, tls: None };
        }
        self
    }

    /// The same at `host:port`.
    pub fn at(&self, host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        let address = match &self.address {
            Address::Tls { tls, .. } => Address::Tls { host, port, tls: tls.clone() },
            Address::Tcp { .. } | Address::Unix(_) | Address::Memory(_) => Address::Tcp { host, port },
        };
        Self { address, ..self.clone() }
    }

    /// The same node, whatever becomes of the service that it belongs to, for connections of their own tenure.
    pub(crate) fn alone_at(&self, host: &str, port: u16) -> Self {
        Self { service: None, held: None, tenure: Tenure::default(), ..self.at(host, port) }
    }

    /// Nobody has found out yet where it is.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(&self.address, Address::Tcp { host, .. } | Address::Tls { host, .. } if host.is_empty())
    }

    /// Takes over from the endpoint in force what no configuration says: the state of its connections, if they lead to
    /// the same address, and where the primary of the same service is.
    pub(crate) fn succeed(&mut self, in_force: &Self) {
        if self.service.is_some() && self.service == in_force.service {
            if let Address::Tcp { host, port } | Address::Tls { host, port, .. } = &in_force.address {
                *self = self.at(host.clone(), *port);
            }
            self.held.clone_from(&in_force.held);
        }
        (self.epoch, self.ours) = (in_force.epoch, in_force.ours.clone());
        if self.is_where(in_force) {
            self.tenure = in_force.tenure.clone();
        }
    }

    /// Whether both have the same address, however connections are made to it.
    pub(crate) fn is_where(&self, other: &Self) -> bool {
        match (&self.address, &other.address) {
            (Address::Memory(one), Address::Memory(two)) => one.same_channel(two),
            (Address::Memory(_), _) | (_, Address::Memory(_)) => false,
            (_, _) => self.to_string() == other.to_string(),
        }
    }

    /// The host and the port, where it is reached by TCP.
    pub fn host_and_port(&self) -> Option<(&str, u16)> {
        match &self.address {
            Address::Tcp { host, port } | Address::Tls { host, port, .. } => Some((host, *port)),
            Address::Unix(_) | Address::Memory(_) => None,
        }
    }

    /// Whether connections are made by TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.address, Address::Tls { .. })
    }

    /// A number that changes when the content of a file for TLS does; `None` without TLS.
    pub fn tls_sum(&self) -> Option<u64> {
        match &self.address {
            Address::Tls { tls, .. } => tls.as_ref().map(ClientTls::sum),
            Address::Tcp { .. } | Address::Unix(_) | Address::Memory(_) => None,
        }
    }

    /// Has connections made by `tls`, if they are made by TLS at all.
    pub fn secure(&mut self, with: &ClientTls) {
        if let Address::Tls { tls, .. } = &mut self.address {
            *tls = Some(with.clone());
        }
    }

    /// Connections are in-memory streams of 64 KiB each way, whose other ends arrive at the receiver.
    /// For tests under a paused clock.
    pub fn memory() -> (Self, async_channel::Receiver<DuplexStream>) {
        let (sender, receiver) = async_channel::bounded(64);
        (Self::with_address(Address::Memory(sender)), receiver)
    }

    /// Whether connections of one are as good as connections of the other.
    pub(crate) fn leads_where(&self, other: &Self) -> bool {
        let same_way = match (&self.address, &other.address) {
            (Address::Tcp { .. }, Address::Tcp { .. })
            | (Address::Unix(_), Address::Unix(_))
            | (Address::Memory(_), Address::Memory(_)) => true,
            (Address::Tls { tls: one, .. }, Address::Tls { tls: two, .. }) => one == two,
            (Address::Tcp { .. } | Address::Tls { .. } | Address::Unix(_) | Address::Memory(_), _) => false,
        };
        same_way
            && self.is_where(other)
            && !self.tenure.is_left()
            && self.epoch == other.epoch
            && self.user == other.user
            && self.password == other.password
    }

    /// The request that logs in, if the upstream wants one.
    pub(crate) fn login(&self) -> Option<Vec<&[u8]>> {
        // A user without a password is one of `nopass`: any will do, and without a login this would be another user.
        let password = self.password.as_ref().map(Password::reveal).or(self.user.as_ref().map(|_| &b""[..]))?;
        Some([&b"AUTH"[..]].into_iter().chain(self.user.as_deref().map(str::as_bytes)).chain([password]).collect())
    }

    /// Whether the URL holds a password.
    pub fn has_password(&self) -> bool {
        self.password.is_some()
    }

    /// With a password that comes from elsewhere.
    pub fn with_password(mut self, password: Password) -> Self {
        self.password = Some(password);
        self
    }
}

/// The address, without credentials.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp { .. } | Address::Tls { .. } if self.is_unknown() => {
                write!(f, "service {}", self.service.as_deref().unwrap_or_default())
            }
            Address::Tcp { host, port } | Address::Tls { host, port, .. } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Address::Tcp { host, port } | Address::Tls { host, port, .. } => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Memory(_) => f.write_str("memory"),
        }
    }
}

/// As `Display`: passwords never reach a log.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self}, db {})", self.db)
    }
}
