//! The socket that whoever started us has opened for us and keeps open, as systemd does for a `.socket` unit
//! (`LISTEN_FDS`, `LISTEN_PID`). Clients that come while one process ends and the next one starts wait in it.

use std::{io, net::TcpListener};

use listenfd::ListenFd;

/// The socket, if there is one. To be asked once, at the start.
///
/// # Errors
/// There are several, or it is none on which TCP clients come.
pub(crate) fn inherited() -> io::Result<Option<TcpListener>> {
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => Ok(None),
        1 => passed.take_tcp_listener(0),
        count => Err(io::Error::other(format!("LISTEN_FDS passes {count} sockets, expected one"))),
    }
}
