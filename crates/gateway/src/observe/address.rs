//! Where a client is, as `CLIENT LIST`, logs and spans show it.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use settings::Trusted;

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Address {
    /// The client's end of its connection, or what a load balancer said of it.
    Tcp(SocketAddr),
    /// The socket's file: the clients of a unix socket have no addresses of their own.
    Unix(Arc<str>),
    /// That of a load balancer which does not say where its client is.
    Behind(Arc<Self>),
}

impl Address {
    /// Whether the client is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
            Self::Behind(_) => false,
        }
    }

    /// Whether it is one of these. Whoever may open a unix socket is trusted by its file.
    pub(crate) fn is_of(&self, trusted: &Trusted) -> bool {
        match self {
            Self::Tcp(address) => trusted.has(address.ip()),
            Self::Unix(_) => true,
            Self::Behind(_) => false,
        }
    }

    /// The part in front of the port.
    pub(crate) fn host(&self) -> String {
        match self {
            Self::Tcp(address) => address.ip().to_string(),
            Self::Unix(path) => path.to_string(),
            Self::Behind(balancer) => balancer.host(),
        }
    }

    /// The same for all clients of a host. A network of IPv6 addresses is given to one host.
    pub(crate) fn without_port(&self) -> Self {
        let address = match self {
            Self::Tcp(address) => address,
            Self::Unix(_) => return self.clone(),
            Self::Behind(balancer) => return Self::Behind(Arc::new(balancer.without_port())),
        };
        let ip = match address.ip().to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
            ip => ip,
        };
        Self::Tcp(SocketAddr::new(ip, 0))
    }

    /// The port; 0 for a unix socket.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Tcp(address) => address.port(),
            Self::Unix(_) => 0,
            Self::Behind(balancer) => balancer.port(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// As in Redis: `host:port`, or `/path:0` for a unix socket.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{path}:0"),
            Self::Behind(balancer) => balancer.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_shown_as_redis_shows_them() {
        let tcp = |text: &str| Address::Tcp(text.parse().expect("an address"));
        for (address, shown, is_local, port) in [
            (tcp("127.0.0.1:5"), "127.0.0.1:5", true, 5),
            (tcp("[::ffff:127.0.0.1]:5"), "[::ffff:127.0.0.1]:5", true, 5),
            (tcp("192.0.2.1:5"), "192.0.2.1:5", false, 5),
            (Address::Unix("/run/r.sock".into()), "/run/r.sock:0", true, 0),
            (Address::Behind(tcp("127.0.0.1:5").into()), "127.0.0.1:5", false, 5),
        ] {
            assert_eq!((address.to_string().as_str(), address.is_local(), address.port()), (shown, is_local, port));
        }
    }
}
