//! Metrics and health over HTTP, on an address of their own. A client that is slow or asks too much is
//! closed; none can reach the clients of Redis from here, nor keep them waiting.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Bytes, header, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use pool::Upstream;
use settings::HttpSettings;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    console::{
        rows::{Cell, Row},
        views::{self, Clients},
    },
    metrics::families,
    session::context::Context,
};

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How long accepting pauses when it fails.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound address and those who ask there.
#[derive(Debug)]
pub(crate) struct Http {
    socket: TcpListener,
    context: Arc<Context>,
    settings: HttpSettings,
    clients: JoinSet<()>,
}

impl Http {
    pub(crate) async fn bind(address: SocketAddr, settings: HttpSettings, context: Arc<Context>) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { socket, context, settings, clients: JoinSet::new() })
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let room = self.clients.len() < self.settings.connections_max;
            tokio::select! {
                accepted = self.socket.accept(), if room => match accepted {
                    Ok((stream, _)) => drop(self.clients.spawn(serve(stream, Arc::clone(&self.context), self.settings.timeout))),
                    Err(error) => {
                        tracing::debug!(%error, "accept failed");
                        sleep(PAUSE).await;
                    }
                },
                Some(ended) = self.clients.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "answering over HTTP ended unexpectedly");
                    }
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, context: Arc<Context>, limit: Duration) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| {
        let context = Arc::clone(&context);
        async move { Ok::<_, Infallible>(answer(request.method(), request.uri().path(), &context).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(limit, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "answering over HTTP failed"),
        Err(_) => tracing::debug!("client over HTTP took too long"),
    }
}

async fn answer(method: &Method, path: &str, context: &Arc<Context>) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match path {
        "/metrics" => match families::text(context).await {
            Ok(text) => response(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", text),
            Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        },
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" => match unready(context) {
            None => plain(StatusCode::OK, "ready\n"),
            Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
        },
        "/status" => response(StatusCode::OK, "application/json", status(context).await.to_string()),
        _ => plain(StatusCode::NOT_FOUND, "there are /metrics, /healthz, /readyz and /status\n"),
    }
}

/// Why no client should be sent here, if so.
fn unready(context: &Context) -> Option<String> {
    if context.registry.is_draining() {
        return Some("draining".to_owned());
    }
    match context.operator.pool.status().upstream {
        Upstream::Up(_) => None,
        Upstream::Connecting => Some("connecting to the upstream".to_owned()),
        Upstream::Down(reason) => Some(format!("upstream is down: {reason}")),
    }
}

async fn status(context: &Context) -> serde_json::Value {
    let clients = Clients::of(context).await;
    let rows = |rows: Vec<Row>| rows.into_iter().map(object).collect::<Vec<_>>();
    serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": unready(context).is_none(),
        "pools": rows(views::pools(context, &clients)),
        "workers": rows(views::workers(context)),
        "stats": object(views::stats(context)),
    })
}

fn object(row: Row) -> serde_json::Value {
    let value = |cell| match cell {
        Cell::Number(number) => number.into(),
        Cell::Text(text) => text.into(),
        Cell::List(items) => items.into(),
    };
    row.into_iter().map(|(name, cell)| (name.to_owned(), value(cell))).collect::<serde_json::Map<_, _>>().into()
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.to_owned())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
