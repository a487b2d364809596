//! One thread of a load with its share of the connections: connects them all, waits for the word to
//! go, and runs their lanes to the end.

use std::{
    sync::Arc,
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
        shared::Shared,
    },
    load::{LoadError, Pace},
    measure::tally::{as_nanos, nanoseconds},
    target::stream::Stream,
};

/// Connections that are being made at a time, well below any listen backlog.
const CONNECTING_MAX: usize = 64;
/// Scheduled operations that may wait for one connection.
const ARRIVALS_MAX: usize = 1 << 20;

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
