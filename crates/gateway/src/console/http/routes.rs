//! Which path is answered with what, and to whom.

use std::{convert::Infallible, net::SocketAddr};

use http_body_util::{BodyExt as _, Full, channel::Channel, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
};
use settings::HttpSettings;
use tokio::time::sleep;

use crate::console::http::{
    families,
    guard::{self, Refusal},
    snapshot,
    source::Source,
    web,
};

/// A body that is there at once, or one that goes on.
pub(super) type Body = BoxBody<Bytes, Infallible>;

/// Snapshots that are under way to a web console.
const LIVE_FRAMES: usize = 1;

/// What is wanted of the gateway, beside the path.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) source: Source,
    pub(super) settings: HttpSettings,
    /// Only this machine reaches the address.
    pub(super) is_local: bool,
}

/// The answer to one who asks from `peer`, and the other end of its body if that goes on.
pub(super) async fn answer(
    site: &Site,
    peer: SocketAddr,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> (Response<Body>, Option<http_body_util::channel::Sender<Bytes>>) {
    if method != Method::GET && method != Method::HEAD {
        return (plain(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"), None);
    }
    let guarded = || guard::check(&site.settings.users, site.is_local, headers);
    let refused = |refusal| refused(site, peer, headers, refusal);
    if path == "/events" {
        return match guarded() {
            Ok(()) if method == Method::GET => {
                let (sender, body) = Channel::new(LIVE_FRAMES);
                (page(StatusCode::OK, "text/event-stream", body.boxed()), Some(sender))
            }
            Ok(()) => (plain(StatusCode::OK, ""), None),
            Err(refusal) => (refused(refusal).await, None),
        };
    }
    let response = match path {
        "/metrics" => metrics(&site.source).await,
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        "/readyz" => match site.source.unready() {
            None => plain(StatusCode::OK, "ready\n"),
            Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, &format!("{why}\n")),
        },
        "/status" => match guarded() {
            Ok(()) => text(StatusCode::OK, "application/json", snapshot::status(&site.source).await.to_string()),
            Err(refusal) => refused(refusal).await,
        },
        path => match (web::file(path), guarded()) {
            (Some((file, kind)), Ok(())) => page(StatusCode::OK, kind, Full::from(file).boxed()),
            (Some(_), Err(refusal)) => refused(refusal).await,
            (None, _) => plain(StatusCode::NOT_FOUND, "there are /, /metrics, /healthz, /readyz and /status\n"),
        },
    };
    (response, None)
}

async fn metrics(source: &Source) -> Response<Body> {
    match families::text(source).await {
        Ok(page) => text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", page),
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

/// A wrong password is answered as late as the first one of a client of Redis. A connection has no second one.
async fn refused(site: &Site, peer: SocketAddr, headers: &HeaderMap, refusal: Refusal) -> Response<Body> {
    if refusal == Refusal::Password {
        let (name, _) = guard::credentials(headers).unwrap_or_default();
        site.source.published.login_refused(&peer, &site.settings.users.shown(&name));
        sleep(site.source.operator.sessions().logins.delay_min).await;
    }
    let asks_for_login = matches!(refusal, Refusal::Login | Refusal::Password);
    let status = if asks_for_login { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
    let mut response = plain(status, refusal.text());
    if asks_for_login {
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"respool\""));
    }
    response
}

fn plain(status: StatusCode, body: &str) -> Response<Body> {
    text(status, "text/plain; charset=utf-8", body.to_owned())
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    page(status, kind, Full::from(body).boxed())
}

fn page(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in web::HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
