//! The sockets that whoever started us has opened for us and keeps open, as systemd does for a `.socket` unit
//! (`LISTEN_FDS`, `LISTEN_PID`). Clients that come while one process ends and the next one starts wait in them.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    sync::Arc,
};

use listenfd::ListenFd;

/// One of the sockets.
#[derive(Debug)]
pub(crate) enum Passed {
    Tcp(TcpListener, SocketAddr),
    /// With the path of its file.
    Unix(UnixListener, Arc<str>),
}

impl Passed {
    /// The address, as `listen` would say it.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Tcp(_, address) => address.to_string(),
            Self::Unix(_, path) => format!("unix:{path}"),
        }
    }
}

/// The sockets, in the order in which they were passed. To be asked once, at the start.
///
/// # Errors
/// One of them is none on which clients come.
pub(crate) fn inherited() -> io::Result<Vec<Passed>> {
    let mut passed = ListenFd::from_env();
    (0..passed.len()).map(|index| take(&mut passed, index)).collect()
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<Passed> {
    let gone = || io::Error::other("it was taken already");
    if let Ok(socket) = passed.take_unix_listener(index) {
        let socket = socket.ok_or_else(gone)?;
        let address = socket.local_addr()?;
        let Some(path) = address.as_pathname() else {
            return Err(io::Error::other("it is a unix socket without a file"));
        };
        let path = path.to_string_lossy().into();
        return Ok(Passed::Unix(socket, path));
    }
    let socket = passed.take_tcp_listener(index)?.ok_or_else(gone)?;
    let address = socket.local_addr()?;
    Ok(Passed::Tcp(socket, address))
}
