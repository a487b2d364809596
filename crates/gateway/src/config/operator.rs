//! The configuration in force, and the one way to change it: by the file read again, or key by key. A
//! configuration counts as a whole or not at all. Asked by signals and by the console.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use pool::{Control, Endpoint};
use settings::{Config, ConfigError, GatewaySettings, LogSettings, SessionSettings, without_values};
use tokio::sync::{Notify, watch};
use toml::{Table, Value};

use crate::config::live_settings::LiveSettings;

/// Keys that count only at the start.
const AT_START: [&str; 16] = [
    "listen",
    "log.format",
    "metrics.connections_max",
    "metrics.listen",
    "metrics.timeout_ms",
    "otel.endpoint",
    "otel.sample_ratio",
    "pool.queue_capacity",
    "protected_mode",
    "pubsub.backlog_bytes_max",
    "pubsub.backlog_messages",
    "pubsub.mode",
    "pubsub.subscriptions_max",
    "reload",
    "reuse_port",
    "runtime.threads",
];

/// What became of each key of a new configuration.
// Open: a plain value, shown by the console.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Counts the configurations that were in force.
    pub(crate) generation: u64,
    pub(crate) applied: Vec<String>,
    pub(crate) needs_restart: Vec<String>,
    pub(crate) unchanged: Vec<String>,
}

/// What the configuration needs of those who start it.
pub(crate) struct Outside {
    read: Box<dyn Fn() -> Result<Config, ConfigError> + Send + Sync>,
    refilter: Box<dyn Fn(&LogSettings) + Send + Sync>,
}

impl Outside {
    /// `read` reads the file again, with what the command line overrides; `refilter` puts another log filter in force.
    pub(crate) fn new(
        read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static,
        refilter: impl Fn(&LogSettings) + Send + Sync + 'static,
    ) -> Self {
        Self { read: Box::new(read), refilter: Box::new(refilter) }
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
    pool: Control,
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
        pool: Control,
        embedded: Option<Endpoint>,
    ) -> Self {
        let sessions = watch::Sender::new(Arc::new(settings.session.clone()));
        let running = Mutex::new(Running { config, settings, generation: 1 });
        Self { outside, running, sessions, pool, embedded, refused: AtomicU64::new(0), end: Notify::new() }
    }

    /// The pool, to look at and to control.
    pub(crate) fn pool(&self) -> &Control {
        &self.pool
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
    pub(crate) fn keys(&self) -> Result<BTreeMap<String, Value>, ConfigError> {
        let config = self.lock().config.clone();
        Ok(flat(&table(&config.without_secrets())?))
    }

    /// Reads the configuration file again and puts it in force. Nothing changes if it is not valid.
    pub(crate) fn reload(&self) -> Result<Outcome, ConfigError> {
        let outcome = (self.outside.read)().and_then(|config| self.put_in_force(&config));
        self.tell(outcome)
    }

    /// Puts one key in force until the next reload.
    pub(crate) fn set(&self, key: &str, text: &str) -> Result<Outcome, ConfigError> {
        let outcome = self.with(key, text).and_then(|config| self.put_in_force(&config));
        self.tell(outcome)
    }

    fn tell(&self, outcome: Result<Outcome, ConfigError>) -> Result<Outcome, ConfigError> {
        match &outcome {
            Ok(outcome) => tracing::info!(
                generation = outcome.generation,
                applied = outcome.applied.join(" "),
                needs_restart = outcome.needs_restart.join(" "),
                unchanged = outcome.unchanged.len(),
                "configuration in force"
            ),
            Err(error) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                tracing::error!(%error, "configuration refused, nothing has changed");
            }
        }
        outcome
    }

    /// The configuration in force, but for one key.
    fn with(&self, key: &str, text: &str) -> Result<Config, ConfigError> {
        let mut table = table(&self.lock().config)?;
        let Some(place) = place(&mut table, key) else {
            return Err(ConfigError::Console(format!("there is no key \"{key}\"")));
        };
        if place.is_table() {
            return Err(ConfigError::Console(format!("{key}: change the file and reload")));
        }
        *place = match place {
            Value::String(_) => Value::String(text.to_owned()),
            _ => read_value(text).ok_or_else(|| ConfigError::Console(format!("{key}: that is no value")))?,
        };
        table.try_into().map_err(|error: toml::de::Error| {
            ConfigError::Console(format!("{key}: {}", without_values(error.message())))
        })
    }

