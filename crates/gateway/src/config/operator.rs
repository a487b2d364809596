//! The configuration in force, and the one way to change it: by the file read again, or key by key. A
//! configuration counts as a whole or not at all. Asked by signals and by the console.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use cluster::Cluster;
use pool::{Control, Endpoint, Logins, Pools};
use settings::{Change, Config, ConfigError, GatewaySettings, Key, LogSettings, SessionSettings};
use tokio::sync::{Notify, watch};
use toml::Value;

use crate::config::{live_settings::LiveSettings, outcome::Outcome};

/// The command of the console, and the part of it that changes the configuration.
const CONSOLE: [&[u8]; 2] = [b"RESPOOL", b"RESPOOL|CONFIG"];

/// Who may log in and as whom that one's requests run, which goes with who decides about it.
const GO_WITH_MODE: [&str; 5] = ["auth.users", "auth.peers", "auth.admins", "users", "tls.user_from_certificate"];

/// What is said of the upstream at a URL, and of no other.
const GO_WITH_URL: [&str; 3] = ["upstream.url", "upstream.password_file", "upstream.tls"];

/// What the configuration needs of those who start it.
pub(crate) struct Outside {
    read: Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>,
    refilter: Box<dyn Fn(&LogSettings) + Send + Sync>,
    descriptors_max: Option<usize>,
}

