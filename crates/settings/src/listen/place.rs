//! Where an address to listen on leads: to TCP addresses, or to a file of a unix socket. A part of `listen`.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
};

use thiserror::Error;

/// Bytes of a path that fit into the system's address of a unix socket, with room for the suffix of a new file that
/// replaces an old one.
const PATH_BYTES_MAX: usize = 103;

/// Where clients connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Several addresses where a name has several; the first that can be bound counts.
    Tcp(Vec<SocketAddr>),
    /// A unix socket.
    Unix(UnixPlace),
    /// Wherever the socket of this name is, which somebody else opens and passes.
    Passed(String),
}

/// The file of a unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixPlace {
    /// Absolute.
    pub path: PathBuf,
    /// Permissions, if not those of the process's umask.
    pub mode: Option<u32>,
    /// The group, if not that of the process.
    pub gid: Option<u32>,
}

impl Place {
    /// Whether clients of other machines can come there.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Tcp(addresses) => addresses.iter().any(|address| !address.ip().is_loopback()),
            // What it is passed as is looked at once it is.
            Self::Unix(_) | Self::Passed(_) => false,
        }
    }

    /// Whether sockets at both would be in each other's way.
    pub(crate) fn collides(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(ones), Self::Tcp(others)) => {
                ones.iter().any(|one| others.iter().any(|other| addresses_collide(*one, *other)))
            }
            (Self::Unix(one), Self::Unix(other)) => one.path == other.path,
            (Self::Passed(one), Self::Passed(other)) => one == other,
            (Self::Tcp(_) | Self::Unix(_) | Self::Passed(_), _) => false,
        }
    }

    /// Whether a connection to `address`, as an upstream is shown, would come here.
    pub(crate) fn is_at(&self, address: &str) -> bool {
        match self {
            Self::Tcp(ones) => known(address).any(|address| ones.iter().any(|one| leads_to(address, *one))),
            Self::Unix(unix) => unix.path.as_os_str() == address,
            Self::Passed(_) => false,
        }
    }

    /// Whether this is where a bound socket says that it is.
    pub(crate) fn is_bound_at(&self, bound: &str) -> bool {
        match self {
            Self::Tcp(addresses) => addresses.iter().any(|address| address.to_string() == bound),
            Self::Passed(_) => false,
            Self::Unix(place) => bound.strip_prefix("unix:").is_some_and(|path| place.path == *Path::new(path)),
        }
    }
}

/// Whether two sockets would be at the same port of the same address, or one of them at all addresses.
fn addresses_collide(one: SocketAddr, other: SocketAddr) -> bool {
    let all = |address: SocketAddr| address.ip().is_unspecified();
    let same = one.ip() == other.ip() || (one.is_ipv4() == other.is_ipv4() && (all(one) || all(other)));
    // An IPv6 socket at all addresses takes those of IPv4 too.
    let both = [one, other].into_iter().any(|address| address.is_ipv6() && all(address));
    one.port() != 0 && one.port() == other.port() && (same || both)
}

/// Where `host:port` is, as far as that is known without asking a name server: this machine by its usual name, and
/// numbers in any spelling that the system takes.
fn known(address: &str) -> impl Iterator<Item = SocketAddr> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let is_number = host.bytes().all(|byte| byte.is_ascii_hexdigit() || b".:[]xX".contains(&byte))
        && host.bytes().any(|byte| byte.is_ascii_digit() || byte == b':');
    let found = (is_number || host.eq_ignore_ascii_case("localhost")).then(|| address.to_socket_addrs());
    found.into_iter().flatten().flatten().map(|found| SocketAddr::new(found.ip().to_canonical(), found.port()))
}

/// Whether a connection to `address` comes to a socket at `listen`, as far as an address can tell.
fn leads_to(address: SocketAddr, listen: SocketAddr) -> bool {
    let here = address.ip().is_loopback() || address.ip().is_unspecified();
    let reached = address.ip() == listen.ip() || (here && (listen.ip().is_unspecified() || listen.ip().is_loopback()));
    listen.port() != 0 && listen.port() == address.port() && reached
}

