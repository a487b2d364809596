//! Drives a load: starts its threads, lets them begin together, samples what they count, ends the
//! warm-up and the load in time, and brings home what there is, whatever ended it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime,
    sync::{oneshot, watch},
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    drive::{
        budget::Budget,
        interrupt::Interrupt,
        shard::{Order, Shard},
        shared::Shared,
    },
    load::{Load, LoadError, Pace, Until},
    measure::{
        outcome::{Ended, Outcome},
        tally::Tally,
        timeline::{Sample, Timeline},
    },
    traffic::{clean::clean, fill::fill, ledger::Ledger},
};

/// After this time without a single connection the target counts as dead.
const DEAD_AFTER: Duration = Duration::from_secs(2);
/// How long replies are waited for when somebody pressed Ctrl-C.
const INTERRUPTED_WAIT: Duration = Duration::from_millis(300);

/// How much longer than needed the schedule of an open loop by count is: its budget ends it, in time even
/// if that is set late.
const SCHEDULE_RESERVE: Duration = Duration::from_secs(10);
/// The longest schedule of such a loop: a year.
const SCHEDULE_SECONDS_MAX: f64 = 31_536_000.0;

/// What the caller of [`drive`] is told while it goes on.
#[derive(Debug)]
pub enum Moment<'s> {
    /// The warm-up is over.
    Begin,
    /// A slice of the measured time is over.
    Sample(&'s Sample),
    /// The measured time is over; only late replies come in now.
    End,
}

/// A load under way. Dropping it stops its threads.
struct Driver {
    load: Load,
    budget: Arc<Budget>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    orders: watch::Sender<Order>,
    shards: Vec<oneshot::Receiver<()>>,
    ready: Vec<oneshot::Receiver<Result<(), LoadError>>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.budget.stop();
        self.orders.send_replace(Order::Abandon);
    }
}

