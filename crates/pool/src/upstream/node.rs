//! The one place that knows what the upstream is. All connections are made here, paced; what their logins find out,
//! and what is checked while they live, is put together here and published.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

use crate::{
    error::JobError,
    settings::{endpoint::Endpoint, ours::PROBE, role::Role, settings::Settings},
    upstream::{
        checks::Checks,
        databases::Databases,
        facts::Facts,
        health::Health,
        knowledge::{Knowledge, News},
        login::{
            login::{Arrived, LoginError, login},
            pace::{Pace, Turn},
        },
        stream::Stream,
    },
};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) health: Health,
    pub(crate) checks: Checks,
    pub(crate) databases: Databases,
    /// It asks nothing and goes by what another pool knows: its user's rights are not known.
    pub(super) is_guest: bool,
    /// The last login was refused.
    turned_away: AtomicBool,
    /// Rings then.
    turned_away_now: Arc<Notify>,
    /// Rings when a connection falls silent for long.
    pub(super) silent_now: Arc<Notify>,
    /// `CONFIG GET` does not say what role it has.
    pub(super) tells_by_hello: AtomicBool,
    pace: Pace,
    knowledge: Mutex<Knowledge>,
    pub(super) facts: watch::Sender<Arc<Facts>>,
    /// Of these, what is asked about every request: bytes of an argument that the upstream refuses beyond, and bytes of a
    /// request that is to have a connection of its own.
    bulk_max: AtomicUsize,
    alone_from: AtomicUsize,
    /// Rings when something speaks against what is known.
    pub(super) doubt: Notify,
}

/// A connection to the upstream, logged in. It speaks RESP2.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) stream: Stream,
    /// Where it leads.
    pub(crate) endpoint: Endpoint,
    pub(crate) facts: Arc<Facts>,
    /// As `CLIENT ID` of the upstream says it.
    pub(crate) id: Option<i64>,
    /// The database it is in.
    pub(crate) db: u32,
}