/// Why there is no such place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// Only a port.
    #[error("no host in front of the port; write 127.0.0.1:{0}, or 0.0.0.0:{0} for all addresses")]
    Host(String),
    /// No port.
    #[error("no port; write host:port, as 127.0.0.1:6380")]
    NoPort,
    /// A space, as is left by copying.
    #[error("an address holds no space")]
    Space,
    /// A port that there is not.
    #[error("the port is not a number from 0 to 65535")]
    Port,
    /// An IPv6 address without brackets.
    #[error("an IPv6 address stands in brackets, as [::1]:6380")]
    Brackets,
    /// A name that cannot be looked up, or an address that is none; holds why.
    #[error("the host cannot be found: {0}")]
    Lookup(String),
    /// A socket that is passed, without its name.
    #[error("a socket that is passed needs its name, as fd:respool.socket")]
    NoName,
    /// A path that depends on where the process runs.
    #[error("the path does not begin with /")]
    Relative,
    /// The path of a directory.
    #[error("the path names no file")]
    NoFile,
    /// A path that does not fit.
    #[error("the path is longer than {PATH_BYTES_MAX} bytes, which the system does not take")]
    TooLong,
}

/// `host:port`, looked up.
pub(crate) fn tcp(text: &str) -> Result<Place, PlaceError> {
    if text.contains(char::is_whitespace) {
        return Err(PlaceError::Space);
    }
    if text.ends_with(']') {
        return Err(PlaceError::NoPort);
    }
    let (host, port) = text.rsplit_once(':').ok_or(PlaceError::NoPort)?;
    if host.is_empty() || host == "*" {
        return Err(PlaceError::Host(port.to_owned()));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(PlaceError::Brackets);
    }
    let digits = port.bytes().all(|digit| digit.is_ascii_digit());
    port.parse::<u16>().ok().filter(|_| digits).ok_or(PlaceError::Port)?;
    match text.to_socket_addrs() {
        Ok(addresses) => Ok(Place::Tcp(addresses.collect())),
        Err(error) => Err(PlaceError::Lookup(error.to_string())),
    }
}

/// The name of a socket that is passed.
pub(crate) fn passed(name: &str) -> Result<Place, PlaceError> {
    if name.is_empty() {
        return Err(PlaceError::NoName);
    }
    Ok(Place::Passed(name.to_owned()))
}

/// An absolute path.
pub(crate) fn unix(path: &str) -> Result<Place, PlaceError> {
    if !path.starts_with('/') {
        return Err(PlaceError::Relative);
    }
    if path.ends_with('/') {
        return Err(PlaceError::NoFile);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(PlaceError::TooLong);
    }
    Ok(Place::Unix(UnixPlace { path: PathBuf::from(path), mode: None, gid: None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_copying_leaves_is_told() {
        for (text, why) in [
            ("*:6380", PlaceError::Host("6380".into())),
            ("[::1]", PlaceError::NoPort),
            ("localhost", PlaceError::NoPort),
            ("127.0.0.1:6380 ", PlaceError::Space),
            ("", PlaceError::NoPort),
            ("127.0.0.1:", PlaceError::Port),
            ("127.0.0.1:+1", PlaceError::Port),
        ] {
            assert_eq!(tcp(text), Err(why), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known_however_its_address_is_written() {
        let place = tcp("127.0.0.1:6380").expect("an address");
        for here in ["127.0.0.1:6380", "localhost:6380", "LocalHost:6380", "127.1:6380", "[::ffff:127.0.0.1]:6380"] {
            assert!(place.is_at(here), "{here}");
        }
        for elsewhere in ["127.0.0.1:6379", "localhost:6379", "192.0.2.1:6380", "cafe:6380", "redis:6380", ""] {
            assert!(!place.is_at(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn sockets_collide_on_the_same_port_of_the_same_or_of_all_addresses() {
        let collides = |one: &str, other: &str| {
            let (one, other) = (tcp(one).expect("valid"), tcp(other).expect("valid"));
            assert_eq!(one.collides(&other), other.collides(&one));
            one.collides(&other)
        };
        assert!(collides("127.0.0.1:1", "127.0.0.1:1") && collides("0.0.0.0:1", "127.0.0.1:1"));
        assert!(collides("[::]:1", "127.0.0.1:1") && collides("[::]:1", "[::1]:1"));
        assert!(!collides("127.0.0.1:1", "127.0.0.1:2") && !collides("127.0.0.1:1", "127.0.0.2:1"));
        assert!(!collides("127.0.0.1:0", "127.0.0.1:0") && !collides("0.0.0.0:1", "[::1]:1"));
        let unix = unix("/run/r").expect("valid");
        assert!(unix.collides(&unix) && !unix.collides(&tcp("127.0.0.1:1").expect("valid")));
        assert!(unix.is_at("/run/r") && !unix.is_at("127.0.0.1:1"));
        let all = tcp("0.0.0.0:1").expect("valid");
        assert!(all.is_at("127.0.0.1:1") && all.is_at("[::1]:1") && !all.is_at("192.0.2.7:1") && !all.is_at("host:1"));
    }
}