    fn put_in_force(&self, config: &Config) -> Result<Outcome, ConfigError> {
        GatewaySettings::new(config)?;
        let mut running = self.lock();
        let (old, wanted) = (table(&running.config)?, table(config)?);
        let mut possible = wanted.clone();
        for key in self.fixed(config) {
            if let (Some(to), Some(from)) = (place(&mut possible, key), place(&mut old.clone(), key)) {
                *to = from.clone();
            }
        }
        let outcome = Outcome::new(running.generation + 1, &flat(&old), &flat(&wanted), &flat(&possible));
        let config: Config = possible
            .try_into()
            .map_err(|error: toml::de::Error| ConfigError::Console(without_values(error.message())))?;
        let mut settings = GatewaySettings::new(&config)?;
        if let Some(older) = &running.settings.session.tls {
            settings.session.tls = settings.session.tls.map(|tls| tls.or_same(older));
        }
        if let (true, Some(endpoint)) = (settings.embedded, &self.embedded) {
            settings.pool.endpoint = endpoint.clone();
        }
        self.pool.reconfigure(settings.pool.clone());
        self.sessions.send_replace(Arc::new(settings.session.clone()));
        if settings.log != running.settings.log {
            (self.outside.refilter)(&settings.log);
        }
        *running = Running { config, settings, generation: outcome.generation };
        Ok(outcome)
    }

    /// Keys that cannot change now.
    fn fixed(&self, config: &Config) -> impl Iterator<Item = &'static str> {
        let embedded_is_missing = config.upstream.url == "embedded" && self.embedded.is_none();
        AT_START.into_iter().chain(embedded_is_missing.then_some("upstream.url"))
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outcome {
    fn new(
        generation: u64,
        old: &BTreeMap<String, Value>,
        wanted: &BTreeMap<String, Value>,
        possible: &BTreeMap<String, Value>,
    ) -> Self {
        let mut outcome = Self { generation, ..Self::default() };
        for (key, value) in wanted {
            let list = if old.get(key) == Some(value) {
                &mut outcome.unchanged
            } else if possible.get(key) == Some(value) {
                &mut outcome.applied
            } else {
                &mut outcome.needs_restart
            };
            list.push(key.clone());
        }
        outcome
    }
}

fn table(config: &Config) -> Result<Table, ConfigError> {
    Table::try_from(config).map_err(|error| ConfigError::Console(error.to_string()))
}

/// Keys as `section.key`.
fn flat(table: &Table) -> BTreeMap<String, Value> {
    let mut keys = BTreeMap::new();
    for (name, value) in table {
        match value {
            Value::Table(section) => {
                keys.extend(section.iter().map(|(key, value)| (format!("{name}.{key}"), value.clone())));
            }
            value => drop(keys.insert(name.clone(), value.clone())),
        }
    }
    keys
}

fn place<'t>(table: &'t mut Table, key: &str) -> Option<&'t mut Value> {
    match key.split_once('.') {
        Some((section, key)) => table.get_mut(section)?.as_table_mut()?.get_mut(key),
        None => table.get_mut(key).filter(|value| !value.is_table()),
    }
}

fn read_value(text: &str) -> Option<Value> {
    let table: Table = format!("value = {text}").parse().ok()?;
    (table.len() == 1).then(|| table.get("value").cloned()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_their_dotted_names() {
        let mut table = table(&Config::default()).unwrap();
        assert_eq!(place(&mut table, "pool.workers"), Some(&mut Value::Integer(4)));
        assert!(place(&mut table, "listen").is_some());
        assert_eq!(place(&mut table, "pool"), None);
        assert_eq!(place(&mut table, "pool.nosuch"), None);
        for key in AT_START {
            assert!(place(&mut table, key).is_some(), "{key}");
        }
    }

    #[test]
    fn values_are_read_as_in_the_file() {
        assert_eq!(read_value("1_000"), Some(Value::Integer(1000)));
        assert_eq!(read_value("[\"keys\"]").and_then(|value| value.as_array().map(Vec::len)), Some(1));
        assert_eq!(read_value("1\nother = 2"), None);
        assert_eq!(read_value("nonsense"), None);
    }
}
