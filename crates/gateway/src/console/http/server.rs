//! Metrics, health and the web console over HTTP, on an address of their own. A visitor that is slow or asks too
//! much is closed; none can reach the clients of Redis from here, nor keep them or a health check waiting.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::channel::Sender;
use hyper::{Request, Response, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use settings::HttpSettings;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{sleep, timeout},
};

use crate::console::http::{
    live,
    routes::{self, Body, Site},
    source::Source,
    visitors::{Place, Visitors},
};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long accepting pauses when it fails.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound address and those who ask there.
#[derive(Debug)]
pub(crate) struct Http {
    socket: TcpListener,
    site: Arc<Site>,
    visitors: Visitors,
    /// Web consoles that are open.
    consoles: Arc<AtomicUsize>,
}

impl Http {
    pub(crate) async fn bind(address: SocketAddr, settings: HttpSettings, source: Source) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        let is_local = socket.local_addr()?.ip().to_canonical().is_loopback();
        let visitors = Visitors::new(settings.connections_max);
        let site = Arc::new(Site { source, settings, is_local });
        Ok(Self { socket, site, visitors, consoles: Arc::default() })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer),
                    Err(error) => {
                        tracing::debug!(%error, "accept failed");
                        sleep(PAUSE).await;
                    }
                },
                () = self.visitors.ended() => {}
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let (site, consoles) = (Arc::clone(&self.site), Arc::clone(&self.consoles));
        self.visitors.admit(|place| serve((stream, peer), place, site, consoles));
    }
}

/// Serves one connection: one request, with a time for it and its reply, unless it is a web console's.
async fn serve((stream, peer): (TcpStream, SocketAddr), place: Place, site: Arc<Site>, consoles: Arc<AtomicUsize>) {
    let limit = site.settings.timeout;
    let (opened, opens) = oneshot::channel();
    let opened = Mutex::new(Some(opened));
    let service = service_fn(|request: Request<hyper::body::Incoming>| respond(request, peer, &site, &opened));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "answering over HTTP failed");
        },
        () = watch_over(opens, &place, &site, &consoles) => tracing::debug!("client over HTTP took too long"),
    }
}

/// Where a web console is opened, the other end of its body goes.
type Opened = Mutex<Option<oneshot::Sender<Sender<Bytes>>>>;

async fn respond(
    request: Request<hyper::body::Incoming>,
    peer: SocketAddr,
    site: &Site,
    opened: &Opened,
) -> Result<Response<Body>, Infallible> {
    let (response, live) = routes::answer(site, peer, request.method(), request.uri().path(), request.headers()).await;
    let opened = live.and_then(|live| Some((opened.lock().unwrap_or_else(PoisonError::into_inner).take()?, live)));
    if let Some((opened, live)) = opened {
        // The connection that waits for it is this one.
        let _ = opened.send(live);
    }
    Ok(response)
}

/// Ends when the connection has had its time, having fed a web console meanwhile.
async fn watch_over(opens: oneshot::Receiver<Sender<Bytes>>, place: &Place, site: &Site, consoles: &AtomicUsize) {
    let limit = site.settings.timeout;
    // It was none, or it is one too many: its body ends at once, and the browser tries again later.
    let Ok(Ok(live)) = timeout(limit, opens).await else { return };
    let _open = Open::new(consoles);
    if consoles.load(Ordering::Relaxed) <= site.settings.consoles_max {
        place.give_up();
        live::feed(&site.source, live, limit).await;
    }
}

/// Counts a web console while it is open.
struct Open<'c>(&'c AtomicUsize);

impl<'c> Open<'c> {
    fn new(consoles: &'c AtomicUsize) -> Self {
        consoles.fetch_add(1, Ordering::Relaxed);
        Self(consoles)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
