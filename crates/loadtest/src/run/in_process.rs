//! The command `pool`: many producer tasks push commands into the queue of the `pool` library, in this
//! process and without a gateway between. The report is that of `run`, and the time in the queue.

use std::{
    net::Ipv4Addr,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clap::Args;
use pool::{Burst, Caller, Endpoint, Needs, Pool, Protocol, Settings};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    drive::{budget::Budget, interrupt::Interrupt, shared::Shared},
    load::{
        Load, LoadError, Until,
        arguments::{WorkArgs, seconds, seconds_or_none},
        mix::Operation,
    },
    measure::{
        outcome::{Ended, Outcome},
        tally::{Tally, as_nanos, nanoseconds},
        timeline::Timeline,
        written_keys::WrittenKeys,
    },
    report::{ReportArgs, deliver, failure::Failure, page, progress::Progress, table},
    target::{Target, TlsArgs},
    traffic::{clean::clean, fill::fill, ledger::Ledger, replies::Replies, requests::Requests},
};

/// How long the producers may take to get their last replies, beyond the pool's own limits.
const END_TIME_MAX: Duration = Duration::from_secs(2);

/// `pool`
#[derive(Debug, Clone, Args)]
pub struct PoolArgs {
    /// Tasks that push commands into the queue, each waiting for its replies before it goes on.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub producers: u32,
    /// Workers, each with one connection.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub workers: u32,
    /// Jobs that the queue holds.
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub queue: u32,
    /// Requests that a worker writes before it has their replies.
    #[arg(long, value_name = "N")]
    pub pipeline_depth: Option<NonZeroU32>,
    /// Operations in one job.
    #[arg(short, long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub pipeline: u32,
    /// The upstream; without one a mini-redis in this process, which knows get and set only.
    #[arg(long, value_name = "URL")]
    pub upstream: Option<Target>,
    /// TLS to it.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// How long to measure, in seconds.
    #[arg(short, long, value_name = "S", default_value_t = 10.0, value_parser = seconds)]
    pub seconds: f64,
    /// Load for this many seconds before measuring.
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds_or_none)]
    pub warmup: f64,
    /// What to send.
    #[command(flatten)]
    pub work: WorkArgs,
    /// Where the result goes.
    #[command(flatten)]
    pub report: ReportArgs,
}

/// A mini-redis in this process; it ends when dropped.
struct Embedded {
    target: Target,
    _stop: oneshot::Sender<()>,
    _task: JoinHandle<()>,
}

impl Embedded {
    async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let target = Target::loopback(listener.local_addr()?.port());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            // Sent or dropped, it ends; an error shows as connections that are refused.
            mini_redis::server::run(listener, async { drop(stopped.await) }).await.ok();
        });
        Ok(Self { target, _stop: stop, _task: task })
    }
}

/// Runs it and returns the exit code.
///
/// # Errors
/// The arguments do not go together, the upstream is not there, or the report not delivered.
pub async fn in_process(args: &PoolArgs, interrupt: &Interrupt) -> Result<u8, Failure> {
    let embedded = match &args.upstream {
        Some(_) => None,
        None => Some(Embedded::start().await.map_err(LoadError::System)?),
    };
    let upstream = args.upstream.clone().or_else(|| embedded.as_ref().map(|embedded| embedded.target.clone()));
    let load = load(args, upstream.ok_or(LoadError::Driver)?)?;
    // Also tells at once, and clearly, when nobody is there.
    drop(load.target.connect(load.protocol, load.connect_timeout).await.map_err(LoadError::from)?);
    fill(&load).await?;
    let mut settings = Settings::new(endpoint(&load.target)?);
    settings.workers = args.workers as usize;
    settings.queue_capacity = args.queue as usize;
    settings.pipeline_depth = args.pipeline_depth.map_or(settings.pipeline_depth, |depth| depth.get() as usize);
    let mut outcome = measure(&load, Pool::start(settings), interrupt).await?;
    if embedded.is_some() {
        // They go with their upstream.
        outcome.keys = WrittenKeys::default();
    } else {
        clean(&load, &mut outcome.keys).await;
    }
    let (text, queue) = (outcome.load.replacen("connections", "producers", 1), args.queue);
    outcome.load = format!("{} workers, queue {queue}, {text}", args.workers);
    deliver(&args.report, &outcome, || table::outcome(&outcome), |about| page::outcome(&outcome, about))?;
    Ok(outcome.exit_code())
}

fn endpoint(target: &Target) -> Result<Endpoint, LoadError> {
    target.url().parse().map_err(|error| LoadError::Arguments(format!("{target}: {error}")))
}

