//! The gateway as a whole: brings up the embedded upstream, the pool and the listener, and takes them
//! down in the opposite order: stop accepting → sessions finish → queue closes, workers empty it →
//! connections close → embedded upstream.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use cluster::Cluster;
use pool::{Caller, Endpoint, Pools};
use settings::{Args, Config, GatewaySettings};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    config::{
        live_settings::LiveSettings,
        operator::{Operator, Outside},
    },
    console::http::{server::Http, source::Source},
    listener::{accept::Listener, door::Door, passed::Passed, threads::Threads},
    observe::{logs::logs::Logs, published::Published},
    process::{
        check::cluster_settings,
        descriptors,
        embedded::Embedded,
        file_watch::FileWatch,
        signals::{Signal, Signals},
        systemd,
    },
    pubsub::{directory::Directory, nodes::SharedPubSub},
    session::opener::Opener,
    topology::follower::Follower,
};

/// Runs until a signal asks for the end. The exit code tells whether anything had to be given up.
pub(crate) async fn run(
    args: Args,
    config: Config,
    mut settings: GatewaySettings,
    logs: Logs,
    inherited: Vec<Passed>,
    threads: Arc<Threads>,
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let embedded = start_embedded(&mut settings).await?;
    let watch = match args.file().filter(|_| settings.watch) {
        Some(file) => Some(FileWatch::start(file).context("cannot watch the configuration file")?),
        None => None,
    };
    let descriptors_max = descriptors::raise();
    let shortage = settings::shortage(&settings, descriptors_max);
    settings::fit(&mut settings, descriptors_max);
    let pools = Pools::start_on(threads.runtimes(), settings.pool.clone());
    let embedded_at = embedded.is_some().then(|| settings.pool.endpoint.clone());
    let read = move || args.load().map(|(config, _)| config);
    let outside = Outside::new(read, move |settings| logs.refilter(settings), descriptors_max);
    let operator = Arc::new(Operator::new(outside, config, settings.clone(), pools.clone(), embedded_at));
    let published = Arc::<Published>::default();
    let directory = settings.shared_pubsub.map(|settings| Arc::new(Directory::new(settings, Arc::clone(&published))));
    published.names.follow(pools.first().watch_facts());
    let cluster = start_cluster(&settings, &pools, &published, threads.runtimes().len());
    let follower = Follower::start(&settings, pools.clone(), Arc::clone(&published));
    let caller = |thread| pools.caller_on(thread).expect("pools that have just begun are not drained");
    let callers: Vec<Caller> = (0..threads.runtimes().len()).map(caller).collect();
    let shared_pubsub = directory
        .as_ref()
        .map(|directory| SharedPubSub::start(directory, callers[0].clone(), cluster.as_ref(), operator.follow()));
    cluster.into_iter().for_each(|cluster| operator.lead_to(cluster));
    let opener = Opener::new(Arc::clone(&operator), Arc::clone(&published), directory);
    let mut listener =
        Listener::new(open(&settings, inherited)?, opener, threads, callers).context("cannot start threads")?;
    // Ends with us, so that a drain can be watched.
    let mut http = JoinSet::new();
    if let Some(bound) = bind_http(&settings, Source::new(&operator, &published)).await? {
        http.spawn(bound.run());
    }
    let listen = listener.addresses().context("cannot listen")?.join(" ");
    warn(&settings, shortage);
    tracing::info!(listen, upstream = settings.session.upstream, workers = settings.pool.workers, "listening");

    systemd::ready(&format!("listening on {listen}"));
    let reason = tokio::select! {
        reason = obey(&mut signals, watch.as_ref(), &operator) => reason,
        () = look_after_sessions(&operator, &published) => unreachable!("it never ends"),
        () = listener.accept() => unreachable!("accepting ends only when it is dropped"),
        () = systemd::keep_alive() => unreachable!("it never ends"),
    };
    let clients = published.registry.len();
    tracing::info!(signal = reason, clients, "draining");
    systemd::stopping();
    pools.resume();
    let deadline = Instant::now() + operator.settings().grace_period;
    let abandoned = tokio::select! {
        abandoned = drain(listener, shared_pubsub, follower, &pools, deadline) => abandoned,
        () = published.turned_away.tell() => unreachable!("it never ends"),
        signal = signals.end() => {
            tracing::warn!(signal, "second signal, ending at once");
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    published.turned_away.tell_rest();
    if abandoned > 0 {
        tracing::warn!(abandoned, "grace_period_ms is over, clients were closed with requests unanswered");
        return Ok(ExitCode::FAILURE);
    }
    tracing::info!("drained");
    Ok(ExitCode::SUCCESS)
}

/// Starts the embedded upstream, if it is the one.
async fn start_embedded(settings: &mut GatewaySettings) -> anyhow::Result<Option<Embedded>> {
    if !settings.embedded {
        return Ok(None);
    }
    let (embedded, address) = Embedded::start().await.context("cannot start the embedded upstream")?;
    settings.pool.endpoint = Endpoint::tcp(address.ip().to_string(), address.port());
    Ok(Some(embedded))
}

/// Tells of what is valid and hardly meant.
fn warn(settings: &GatewaySettings, shortage: Option<String>) {
    if let Some(shortage) = shortage {
        tracing::warn!(shortage, "too few file descriptors for the configuration");
    }
    for warning in &settings.warnings {
        tracing::warn!(warning, "configuration has a weak point");
    }
}

/// Looks for the cluster, if the upstream is one.
fn start_cluster(settings: &GatewaySettings, pools: &Pools, published: &Published, runtimes: usize) -> Option<Cluster> {
    let cluster = Cluster::start(cluster_settings(settings)?, pools.clone(), runtimes);
    published.names.follow_map(cluster.watch());
    Some(published.cluster.get_or_init(|| cluster).clone())
}

/// The sockets that were passed or, where none was, those of the configuration.
fn open(settings: &GatewaySettings, inherited: Vec<Passed>) -> anyhow::Result<Vec<Door>> {
    if !inherited.is_empty() {
        let inherit = |(passed, listen)| Door::inherit(passed, listen).context("cannot use a socket that was passed");
        return inherited.into_iter().zip(&settings.listen).map(inherit).collect();
    }
    let bind = |listen| Door::bind(listen, settings.reuse_port).with_context(|| format!("cannot listen on {listen}"));
    settings.listen.iter().map(bind).collect()
}

/// Where metrics are shown, if anywhere.
async fn bind_http(settings: &GatewaySettings, source: Source) -> anyhow::Result<Option<Http>> {
    let Some((address, bounds)) = settings.http.clone() else { return Ok(None) };
    let bound = Http::bind(address, bounds, source).await;
    let bound = bound.with_context(|| format!("cannot listen on {address} for metrics"))?;
    tracing::info!(metrics = %bound.local_addr()?, "metrics address is open");
    Ok(Some(bound))
}

/// Reloads when a signal asks for it or the file has changed, until a signal, or the console, asks for the end; its
/// name.
async fn obey(signals: &mut Signals, watch: Option<&FileWatch>, operator: &Operator) -> &'static str {
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
                Signal::Reload => drop(operator.reload()),
            },
            () = file_changed => drop(operator.reload()),
            () = operator.ended() => return "RESPOOL DRAIN",
        }
    }
}

