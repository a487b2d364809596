//! The gateway as a whole: brings up the embedded upstream, the pool and the listener, and takes them
//! down in the opposite order: stop accepting → sessions finish → queue closes, workers empty it →
//! connections close → embedded upstream.

use std::{net::TcpListener, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use pool::{Endpoint, Pool};
use settings::{Config, GatewaySettings};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    config::operator::Operator,
    console::http::server::Http,
    listener::{accept::Listener, threads::Threads},
    observe::logs::Logs,
    process::{
        args::Args,
        descriptors,
        embedded::Embedded,
        file_watch::FileWatch,
        signals::{Signal, Signals},
        systemd,
    },
    pubsub::{directory::Feeds, shared_connection::SharedPubSub},
    session::context::Context,
};

/// Runs until a signal asks for the end. The exit code tells whether anything had to be given up.
pub(crate) async fn run(
    args: Args,
    config: Config,
    mut settings: GatewaySettings,
    logs: Logs,
    inherited: Option<TcpListener>,
    threads: Arc<Threads>,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let embedded = if settings.embedded {
        let (embedded, address) = Embedded::start().await.context("cannot start the embedded upstream")?;
        settings.pool.endpoint = Endpoint::tcp(address.ip().to_string(), address.port());
        Some(embedded)
    } else {
        None
    };
    let watch = match args.file().filter(|_| settings.watch) {
        Some(file) => Some(FileWatch::start(file).context("cannot watch the configuration file")?),
        None => None,
    };
    let pool = Pool::start_on(threads.runtimes(), settings.pool.clone());
    let feeds = settings.shared_pubsub.map(|settings| Arc::new(Feeds::new(settings)));
    let shared_pubsub = feeds.as_ref().map(|feeds| SharedPubSub::start(Arc::clone(feeds), pool.caller()));
    let embedded_at = embedded.is_some().then(|| settings.pool.endpoint.clone());
    let operator = Operator::new(args, config, settings.clone(), pool.control(), embedded_at, logs);
    let context = Arc::new(Context::new(operator, feeds));
    let callers = (0..threads.runtimes().len()).map(|thread| pool.caller_on(thread)).collect();
    let bound = match inherited {
        Some(socket) => Listener::inherit(socket, Arc::clone(&context), threads, callers),
        None => Listener::bind(&settings.listen, settings.reuse_port, Arc::clone(&context), threads, callers),
    };
    let mut listener = bound.with_context(|| format!("cannot listen on {:?}", settings.listen))?;
    // Ends with us, so that a drain can be watched.
    let mut http = JoinSet::new();
    if let Some((address, bounds)) = settings.http.clone() {
        let bound = Http::bind(address, bounds, Arc::clone(&context)).await;
        let bound = bound.with_context(|| format!("cannot listen on {address} for metrics"))?;
        tracing::info!(metrics = %bound.local_addr()?, "metrics are there");
        http.spawn(bound.run());
    }
    let listen = listener.local_addr().context("cannot listen")?;
    if let Some(shortage) = settings::shortage(&settings, descriptors::raise()) {
        tracing::warn!(shortage, "too few file descriptors for the configuration");
    }
    if let Some(idle) = settings.idle_threads() {
        tracing::warn!(idle, "too few workers for the threads");
    }
    tracing::info!(%listen, upstream = settings.session.upstream, workers = settings.pool.workers, "listening");

    systemd::ready(&format!("listening on {listen}"));
    let reason = tokio::select! {
        reason = obey(&mut signals, watch.as_ref(), &context) => reason,
        () = listener.accept() => unreachable!("accepting ends only when it is dropped"),
        () = systemd::keep_alive() => unreachable!("it never ends"),
    };
    let clients = context.registry.len();
    tracing::info!(signal = reason, clients, "draining");
    systemd::stopping();
    context.operator.pool.resume();
    let deadline = Instant::now() + context.operator.settings().grace_period;
    let abandoned = tokio::select! {
        abandoned = drain(listener, shared_pubsub, pool, deadline) => abandoned,
        signal = signals.end() => {
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

/// Reloads when a signal asks for it or the file has changed, until a signal, or the console, asks for the end; its
/// name.
async fn obey(signals: &mut Signals, watch: Option<&FileWatch>, context: &Context) -> &'static str {
    loop {
        let file_changed = async {
            match watch {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = signals.next() => match signal {
                Signal::End(name) => return name,
                // What became of it is logged.
                Signal::Reload => drop(context.reload()),
            },
            () = file_changed => drop(context.reload()),
            () = context.operator.end.notified() => return "RESPOOL DRAIN",
        }
    }
}

async fn drain(listener: Listener, shared_pubsub: Option<SharedPubSub>, pool: Pool, deadline: Instant) -> usize {
    let sessions = listener.drain(deadline).await;
    if let Some(shared_pubsub) = shared_pubsub {
        shared_pubsub.end().await;
    }
    let drained = pool.drain(deadline.saturating_duration_since(Instant::now())).await;
    sessions.max(drained.abandoned)
}
