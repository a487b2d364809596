//! The set of exclusive connections: bounded, elastic, beside the workers, for what cannot share a
//! connection. Borrowers wait in the order in which they asked.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    bounds::budget::Budget,
    error::JobError,
    exclusive::{lent::Lent, line::Line, permit::Place, preparation::Unprepared},
    stats::traffic::Traffic,
    upstream::{needs::Wanted, node::Node},
};

/// The connections that nobody borrows, and the right to borrow.
#[derive(Debug)]
pub(crate) struct Exclusives {
    pub(crate) node: Arc<Node>,
    /// Bytes of replies, which borrowers and all others have in common.
    pub(crate) reply_bytes: Arc<Budget>,
    pub(crate) traffic: Arc<Traffic>,
    permits: Arc<Semaphore>,
    max: AtomicUsize,
    /// Permits to withdraw as they come back, after `exclusive_max` was lowered.
    surplus: AtomicUsize,
    idle: Mutex<Vec<Idle>>,
    opened: AtomicU64,
}

#[derive(Debug)]
struct Idle {
    line: Line,
    since: Instant,
}

impl Exclusives {
    pub(crate) fn new(node: Arc<Node>, reply_bytes: Arc<Budget>, traffic: Arc<Traffic>) -> Self {
        let max = node.settings.borrow().exclusive_max;
        Self {
            node,
            reply_bytes,
            traffic,
            permits: Arc::new(Semaphore::new(max)),
            max: AtomicUsize::new(max),
            surplus: AtomicUsize::new(0),
            idle: Mutex::default(),
            opened: AtomicU64::new(0),
        }
    }

    /// Changes how many may be lent; what is lent already stays lent.
    pub(crate) fn set_max(&self, max: usize) {
        let before = self.max.swap(max, Ordering::AcqRel);
        if max >= before {
            let more = max - before;
            let kept = self
                .surplus
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |surplus| Some(surplus.saturating_sub(more)));
            self.permits.add_permits(more - more.min(kept.unwrap_or(0)));
        } else {
            let fewer = before - max;
            let withdrawn = self.permits.forget_permits(fewer);
            self.surplus.fetch_add(fewer - withdrawn, Ordering::AcqRel);
        }
    }

    /// Closes what nobody borrowed for too long, or all if `idle_max` is zero, and what leads elsewhere than to the
    /// upstream.
    pub(crate) fn prune(&self, idle_max: Duration) {
        let now = Instant::now();
        self.lock().retain(|idle| now < idle.since + idle_max && idle.line.is_good(&self.node, now));
    }

    /// Connections that are lent, and those that are idle.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let lent = self.max.load(Ordering::Acquire) + self.surplus.load(Ordering::Acquire);
        (lent.saturating_sub(self.permits.available_permits()), self.lock().len())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back one permit of those beyond a lowered `exclusive_max`; false if there are none.
    pub(crate) fn withdraw(&self) -> bool {
        self.surplus.fetch_update(Ordering::AcqRel, Ordering::Acquire, |surplus| surplus.checked_sub(1)).is_ok()
    }

    /// Connections opened since the start.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Takes back a connection that nobody borrows any more, if it can be used again. It is cleaned, unless nothing
    /// has changed its state.
    pub(crate) fn take_back(&self, mut line: Line, unchanged: bool) {
        let now = Instant::now();
        if line.is_good(&self.node, now) && (if unchanged { line.leave() } else { line.clean() }) {
            self.lock().push(Idle { line, since: now });
        }
    }

    /// Lends a connection that is in the state that is `wanted` when the borrower's first requests are executed. Waits
    /// until `queue_timeout` after `started` for one to be free.
    ///
    /// # Errors
    /// None came free, or the upstream cannot be reached or refuses the state.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in line and closes what was being prepared.
    pub(crate) async fn lend(self: &Arc<Self>, started: Instant, wanted: Wanted) -> Result<Lent, JobError> {
        let settings = Arc::clone(&self.node.settings.borrow());
        let deadline = started + settings.queue_timeout;
        let acquire = Arc::clone(&self.permits).acquire_owned();
        let Ok(Ok(permit)) = timeout_at(deadline, acquire).await else {
            let max = self.max.load(Ordering::Acquire);
            return Err(JobError::ExclusiveTimeout { max, waited: settings.queue_timeout });
        };
        let place = Place::new(Arc::clone(self), permit);
        let mut line = self.idle_or_new(settings.connect_timeout).await?;
        let prepared = timeout(settings.connect_timeout, line.prepare(wanted.of(line.state()), &self.node)).await;
        match prepared.unwrap_or_else(|_| Err(Unprepared::Io(io::ErrorKind::TimedOut.into()))) {
            Ok(()) => Ok(Lent::new(line, place)),
            Err(Unprepared::Refused(words)) => {
                self.take_back(line, true);
                Err(JobError::StateRefused(words))
            }
            Err(unprepared @ Unprepared::Io(_)) => Err(unprepared.into()),
        }
    }

    async fn idle_or_new(&self, patience: Duration) -> Result<Line, JobError> {
        loop {
            let Some(idle) = self.lock().pop() else { break };
            let mut line = idle.line;
            if !line.is_good(&self.node, Instant::now()) {
                continue;
            }
            match timeout(patience, line.wake()).await {
                Ok(Ok(())) => return Ok(line),
                // It was closed while nobody looked; another may be good, and a new one will tell.
                Ok(Err(_)) => {}
                // It is silent, and so are the others; to find that out one by one would take too long.
                Err(_) => self.prune(Duration::ZERO),
            }
        }
        self.open().await
    }

    async fn open(&self) -> Result<Line, JobError> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        Line::open(&self.node, format!("respool-exclusive-{number}")).await
    }
}
