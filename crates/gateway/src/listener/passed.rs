//! The sockets that whoever started us has opened for us and keeps open, as systemd does for a `.socket` unit
//! (`LISTEN_FDS`, `LISTEN_PID`, `LISTEN_FDNAMES`). Clients that come while one process ends and the next one starts wait
//! in them.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    os::{fd::AsFd, unix::net::UnixListener},
    sync::Arc,
};

use listenfd::ListenFd;
use settings::PassedSocket;
use socket2::SockRef;

/// One of the sockets.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(super) socket: PassedListener,
    /// What whoever passed it calls it; empty if it has no name.
    name: String,
}

/// What it is.
#[derive(Debug)]
pub(super) enum PassedListener {
    Tcp(TcpListener, SocketAddr),
    /// With the path of its file.
    Unix(UnixListener, Arc<str>),
}

impl Passed {
    /// Its name, and its address as `listen` would say it.
    pub(crate) fn described(&self) -> PassedSocket {
        let address = match &self.socket {
            PassedListener::Tcp(_, address) => address.to_string(),
            PassedListener::Unix(_, path) => format!("unix:{path}"),
        };
        PassedSocket { address, name: self.name.clone() }
    }
}

/// The sockets, in the order in which they were passed. To be asked once, at the start.
///
/// # Errors
/// One of them is none on which clients come.
pub(crate) fn inherited() -> io::Result<Vec<Passed>> {
    let mut passed = ListenFd::from_env();
    // They mean nothing if the sockets are for another process, of which there are none here then.
    let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names = names.split(':').chain(std::iter::repeat(""));
    let named = (0..passed.len()).zip(names);
    named.map(|(index, name)| Ok(Passed { socket: take(&mut passed, index)?, name: name.to_owned() })).collect()
}

fn take(passed: &mut ListenFd, index: usize) -> io::Result<PassedListener> {
    let gone = || io::Error::other("it was taken already");
    if let Ok(socket) = passed.take_unix_listener(index) {
        let socket = socket.ok_or_else(gone)?;
        let address = socket.local_addr()?;
        let Some(path) = address.as_pathname() else {
            return Err(io::Error::other("it is a unix socket without a file"));
        };
        expect_listening(&socket)?;
        let path = path.to_string_lossy().into();
        return Ok(PassedListener::Unix(socket, path));
    }
    let socket = passed.take_tcp_listener(index)?.ok_or_else(gone)?;
    expect_listening(&socket)?;
    let address = socket.local_addr()?;
    Ok(PassedListener::Tcp(socket, address))
}

/// One that only has an address takes no client, and would say so at each.
fn expect_listening(socket: &impl AsFd) -> io::Result<()> {
    if SockRef::from(socket).is_listener()? {
        return Ok(());
    }
    Err(io::Error::other("it has an address and does not listen"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn a_socket_that_only_has_an_address_is_refused() {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        let refusal = expect_listening(&socket).expect_err("nobody listens").to_string();
        assert_eq!(refusal, "it has an address and does not listen");
        socket.listen(1).expect("it can");
        expect_listening(&socket).expect("it listens");
    }
}