impl Node {
    /// `facts` are those of another pool at the same upstream, where the login is that of a guest.
    pub(crate) fn new(
        settings: watch::Receiver<Arc<Settings>>,
        facts: watch::Sender<Arc<Facts>>,
        (turned_away_now, silent_now): (Arc<Notify>, Arc<Notify>),
    ) -> Self {
        let is_guest = settings.borrow().endpoint.guest;
        Self {
            settings,
            is_guest,
            turned_away: AtomicBool::new(false),
            turned_away_now,
            silent_now,
            health: Health::new(is_guest),
            checks: Checks::default(),
            databases: Databases::default(),
            tells_by_hello: AtomicBool::new(false),
            pace: Pace::new(),
            knowledge: Mutex::default(),
            facts,
            bulk_max: AtomicUsize::new(usize::MAX),
            alone_from: AtomicUsize::new(usize::MAX),
            doubt: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Knowledge> {
        self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known.
    pub(crate) fn facts(&self) -> Arc<Facts> {
        Arc::clone(&self.facts.borrow())
    }

    /// Bytes of one argument; the upstream refuses longer ones.
    pub(crate) fn bulk_max(&self) -> usize {
        if self.is_guest {
            return self.facts.borrow().limits.bulk_max.unwrap_or(usize::MAX);
        }
        self.bulk_max.load(Ordering::Relaxed)
    }

    /// Bytes of a request; larger ones are to have a connection of their own.
    pub(crate) fn alone_from(&self) -> usize {
        if self.is_guest {
            return self.facts.borrow().limits.alone_from();
        }
        self.alone_from.load(Ordering::Relaxed)
    }

    /// For others that are not to ask.
    pub(crate) fn facts_to_share(&self) -> watch::Sender<Arc<Facts>> {
        self.facts.clone()
    }

    /// Whether it was a guest's login that was refused, when it was last tried: one load.
    pub(crate) fn is_turned_away(&self) -> bool {
        self.turned_away.load(Ordering::Acquire)
    }

    /// Why nothing is executed while no worker is connected, for this `reason`.
    pub(crate) fn is_down_for(&self, reason: Arc<str>) -> JobError {
        if self.is_turned_away() { JobError::LoginRefused(reason) } else { JobError::UpstreamDown(reason) }
    }

    /// The upstream has let in a guest, whom it may have turned away before.
    pub(crate) fn is_let_in(&self) {
        if self.turned_away.swap(false, Ordering::AcqRel) {
            self.forget_failures();
            self.health.hopes();
        }
    }

    /// Follows what is known.
    pub(crate) fn watch_facts(&self) -> watch::Receiver<Arc<Facts>> {
        self.facts.subscribe()
    }

    /// Whether a connection that was made to `endpoint`, in this generation, leads where the upstream is.
    pub(crate) fn is_current(&self, endpoint: &Endpoint, generation: u64) -> bool {
        generation == self.facts.borrow().generation && endpoint.leads_where(&self.settings.borrow().endpoint)
    }

    /// Makes a connection that the upstream knows as `name`, once it is its turn.
    ///
    /// # Errors
    /// The upstream cannot be reached, refuses the login, or is not where others are connected to.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was being made.
    pub(crate) async fn connect(&self, name: &str) -> Result<Dialled, LoginError> {
        let turn = self.pace.turn().await;
        self.connect_in(turn, name).await
    }

    async fn connect_in(&self, _turn: Turn<'_>, name: &str) -> Result<Dialled, LoginError> {
        let mut news = self.settings.clone();
        loop {
            if self.is_guest {
                self.facts_of_others().await;
            }
            // The turn may have been long in coming: what is in force now counts.
            let settings = Arc::clone(&news.borrow_and_update());
            let known = self.known(&settings.endpoint);
            tokio::select! {
                dialled = self.dial(&settings, name, known.as_deref()) => return dialled,
                () = moved(&mut news, &settings.endpoint) => {}
            }
        }
    }

    /// Waits, not for long, until the pool that asks has found out what the upstream is, where it is now: a connection that is
    /// taken for one to the former process would be given up with those.
    async fn facts_of_others(&self) {
        let limit = self.settings.borrow().connect_timeout;
        let mut facts = self.facts.subscribe();
        let is_known = |facts: &Arc<Facts>| (facts.generation > 0 && !facts.are_former) || facts.misnamed.is_some();
        // Whatever comes of it: what there is to know is known.
        let _ = timeout(limit, facts.wait_for(is_known)).await;
    }

    /// The same, unless nobody knows where the upstream is, or others have failed so that the turn does not come within
    /// `connect_timeout`.
    pub(crate) async fn connect_soon(&self, name: &str) -> Result<Dialled, LoginError> {
        let unknown = {
            let endpoint = &self.settings.borrow().endpoint;
            endpoint.is_unknown().then(|| endpoint.held.as_deref().unwrap_or("nobody knows where it is").to_owned())
        };
        if let Some(reason) = unknown {
            return Err(LoginError::Untried(reason));
        }
        let limit = self.settings.borrow().connect_timeout;
        let mut is_due = self.pace.closed_for() <= limit;
        let mut turn = pin!(self.pace.turn());
        loop {
            // As long as nobody fails, the line moves on.
            if !is_due && let Some(reason) = self.pace.reason() {
                return Err(LoginError::Untried(reason));
            }
            match timeout(limit, &mut turn).await {
                Ok(turn) => return self.connect_in(turn, name).await,
                Err(_) => is_due = false,
            }
        }
    }

    fn known(&self, endpoint: &Endpoint) -> Option<Arc<Facts>> {
        if self.is_guest { Some(self.facts()) } else { self.lock().of(endpoint) }
    }

    /// Looks who is there now, by a connection that is closed again.
    pub(crate) async fn probe(&self) {
        if self.is_guest {
            return;
        }
        let settings = Arc::clone(&self.settings.borrow());
        let known = self.lock().of(&settings.endpoint).map(|known| known.to_be_asked_again());
        let probed = self.dial(&settings, PROBE, known.as_ref()).await;
        tracing::debug!(error = probed.err().map(|error| error.to_string()), "probed the upstream");
    }

    async fn dial(&self, settings: &Settings, name: &str, known: Option<&Facts>) -> Result<Dialled, LoginError> {
        let endpoint = &settings.endpoint;
        let arrived = login(settings, name, known).await;
        if let Err(LoginError::Misnamed { name, own }) = &arrived
            && !self.is_guest
            && endpoint.leads_where(&self.settings.borrow().endpoint)
        {
            // For guests, too, who do not ask.
            let mut knowledge = self.lock();
            knowledge.refuse((*name, Arc::clone(own)));
            self.facts.send_replace(knowledge.facts());
        }
        let learned = arrived.and_then(|arrived| self.learn(settings, arrived));
        let is_turned_away = self.is_guest && is_turned_away(&learned);
        if is_turned_away != self.turned_away.swap(is_turned_away, Ordering::AcqRel) && is_turned_away {
            self.turned_away_now.notify_one();
        }
        match &learned {
            Ok(_) => self.pace.succeeded(),
            // It says nothing of the upstream that there is by now.
            Err(_) if !endpoint.leads_where(&self.settings.borrow().endpoint) => {}
            Err(error) => self.pace.failed(error, settings, fastrand::f64()),
        }
        learned
    }

    /// Takes in what a login has found out.
    fn learn(&self, settings: &Settings, arrived: Arrived) -> Result<Dialled, LoginError> {
        let Arrived { stream, facts, id, db } = arrived;
        let endpoint = settings.endpoint.clone();
        if self.is_guest {
            let facts = self.facts();
            if let Some((name, own)) = facts.misnamed.clone() {
                return Err(LoginError::Misnamed { name, own });
            }
            return Ok(Dialled { stream, endpoint, facts, id, db });
        }
        if !endpoint.leads_where(&self.settings.borrow().endpoint) {
            // The pool has another upstream by now, of which this says nothing.
            return Ok(Dialled { stream, endpoint, facts: Arc::new(facts), id, db });
        }
        let connected = self.health.connections() > 0;
        let facts = {
            let mut knowledge = self.lock();
            let former = knowledge.facts();
            let news = knowledge.learn(&endpoint, facts, settings.role, connected, Instant::now());
            let facts = knowledge.facts();
            self.publish(news, &former, &facts)?;
            facts
        };
        self.checks.heard();
        if db != 0 {
            self.databases.selected(facts.generation, db);
        }
        self.health.judge(facts.unfit(settings.role, endpoint.db));
        Ok(Dialled { stream, endpoint, facts, id, db })
    }

    fn go_by_limits(&self, facts: &Facts) {
        self.bulk_max.store(facts.limits.bulk_max.unwrap_or(usize::MAX), Ordering::Relaxed);
        self.alone_from.store(facts.limits.alone_from(), Ordering::Relaxed);
    }

    pub(super) fn publish(&self, news: News, former: &Facts, facts: &Arc<Facts>) -> Result<(), LoginError> {
        match news {
            News::None => return Ok(()),
            News::Changed => {}
            News::TakenOver => {
                if former.generation > 0 && former.run_id != facts.run_id {
                    let (run_id, role) = (facts.run_id(), facts.role().map(Role::name));
                    let reason = "connections to the former one are replaced";
                    tracing::info!(generation = facts.generation, run_id, role, reason, "upstream is another node now");
                }
            }
            News::Several => {
                tracing::debug!("the address leads to several nodes in turns, connections stay where they are");
                return Ok(());
            }
            News::Astray(reason) => {
                // Are the others still connected to what is wanted?
                self.checks.doubted();
                return Err(LoginError::Astray(reason));
            }
        }
        self.go_by_limits(facts);
        self.facts.send_replace(Arc::clone(facts));
        former.process.leave_for(&facts.process);
        Ok(())
    }

    /// The last attempt to make a connection has not failed.
    pub(crate) fn lets_in(&self) -> bool {
        self.pace.reason().is_none()
    }

    /// A connection of no use was made: it was closed as soon as it was open, for this reason.
    pub(crate) fn made_in_vain(&self, reason: &str) {
        let error = LoginError::Io(std::io::Error::other(reason.to_owned()));
        self.pace.failed(&error, &self.settings.borrow(), fastrand::f64());
    }

    /// The upstream is elsewhere from now on.
    pub(crate) fn goes(&self) {
        if !self.is_guest {
            self.facts.send_modify(|facts| Arc::make_mut(facts).are_former = true);
        }
    }

    /// Has what is known looked at again.
    pub(crate) fn look(&self) {
        self.doubt.notify_one();
    }

    /// The pool has another upstream, or is to try the one it has at once.
    pub(crate) fn forget_failures(&self) {
        self.pace.forget();
    }

    /// Whether the upstream is what it should be by the settings in force.
    pub(super) fn judge(&self) -> bool {
        let settings = Arc::clone(&self.settings.borrow());
        let unfit =
            self.lock().of(&settings.endpoint).and_then(|facts| facts.unfit(settings.role, settings.endpoint.db));
        let is_fit = unfit.is_none();
        self.health.judge(unfit);
        is_fit
    }
}

/// How an upstream begins that does not let a user in. The last two, the latter of Redis before version 6, are about a
/// password without a name: the default user needs none there, and has none.
const NOT_LET_IN: [&str; 4] = [
    "WRONGPASS ",
    "NOAUTH ",
    "ERR AUTH <password> called without any password",
    "ERR Client sent AUTH, but no password",
];

/// The upstream does not let a guest in, whom it let in before or who has not been there.
fn is_turned_away(learned: &Result<Dialled, LoginError>) -> bool {
    let Err(LoginError::Refused(words)) = learned else { return false };
    NOT_LET_IN.iter().any(|begin| words.starts_with(begin))
}

/// Waits until the upstream is elsewhere than at `endpoint`. Cancel-safe.
async fn moved(settings: &mut watch::Receiver<Arc<Settings>>, endpoint: &Endpoint) {
    // Nothing changes any more once the pool itself is gone.
    if settings.wait_for(|settings| !endpoint.leads_where(&settings.endpoint)).await.is_err() {
        std::future::pending().await
    }
}
