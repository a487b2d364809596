//! A configuration as dotted names with their values: to show it, to compare it, and to change one key of it.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::{Config, ConfigError, Key, Kind, reading::file::no_such_key};

impl Config {
    /// Every key with its value, by its dotted name. Secrets are in it unless this is [`Self::without_secrets`].
    pub fn values(&self) -> BTreeMap<String, Value> {
        // What was read from TOML can be written as TOML.
        let table = Table::try_from(self).unwrap_or_default();
        let value = |name: String| place(&table, &name).cloned().map(|value| (name, value));
        Key::all().into_iter().filter_map(|(name, _)| value(name)).collect()
    }

    /// This configuration with another value for one key. `text` is the value as on the console, without quotes.
    ///
    /// # Errors
    /// There is no such key, or it takes no such value. The error names the key and repeats no value.
    pub fn with(&self, name: &str, text: &str) -> Result<Self, ConfigError> {
        let refused = |problem: String| ConfigError::Value { key: name.to_owned(), place: None, problem };
        let kind = match Key::named(name).map(|key| key.kind) {
            None => return Err(refused(no_such_key(name))),
            Some(Kind::Section(_)) => return Err(refused("is a section, not a key".to_owned())),
            Some(Kind::TextByName | Kind::SectionByName(_)) => {
                return Err(refused("change it in the file and reload".to_owned()));
            }
            Some(kind) => kind,
        };
        let value = kind.read(text).ok_or_else(|| refused(format!("expected {}", kind.wanted())))?;
        self.with_values([(name, value)])
    }

    /// This configuration with the values of `other` for `names`.
    ///
    /// # Errors
    /// Never for names of keys: what has been a value once can be one again.
    pub fn with_those_of<'n>(&self, other: &Self, names: impl Iterator<Item = &'n str>) -> Result<Self, ConfigError> {
        let others = other.values();
        self.with_values(names.filter_map(|name| Some((name, others.get(name)?.clone()))))
    }

    fn with_values<'n>(&self, values: impl IntoIterator<Item = (&'n str, Value)>) -> Result<Self, ConfigError> {
        let mut table = Table::try_from(self).unwrap_or_default();
        let mut last = String::new();
        for (name, value) in values {
            last = name.to_owned();
            if let Some(place) = place_mut(&mut table, name) {
                *place = value;
            }
        }
        // Whatever a reader finds wrong here may quote a value.
        let refused = |_| ConfigError::Value { key: last, place: None, problem: "takes no such value".to_owned() };
        table.try_into().map_err(refused)
    }
}

fn place<'t>(table: &'t Table, name: &str) -> Option<&'t Value> {
    let (section, key) = name.rsplit_once('.').map_or((None, name), |(section, key)| (Some(section), key));
    let mut inside = table;
    for part in section.iter().flat_map(|section| section.split('.')) {
        inside = inside.get(part)?.as_table()?;
    }
    inside.get(key)
}

fn place_mut<'t>(table: &'t mut Table, name: &str) -> Option<&'t mut Value> {
    let (section, key) = name.rsplit_once('.').map_or((None, name), |(section, key)| (Some(section), key));
    let mut inside = table;
    for part in section.iter().flat_map(|section| section.split('.')) {
        inside = inside.get_mut(part)?.as_table_mut()?;
    }
    inside.get_mut(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str, text: &str) -> String {
        Config::default().with(name, text).expect_err("refused").to_string()
    }

    #[test]
    fn every_key_has_a_value() {
        let values = Config::default().values();
        assert_eq!(values.len(), Key::all().len());
        assert_eq!(values["pool.workers"], Value::Integer(4));
        assert_eq!(values["upstream.tls.verify"], Value::String("full".into()));
        assert!(values.values().all(|value| !value.is_table() || value.as_table().is_some_and(Table::is_empty)));
    }

    #[test]
    fn values_are_read_as_in_the_file_but_for_quotes() {
        let config = Config::default();
        for (name, text, value) in [
            ("pool.workers", "1_000", Value::Integer(1_000)),
            ("pool.queue_timeout_ms", "5s", Value::Integer(5_000)),
            ("pool.queue_timeout_ms", "\"5s\"", Value::Integer(5_000)),
            ("pool.queue_bytes_max", "64 MiB", Value::Integer(64 << 20)),
            ("commands.deny", "[\"KEYS\"]", Value::Array(vec!["KEYS".into()])),
            ("listen", "127.0.0.1:7000", "127.0.0.1:7000".into()),
            ("listen", "[\"127.0.0.1:7000\"]", Value::Array(vec!["127.0.0.1:7000".into()])),
            ("upstream.tls.verify", "ca", "ca".into()),
            ("reuse_port", "true", true.into()),
            ("log.filter", "1", "1".into()),
        ] {
            assert_eq!(config.with(name, text).expect(name).values()[name], value, "{name} = {text}");
        }
    }

    #[test]
    fn what_is_no_key_or_no_value_is_told() {
        assert_eq!(problem("pool.worker", "1"), "pool.worker: no such key; did you mean \"workers\"?");
        assert_eq!(problem("workers", "1"), "workers: no such key or section; did you mean pool.workers?");
        assert_eq!(problem("nosuch.key", "1"), "nosuch.key: no such key");
        assert_eq!(problem("pool", "1"), "pool: is a section, not a key");
        assert_eq!(problem("auth.users", "{}"), "auth.users: change it in the file and reload");
        for text in ["none", "-1", "1\nother = 2", "", "1.5", "\"1\""] {
            assert!(problem("pool.workers", text).starts_with("pool.workers: expected a whole number"), "{text}");
        }
        assert!(problem("pool.queue_timeout_ms", "5 parsecs").contains("\"5s\""));
    }

    #[test]
    fn values_of_another_configuration_can_be_kept() {
        let old = Config::default();
        let new = old.with("pool.workers", "8").and_then(|config| config.with("runtime.threads", "2")).expect("valid");
        let kept = new.with_those_of(&old, ["runtime.threads"].into_iter()).expect("valid");
        assert_eq!((kept.pool.workers, kept.runtime.threads), (8, 1));
    }
}