/// Puts `load` on its target and reports what came of it. `told` hears of each [`Moment`].
///
/// # Errors
/// Nothing could be measured. A target that fails later is part of the outcome.
pub async fn drive(load: &Load, interrupt: &Interrupt, mut told: impl FnMut(Moment<'_>)) -> Result<Outcome, LoadError> {
    load.validate()?;
    let mut driver = tokio::select! {
        driver = Driver::connected(load) => driver?,
        () = interrupt.come() => return Err(LoadError::Interrupted),
    };
    let start = Instant::now();
    let begin = start + load.warmup;
    let end = match load.until {
        Until::Time(time) => Some(begin + time),
        Until::Count(_) => None,
    };
    let length = match (load.until, load.pace) {
        (Until::Time(time), _) => load.warmup + time,
        (Until::Count(_), Pace::Closed) => load.warmup,
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        (Until::Count(count), Pace::Open(rate)) => {
            load.warmup + Duration::from_secs_f64((count as f64 / rate).min(SCHEDULE_SECONDS_MAX)) + SCHEDULE_RESERVE
        }
    };
    let go = Order::Go(start, length);
    let (mut ended, mut timeline) = (None, None);
    if load.warmup.is_zero() {
        // Nothing may be answered before it counts.
        timeline = Some(driver.begin(&mut told));
    }
    driver.orders.send_replace(go);
    if timeline.is_none() {
        ended = driver.warm_up(begin, interrupt).await;
    }
    let mut timeline = timeline.unwrap_or_else(|| driver.begin(&mut told));
    if ended.is_none() {
        ended = Some(driver.measure(end, interrupt, &mut timeline, &mut told).await);
    }
    timeline.close(&driver.tally());
    told(Moment::End);
    let ended = ended.unwrap_or(Ended::Done);
    driver.finish(ended, interrupt).await;
    let mut outcome = Outcome::new(load, &driver.tally(), &timeline, ended);
    clean(load, &mut outcome.keys).await;
    Ok(outcome)
}

impl Driver {
    /// Starts the threads and waits until all connections are there.
    async fn connected(load: &Load) -> Result<Self, LoadError> {
        fill(load).await?;
        let mut driver = Self::start(load)?;
        for ready in std::mem::take(&mut driver.ready) {
            ready.await.map_err(|_| LoadError::Driver)??;
        }
        Ok(driver)
    }

    fn start(load: &Load) -> Result<Self, LoadError> {
        let ledger = load.verify.then(|| {
            // Of this moment, not of the seed: what an earlier run left has to look different.
            let run = fastrand::u32(1..);
            Arc::new(Ledger::new(run, load.connections, usize::try_from(load.keys).unwrap_or(usize::MAX)))
        });
        let (orders, receiver) = watch::channel(Order::Connect);
        let budget = Arc::new(Budget::new(matches!(load.until, Until::Count(_))));
        let mut driver = Self { load: load.clone(), budget, tallies: vec![], orders, shards: vec![], ready: vec![] };
        let share = load.connections.div_ceil(load.threads);
        for first in (0..load.connections).step_by(share) {
            let tally = Arc::new(Mutex::new(Tally::default()));
            driver.tallies.push(Arc::clone(&tally));
            let budget = Arc::clone(&driver.budget);
            let shared = Arc::new(Shared { load: load.clone(), budget, ledger: ledger.clone(), tally });
            let connections = share.min(load.connections - first);
            let shard = Shard { shared, first, connections, orders: receiver.clone() };
            let ((ready, is_ready), (done, is_done)) = (oneshot::channel(), oneshot::channel());
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            // Not joined: it says when it is done, and ends by itself when the driver is dropped.
            thread::Builder::new().name(format!("load-{first}")).spawn(move || {
                runtime.block_on(shard.run(ready));
                drop(runtime);
                // The control may have gone.
                done.send(()).ok();
            })?;
            driver.ready.push(is_ready);
            driver.shards.push(is_done);
        }
        Ok(driver)
    }

    /// What all threads have counted so far.
    fn tally(&self) -> Tally {
        let mut all = Tally::default();
        for tally in &self.tallies {
            let tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
            all.merge(&tally);
        }
        all
    }

    fn each_tally(&self, mut change: impl FnMut(&mut Tally)) {
        for tally in &self.tallies {
            change(&mut tally.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// From now on everything counts.
    fn begin(&self, told: &mut impl FnMut(Moment<'_>)) -> Timeline {
        self.each_tally(Tally::clear_measured);
        let timeline = Timeline::new(&self.load);
        told(Moment::Begin);
        if let Until::Count(count) = self.load.until {
            self.budget.limit(count);
        }
        timeline
    }

    async fn warm_up(&mut self, begin: Instant, interrupt: &Interrupt) -> Option<Ended> {
        tokio::select! {
            biased;
            () = interrupt.come() => Some(Ended::Interrupted),
            () = sleep_until(begin.into()) => None,
            () = done(&mut self.shards) => Some(Ended::Done),
        }
    }

    async fn measure(
        &mut self,
        end: Option<Instant>,
        interrupt: &Interrupt,
        timeline: &mut Timeline,
        told: &mut impl FnMut(Moment<'_>),
    ) -> Ended {
        let mut ticks = interval(timeline.slice);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks.tick().await;
        let mut dead_since = None;
        loop {
            tokio::select! {
                biased;
                () = interrupt.come() => return Ended::Interrupted,
                () = async { sleep_until(end.unwrap_or_else(Instant::now).into()).await }, if end.is_some() => {
                    return Ended::Done;
                }
                () = done(&mut self.shards) => return Ended::Done,
                _ = ticks.tick() => {}
            }
            let tally = self.tally();
            told(Moment::Sample(timeline.sample(&tally)));
            if tally.connected > 0 {
                dead_since = None;
            } else if dead_since.get_or_insert_with(Instant::now).elapsed() > DEAD_AFTER {
                return Ended::Dead;
            }
        }
    }

    /// Lets the replies come in that are still due, for as long as a reply may take.
    async fn finish(&mut self, ended: Ended, interrupt: &Interrupt) {
        if ended != Ended::Done || self.load.pace == Pace::Closed {
            self.budget.stop();
        }
        let wait = match ended {
            Ended::Done => self.load.reply_timeout + Duration::from_secs(1),
            Ended::Interrupted | Ended::Dead => INTERRUPTED_WAIT,
        };
        let in_time = tokio::select! {
            in_time = timeout(wait, done(&mut self.shards)) => in_time.is_ok(),
            () = interrupt.come(), if ended == Ended::Done => false,
        };
        self.budget.stop();
        if !in_time {
            self.orders.send_replace(Order::Abandon);
            // Lanes that are abandoned end at once; the bound is for a machine in trouble.
            timeout(Duration::from_secs(2), done(&mut self.shards)).await.ok();
        }
    }
}

/// Waits until all are done; those that are, are forgotten. Cancel safe.
async fn done(shards: &mut Vec<oneshot::Receiver<()>>) {
    while let Some(shard) = shards.last_mut() {
        // An error means that the thread has ended too.
        shard.await.ok();
        shards.pop();
    }
}