/// Wakes sessions, and tells what they could not serve. Never returns.
async fn look_after_sessions(operator: &Operator, published: &Published) {
    tokio::select! {
        () = wake_sessions(operator.follow(), published) => {}
        () = close_turned_away(operator.pools(), published) => {}
        () = published.turned_away.tell() => {}
    }
}

/// Has sessions look at what is in force whenever it is new: quiet ones have time-outs that may have changed. Those of
/// users who are no more are closed, whatever they wait for. Never returns.
async fn wake_sessions(mut settings: LiveSettings, published: &Published) {
    loop {
        settings.changed().await;
        settings.refresh();
        let closed = published.registry.wake_all(|user| settings.users.keep(user));
        if closed > 0 {
            tracing::info!(closed, "clients closed, because their user was removed");
        }
    }
}

/// Has those sessions end whose user the upstream does not let in any more, if they wait for their clients. Never returns.
async fn close_turned_away(pools: &Pools, published: &Published) {
    loop {
        pools.turned_away().await;
        published.registry.wake_all(|_| true);
    }
}

async fn drain(
    listener: Listener,
    shared_pubsub: Option<SharedPubSub>,
    follower: Option<Follower>,
    pools: &Pools,
    deadline: Instant,
) -> usize {
    let sessions = listener.drain(deadline).await;
    if let Some(shared_pubsub) = shared_pubsub {
        shared_pubsub.end().await;
    }
    let drained = pools.drain(deadline.saturating_duration_since(Instant::now())).await;
    if let Some(follower) = follower {
        follower.end().await;
    }
    sessions.max(drained.abandoned)
}