fn load(args: &PoolArgs, target: Target) -> Result<Load, LoadError> {
    let mut load = Load::new(target.with_tls(&args.tls)?);
    args.work.apply(&mut load);
    if load.mix.operations().any(|operation| operation == Operation::Blocking) {
        let text = "`blocking` would hold up a shared connection; the pool leaves that to the gateway".to_owned();
        return Err(LoadError::Arguments(text));
    }
    load.connections = args.producers as usize;
    load.pipeline = args.pipeline as usize;
    load.until = Until::Time(Duration::from_secs_f64(args.seconds));
    load.warmup = Duration::from_secs_f64(args.warmup);
    load.validate()?;
    Ok(load)
}

async fn measure(load: &Load, pool: Pool, interrupt: &Interrupt) -> Result<Outcome, LoadError> {
    let ledger = load.verify.then(|| {
        let keys = usize::try_from(load.keys).unwrap_or(usize::MAX);
        Arc::new(Ledger::new(fastrand::u32(1..), load.connections, keys))
    });
    let (budget, tally) = (Arc::new(Budget::new(false)), Arc::new(Mutex::new(Tally::default())));
    let shared = Arc::new(Shared { load: load.clone(), budget: Arc::clone(&budget), ledger, tally });
    let db = endpoint(&load.target)?.db;
    let mut producers = JoinSet::new();
    for number in 0..u32::try_from(load.connections).unwrap_or(u32::MAX) {
        producers.spawn(produce(Arc::clone(&shared), number, pool.caller(), db));
    }
    let progress = Progress::of(load);
    let begin = Instant::now() + load.warmup;
    let mut ended = tokio::select! {
        () = sleep_until(begin.into()) => Ended::Done,
        () = interrupt.come() => Ended::Interrupted,
    };
    shared.tally().clear_measured();
    let mut timeline = Timeline::new(load);
    let mut ticks = interval(timeline.slice);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks.tick().await;
    let Until::Time(time) = load.until else { return Err(LoadError::Driver) };
    while ended == Ended::Done {
        tokio::select! {
            biased;
            () = interrupt.come() => ended = Ended::Interrupted,
            () = sleep_until((begin + time).into()) => break,
            _ = ticks.tick() => progress.show(timeline.sample(&shared.tally().clone())),
        }
    }
    timeline.close(&shared.tally().clone());
    budget.stop();
    drop(progress);
    let all = async { while producers.join_next().await.is_some() {} };
    if timeout(load.reply_timeout + END_TIME_MAX, all).await.is_err() {
        producers.shutdown().await;
    }
    pool.drain(END_TIME_MAX).await;
    let tally = shared.tally().clone();
    Ok(Outcome::new(load, &tally, &timeline, ended))
}

/// One producer: a burst, its replies, the next.
async fn produce(shared: Arc<Shared>, number: u32, mut caller: Caller, db: u32) {
    let load = &shared.load;
    let mut requests = Requests::new(load, number, shared.ledger.clone());
    let mut replies = Replies::new(number, requests.own_list(), shared.ledger.clone());
    let protocol = if load.protocol == 3 { Protocol::Resp3 } else { Protocol::Resp2 };
    let mut burst = Burst { needs: Needs { db, protocol }, ..Burst::default() };
    loop {
        let count = shared.budget.take(load.pipeline as u64).count;
        if count == 0 {
            return;
        }
        let since = Instant::now();
        for _ in 0..count {
            requests.push(&mut burst.requests, replies.due(), since, true);
        }
        burst.replies_due = u32::try_from(replies.count()).unwrap_or(u32::MAX);
        let answer = caller.call(burst).await;
        let now = Instant::now();
        burst = answer.burst;
        let mut tally = shared.tally();
        if let Some(taken) = caller.taken_at() {
            let queued = taken.into_std().saturating_duration_since(since);
            tally.queued.get_or_insert_with(nanoseconds).saturating_record(as_nanos(queued));
        }
        tally.bytes_received += burst.replies.len() as u64;
        if let Err(error) = replies.take(&burst.replies, now, &mut tally) {
            tally.counts.record_error(&error.to_string());
        }
        if let Some(failure) = answer.failure {
            tally.counts.record_error(&failure.to_string());
        }
        // What the burst is still owed was taken by its failure.
        replies.give_up(&mut tally);
        replies.restart();
        drop(tally);
        burst.requests.clear();
        burst.replies.clear();
        (burst.replies_done, burst.needs) = (0, Needs { db, protocol });
    }
}
