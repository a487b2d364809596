//! The embedded upstream: a mini-redis in this process, on a loopback port of the system's choice.
//! The default when no upstream is named.

use std::{io, net::SocketAddr};

#[cfg(feature = "embedded")]
use socket2::SockRef;
use tokio::{sync::oneshot, task::JoinHandle};

/// A running mini-redis; ends when told to.
#[derive(Debug)]
pub(crate) struct Embedded {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Embedded {
    /// Starts it; where it listens.
    #[cfg(feature = "embedded")]
    pub(crate) async fn start() -> io::Result<(Self, SocketAddr)> {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        // Accepted sockets inherit it. mini-redis writes reply by reply, which without it waits for the other side's
        // delayed acknowledgements: 64 ms at the 99th percentile in the pool's example `many_producers`, 11 with it.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            // The sender sends or is dropped; both end it.
            let ended = mini_redis::server::run(listener, async { drop(stopped.await) }).await;
            if let Err(error) = ended {
                tracing::error!(%error, "embedded upstream failed");
            }
        });
        Ok((Self { stop, task }, address))
    }

    #[cfg(not(feature = "embedded"))]
    pub(crate) async fn start() -> io::Result<(Self, SocketAddr)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Ends it, after its connections have been closed.
    pub(crate) async fn stop(self) {
        // It may have ended by itself.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}
