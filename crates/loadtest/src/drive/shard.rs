//! One thread of a load with its share of the connections: connects them all, waits for the word to
//! go, and runs their lanes to the end. Nothing is shared between threads but the budget and the ledger.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    drive::{
        lane::Lane,
        pacer::{Schedule, pace},
    },
    load::{Load, LoadError, Pace},
    measure::tally::{Tally, as_nanos, nanoseconds},
    target::stream::Stream,
    traffic::ledger::Ledger,
};

/// Connections that are being made at a time, well below any listen backlog.
const CONNECTING_MAX: usize = 64;
/// Scheduled operations that may wait for one connection.
const ARRIVALS_MAX: usize = 1 << 20;

/// How much more may be sent.
#[derive(Debug)]
pub struct Budget {
    left: AtomicU64,
    stopped: AtomicBool,
    by_count: bool,
}

/// Operations that a lane may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// How many; 0 means that the load is over.
    pub count: u64,
    /// Whether they count: those of the warm-up of a load by count do not, so that its count is exact.
    pub measured: bool,
}

impl Budget {
    /// No limit yet. If the load is `by_count`, what is taken before there is one is not measured.
    pub fn new(by_count: bool) -> Self {
        Self { left: AtomicU64::new(u64::MAX), stopped: AtomicBool::new(false), by_count }
    }

    /// Takes up to `wanted` operations.
    pub fn take(&self, wanted: u64) -> Grant {
        if self.is_stopped() {
            return Grant { count: 0, measured: true };
        }
        let take = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(wanted));
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(left) => Grant { count: left.min(wanted), measured: true },
            Err(_) => Grant { count: wanted, measured: !self.by_count },
        }
    }

    /// From now on only `count` operations may be sent.
    pub fn limit(&self, count: u64) {
        self.left.store(count, Ordering::Relaxed);
    }

    /// Nothing more is to be sent.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether nothing more is to be sent.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// What the lanes of one thread share.
#[derive(Debug)]
pub struct Shared {
    /// What to do.
    pub load: Load,
    /// How much more of it.
    pub budget: Arc<Budget>,
    /// The truth about the keys, with `--verify`.
    pub ledger: Option<Arc<Ledger>>,
    /// What was counted.
    pub tally: Arc<Mutex<Tally>>,
}

impl Shared {
    /// The counts, for a short look. A panic elsewhere does not make them less true.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The word of the control.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Connect and wait.
    Connect,
    /// Begin; an open loop ends its schedule after this time.
    Go(Instant, Duration),
    /// Give up what is still under way.
    Abandon,
}

/// One thread's share.
#[derive(Debug)]
pub struct Shard {
    /// What its lanes share.
    pub shared: Arc<Shared>,
    /// The number of its first connection.
    pub first: usize,
    /// How many connections it has.
    pub connections: usize,
    /// The word of the control; gone means abandon.
    pub orders: watch::Receiver<Order>,
}

impl Shard {
    /// Connects, reports that on `ready`, and runs the lanes when the word comes.
    pub async fn run(mut self, ready: oneshot::Sender<Result<(), LoadError>>) {
        let mut orders = self.orders.clone();
        let connected = tokio::select! {
            connected = self.connect() => connected,
            // The control has gone: nobody wants the connections any more.
            _ = orders.wait_for(|order| *order == Order::Abandon) => return,
        };
        let streams = match connected {
            Ok(streams) => streams,
            Err(error) => {
                // If nobody listens, nobody wants to know.
                ready.send(Err(error)).ok();
                return;
            }
        };
        ready.send(Ok(())).ok();
        let Ok(order) = self.orders.wait_for(|order| *order != Order::Connect).await.map(|order| *order) else {
            return;
        };
        let Order::Go(start, length) = order else { return };
        let mut lanes = self.start(streams, start, length);
        tokio::select! {
            () = async { while lanes.join_next().await.is_some() {} } => {}
            _ = self.orders.wait_for(|order| *order == Order::Abandon) => lanes.shutdown().await,
        }
    }

    async fn connect(&self) -> Result<Vec<Stream>, LoadError> {
        let (mut connecting, mut streams) = (JoinSet::new(), Vec::with_capacity(self.connections));
        let mut begun = 0;
        while streams.len() < self.connections {
            while begun < self.connections && connecting.len() < CONNECTING_MAX {
                let shared = Arc::clone(&self.shared);
                connecting.spawn(async move {
                    let begun = Instant::now();
                    let stream = shared.load.target.connect(shared.load.protocol, shared.load.connect_timeout).await?;
                    let mut tally = shared.tally();
                    tally.connected += 1;
                    tally.connects.get_or_insert_with(nanoseconds).saturating_record(as_nanos(begun.elapsed()));
                    Ok::<_, LoadError>(stream)
                });
                begun += 1;
            }
            match connecting.join_next().await {
                Some(Ok(stream)) => streams.push(stream?),
                Some(Err(_)) | None => return Err(LoadError::Driver),
            }
        }
        Ok(streams)
    }

    fn start(&self, streams: Vec<Stream>, start: Instant, length: Duration) -> JoinSet<()> {
        let load = &self.shared.load;
        let mut tasks = JoinSet::new();
        let mut senders = Vec::new();
        #[expect(clippy::cast_precision_loss, reason = "numbers of connections are small")]
        let schedule = match load.pace {
            Pace::Closed => None,
            // This shard's part of an even schedule over all connections.
            Pace::Open(rate) => Some(Schedule {
                start: start + Duration::from_secs_f64(self.first as f64 / load.connections as f64 / rate),
                end: start + length,
                rate: rate * self.connections as f64 / load.connections as f64,
            }),
        };
        for (number, stream) in (self.first..).zip(streams) {
            let arrivals = schedule.map(|schedule| {
                let room = (schedule.len() / self.connections + 2).min(ARRIVALS_MAX);
                let (sender, receiver) = mpsc::channel(room);
                senders.push(sender);
                receiver
            });
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            tasks.spawn(Lane::new(Arc::clone(&self.shared), number, stream, arrivals).run());
        }
        if let Some(schedule) = schedule {
            let shared = Arc::clone(&self.shared);
            tasks.spawn(async move {
                if let Err(error) = pace(Arc::clone(&shared), schedule, senders).await {
                    shared.tally().counts.last_loss = Some(format!("no timer: {error}"));
                }
            });
        }
        tasks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_no_more_than_it_has() {
        let budget = Budget::new(true);
        assert_eq!(budget.take(7), Grant { count: 7, measured: false });
        budget.limit(10);
        assert_eq!([7, 7, 7].map(|wanted| budget.take(wanted).count), [7, 3, 0]);
        budget.limit(10);
        budget.stop();
        assert_eq!(budget.take(1).count, 0);
        assert!(Budget::new(false).take(1).measured);
    }
}
