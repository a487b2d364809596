//! The set of exclusive connections: bounded, elastic, beside the workers, for what cannot share a
//! connection. Borrowers wait in the order in which they asked.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    bounds::budget::Budget,
    error::JobError,
    exclusive::{
        lent::Lent,
        line::{Line, Unprepared, lost},
        permit::Place,
    },
    settings::settings::Settings,
    upstream::needs::Needs,
};

/// The connections that nobody borrows, and the right to borrow.
#[derive(Debug)]
pub(crate) struct Exclusives {
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    /// Bytes of replies, which borrowers and all others have in common.
    pub(crate) reply_bytes: Arc<Budget>,
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
    /// Replies to the requests that cleaned it, not read yet.
    owed: u32,
}

impl Exclusives {
    pub(crate) fn new(settings: watch::Receiver<Arc<Settings>>, reply_bytes: Arc<Budget>) -> Self {
        let max = settings.borrow().exclusive_max;
        Self {
            settings,
            reply_bytes,
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

    /// Closes what nobody borrowed for too long, or all if `idle_max` is zero.
    pub(crate) fn prune(&self, idle_max: Duration) {
        let now = Instant::now();
        self.lock().retain(|idle| now < idle.since + idle_max && !idle.line.is_over_age(now));
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

    /// Takes back a connection that nobody borrows any more, if it can be used again.
    pub(crate) fn take_back(&self, mut line: Line) {
        let now = Instant::now();
        if line.is_good_for(&self.settings.borrow().endpoint, now)
            && let Some(owed) = line.clean()
        {
            self.lock().push(Idle { line, since: now, owed });
        }
    }

    /// Lends a connection in the state that `needs` says, waiting until `queue_timeout` after `started` for one to
    /// be free.
    ///
    /// # Errors
    /// None came free, or the upstream cannot be reached or refuses the state.
    ///
    /// # Cancel safety
    /// Dropping the future gives up the place in line and closes what was being prepared.
    pub(crate) async fn lend(self: &Arc<Self>, started: Instant, needs: Needs) -> Result<Lent, JobError> {
        let settings = Arc::clone(&self.settings.borrow());
        let deadline = started + settings.queue_timeout;
        let acquire = Arc::clone(&self.permits).acquire_owned();
        let Ok(Ok(permit)) = timeout_at(deadline, acquire).await else {
            let max = self.max.load(Ordering::Acquire);
            return Err(JobError::ExclusiveTimeout { max, waited: settings.queue_timeout });
        };
        let place = Place::new(Arc::clone(self), permit);
        loop {
            let idle = self.lock().pop();
            let (mut line, owed) = match idle {
                Some(idle) if !idle.line.endpoint().leads_where(&settings.endpoint) => continue,
                Some(idle) => (idle.line, idle.owed),
                None => (self.open(&settings).await?, 0),
            };
            match timeout(settings.connect_timeout, line.prepare(owed, needs)).await {
                Ok(Ok(())) => return Ok(Lent::new(line, place)),
                Ok(Err(Unprepared::Refused(text))) => return Err(JobError::StateRefused(text)),
                // It was closed while nobody looked; another may be good, and a new one will tell.
                Ok(Err(Unprepared::Io(_))) if owed > 0 => {}
                // It is silent, and so are the others; to find that out one by one would take too long.
                Err(_) if owed > 0 => self.prune(Duration::ZERO),
                Ok(Err(Unprepared::Io(error))) => return Err(lost(&error)),
                Err(_) => return Err(lost(&std::io::ErrorKind::TimedOut.into())),
            }
        }
    }

    async fn open(&self, settings: &Settings) -> Result<Line, JobError> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let (line, _) = Line::open(settings, format!("respool-exclusive-{number}")).await?;
        Ok(line)
    }
}