impl Outside {
    /// `read` reads the file again, with what the command line overrides; `refilter` puts another log filter in force.
    /// The system allows `descriptors_max`, if that is bounded.
    pub(crate) fn new(
        read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
        refilter: impl Fn(&LogSettings) + Send + Sync + 'static,
        descriptors_max: Option<usize>,
    ) -> Self {
        Self { read: Box::new(read), refilter: Box::new(refilter), descriptors_max }
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Operator {
    outside: Outside,
    running: Mutex<Running>,
    sessions: watch::Sender<Arc<SessionSettings>>,
    pools: Pools,
    /// The upstream, if it is a cluster.
    cluster: OnceLock<Cluster>,
    /// Where the upstream decides about logins.
    logins: Logins,
    /// Where the embedded upstream listens, if there is one.
    embedded: Option<Endpoint>,
    /// Configurations that were refused.
    refused: AtomicU64,
    /// Somebody asks for the end.
    end: Notify,
}

#[derive(Debug)]
struct Running {
    config: Config,
    settings: GatewaySettings,
    generation: u64,
}

impl Operator {
    /// `settings` are what `config` means, with the embedded upstream's address filled in.
    pub(crate) fn new(
        outside: Outside,
        config: Config,
        settings: GatewaySettings,
        pools: Pools,
        embedded: Option<Endpoint>,
    ) -> Self {
        let sessions = watch::Sender::new(Arc::new(settings.session.clone()));
        let running = Mutex::new(Running { config, settings, generation: 1 });
        let logins = Logins::new(pools.clone());
        let (refused, end, cluster) = (AtomicU64::new(0), Notify::new(), OnceLock::new());
        Self { outside, running, sessions, pools, cluster, logins, embedded, refused, end }
    }

    /// The upstream is this cluster.
    pub(crate) fn lead_to(&self, cluster: Cluster) {
        self.cluster.get_or_init(|| cluster);
    }

    /// The upstream, if it is a cluster: the callers of sessions reach one node of it.
    pub(crate) fn cluster(&self) -> Option<&Cluster> {
        self.cluster.get()
    }

    /// The pool of the configured upstream, to look at.
    pub(crate) fn pool(&self) -> &Control {
        self.pools.first()
    }

    /// All pools, to look at and to control.
    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Logins that the upstream decides.
    pub(crate) fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Asks for the end of the gateway.
    pub(crate) fn end(&self) {
        self.end.notify_one();
    }

    /// Waits until somebody asks for the end. Cancel-safe.
    pub(crate) async fn ended(&self) {
        self.end.notified().await;
    }

    /// The settings for a session, which follow what is in force.
    pub(crate) fn follow(&self) -> LiveSettings {
        LiveSettings::new(self.sessions.subscribe())
    }

    /// The settings of sessions in force.
    pub(crate) fn sessions(&self) -> Arc<SessionSettings> {
        Arc::clone(&self.sessions.borrow())
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> GatewaySettings {
        self.lock().settings.clone()
    }

    /// Counts the configurations that were in force, the first one included.
    pub(crate) fn generation(&self) -> u64 {
        self.lock().generation
    }

    /// Counts the configurations that were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Every key with its value in force; secrets are left out.
    pub(crate) fn keys(&self) -> BTreeMap<String, Value> {
        self.lock().config.without_secrets().values()
    }

    /// Reads the configuration file again and puts it in force. Nothing changes if it is not valid.
    pub(crate) fn reload(&self) -> Result<Outcome, ConfigError> {
        let outcome = (self.outside.read)().and_then(|config| self.put_in_force(&config));
        self.tell(outcome)
    }

    /// Puts one key in force until the next reload, as `user` of the console asks; nobody has a name while nobody has
    /// to log in.
    pub(crate) fn set(&self, key: &str, text: &str, user: Option<&str>) -> Result<Outcome, ConfigError> {
        let config = self.lock().config.clone();
        let changed = config.with(key, text).and_then(|config| {
            self.keep_console(key, &GatewaySettings::new(&config)?, user)?;
            Ok(config)
        });
        let outcome = changed.and_then(|config| self.put_in_force(&config));
        self.tell(outcome)
    }

    /// Refuses what would take the console from those who use it, so that they can undo what they did.
    fn keep_console(&self, key: &str, settings: &GatewaySettings, user: Option<&str>) -> Result<(), ConfigError> {
        let (now, then) = (self.sessions(), &settings.session);
        let denies = CONSOLE.iter().any(|name| then.denied.contains(*name) && !now.denied.contains(*name));
        let excludes = user.is_some_and(|user| !then.admins.iter().any(|admin| admin == user));
        if denies || excludes {
            let problem = "this would take the console from you; write it into the file and reload".to_owned();
            return Err(ConfigError::Value { key: key.to_owned(), place: None, problem });
        }
        Ok(())
    }

    fn tell(&self, outcome: Result<Outcome, ConfigError>) -> Result<Outcome, ConfigError> {
        match &outcome {
            Ok(outcome) => tracing::info!(
                applied = joined(&outcome.applied),
                needs_restart = joined(&outcome.needs_restart),
                unchanged = outcome.unchanged,
                generation = outcome.generation,
                "configuration in force"
            ),
            Err(error) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "configuration refused, nothing has changed");
            }
        }
        outcome
    }

    fn put_in_force(&self, wanted: &Config) -> Result<Outcome, ConfigError> {
        let follows = |settings: &GatewaySettings| {
            settings.sentinel.is_some() || settings.single.is_some() || settings.cluster.is_some()
        };
        let will_follow = follows(&GatewaySettings::new(wanted)?);
        let mut running = self.lock();
        let follows = will_follow || follows(&running.settings);
        let fixed = self.fixed(wanted, &running.config, follows);
        let config = wanted.with_those_of(&running.config, fixed.iter().map(String::as_str))?;
        let mut settings = GatewaySettings::new(&config)?;
        let (max, clients_max) = (self.outside.descriptors_max, settings.session.clients_max);
        let shortage = settings::shortage(&settings, max);
        settings::fit(&mut settings, max);
        settings.warnings.extend(shortage.filter(|_| settings.session.clients_max < clients_max));
        if let Some(older) = &running.settings.session.tls {
            settings.session.tls = settings.session.tls.map(|tls| tls.or_same(older));
        }
        if let (true, Some(endpoint)) = (settings.embedded, &self.embedded) {
            settings.pool.endpoint = endpoint.clone();
        }
        let (old, generation) = ((&running.config, &running.settings), running.generation + 1);
        let outcome = Outcome::new(generation, old, wanted, (&config, &settings));
        self.pools.reconfigure(settings.pool.clone());
        self.sessions.send_replace(Arc::new(settings.session.clone()));
        if settings.log != running.settings.log {
            (self.outside.refilter)(&settings.log);
        }
        for warning in settings.warnings.iter().filter(|warning| !running.settings.warnings.contains(warning)) {
            tracing::warn!(warning, "configuration has a weak point");
        }
        *running = Running { config, settings, generation };
        Ok(outcome)
    }

    /// Keys that cannot change now. Where a primary or a cluster is followed, or would be, the URL is one of them, with what
    /// goes with it; where somebody else would decide about logins, those who may log in.
    fn fixed(&self, config: &Config, running: &Config, follows: bool) -> Vec<String> {
        let embedded_is_missing = config.upstream.url == "embedded" && self.embedded.is_none();
        let at_start = Key::all().into_iter().filter(|(_, key)| key.at_start).map(|(name, _)| name);
        let stays = (follows || embedded_is_missing) && config.upstream.url != running.upstream.url;
        let url = if stays { &GO_WITH_URL[..] } else { &[] };
        let logins = if config.auth.mode == running.auth.mode { &[][..] } else { &GO_WITH_MODE };
        at_start.chain(url.iter().chain(logins).map(|name| (*name).to_owned())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn joined(changes: &[Change]) -> String {
    changes.iter().map(Change::to_string).collect::<Vec<_>>().join(", ")
}
