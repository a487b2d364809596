//! The gateway as a whole: brings up the embedded upstream, the pool and the listener, and takes them
//! down in the opposite order: stop accepting → sessions finish → queue closes, workers empty it →
//! connections close → embedded upstream.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use pool::{Endpoint, Pool};
use tokio::time::Instant;

use crate::{
    context::Context, embedded::Embedded, feeds::Feeds, listener::Listener, settings::GatewaySettings,
    shared_pubsub::SharedPubSub, signals::Signals,
};

/// Runs until a signal asks for the end. The exit code tells whether anything had to be given up.
pub(crate) async fn run(mut settings: GatewaySettings) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let embedded = if settings.embedded {
        let (embedded, address) = Embedded::start().await.context("cannot start the embedded upstream")?;
        settings.pool.endpoint = Endpoint::tcp(address.ip().to_string(), address.port());
        Some(embedded)
    } else {
        None
    };
    let upstream = match &embedded {
        Some(_) => "embedded".to_owned(),
        None => settings.pool.endpoint.to_string(),
    };
    let workers = settings.pool.workers;
    let pool = Pool::start(settings.pool);
    let feeds = settings.shared_pubsub.map(|settings| Arc::new(Feeds::new(settings)));
    let reply_timeout = settings.session.reply_timeout;
    let shared_pubsub =
        feeds.as_ref().map(|feeds| SharedPubSub::start(Arc::clone(feeds), pool.caller(), reply_timeout));
    let context = Arc::new(Context::new(settings.session, upstream, embedded.is_some(), feeds));
    let bound = Listener::bind(&settings.listen, Arc::clone(&context), pool.caller(), settings.clients_max);
    let mut listener = bound.with_context(|| format!("cannot listen on {:?}", settings.listen))?;
    let listen = listener.local_addr().context("cannot listen")?;
    tracing::info!(%listen, upstream = context.upstream, workers, "listening");

    let signal = tokio::select! {
        signal = signals.next() => signal,
        () = listener.accept() => unreachable!("accepting ends only when it is dropped"),
    };
    let clients = context.registry.len();
    tracing::info!(signal, clients, "draining");
    let deadline = Instant::now() + settings.grace_period;
    let abandoned = tokio::select! {
        abandoned = drain(listener, shared_pubsub, pool, deadline) => abandoned,
        signal = signals.next() => {
            tracing::warn!(signal, "asked again, ending at once");
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    if abandoned > 0 {
        tracing::warn!(abandoned, "grace_period_ms ran out, clients were abandoned");
        return Ok(ExitCode::FAILURE);
    }
    tracing::info!("drained");
    Ok(ExitCode::SUCCESS)
}

async fn drain(listener: Listener, shared_pubsub: Option<SharedPubSub>, pool: Pool, deadline: Instant) -> usize {
    let sessions = listener.drain(deadline).await;
    if let Some(shared_pubsub) = shared_pubsub {
        shared_pubsub.end().await;
    }
    let drained = pool.drain(deadline.saturating_duration_since(Instant::now())).await;
    sessions.max(drained.abandoned)
}
