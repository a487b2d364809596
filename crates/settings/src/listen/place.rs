//! Where an address to listen on leads: to TCP addresses, or to a file of a unix socket. A part of `listen`.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
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

/// Why there is no such place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlaceError {
    /// Only a port.
    #[error("no host in front of the port; write 127.0.0.1:{0}, or 0.0.0.0:{0} for all addresses")]
    Host(String),
    /// No port.
    #[error("no port; write host:port, as 127.0.0.1:6380")]
    NoPort,
    /// A port that there is not.
    #[error("the port is not a number from 0 to 65535")]
    Port,
    /// An IPv6 address without brackets.
    #[error("an IPv6 address stands in brackets, as [::1]:6380")]
    Brackets,
    /// A name that cannot be looked up, or an address that is none; holds why.
    #[error("the host cannot be found: {0}")]
    Lookup(String),
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
    let (host, port) = text.rsplit_once(':').ok_or(PlaceError::NoPort)?;
    if host.is_empty() {
        return Err(PlaceError::Host(port.to_owned()));
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(PlaceError::Brackets);
    }
    port.parse::<u16>().map_err(|_| PlaceError::Port)?;
    match text.to_socket_addrs() {
        Ok(addresses) => Ok(Place::Tcp(addresses.collect())),
        Err(error) => Err(PlaceError::Lookup(error.to_string())),
    }
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
