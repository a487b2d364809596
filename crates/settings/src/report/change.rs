//! What differs between two configurations, as an operator wants to read it: from what to what, and of secrets no
//! more than that they differ.

use std::{collections::BTreeMap, fmt};

use toml::{Table, Value};

use crate::{Config, GatewaySettings};

/// A key with another value than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The dotted name of the key.
    pub key: String,
    /// What has changed about it.
    what: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// What differs between `old` and `new`, in the order of the names.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let (old_shown, new_shown) = (old.without_secrets().values(), new.without_secrets().values());
    let (old, new) = (old.values(), new.values());
    let mut found = Vec::new();
    for (key, value) in &new {
        let Some(before) = old.get(key).filter(|before| *before != value) else { continue };
        let what = match (before, value, old_shown.get(key), new_shown.get(key)) {
            (Value::Table(before), Value::Table(value), ..) => names(before, value),
            (_, _, Some(before), Some(value)) if before != value => format!("{before} -> {value}"),
            _ => "another login".to_owned(),
        };
        found.push(Change { key: key.clone(), what });
    }
    found
}

/// Keys and sections that are not in `told` and yet mean something else, because a file that they name has another
/// content.
pub fn changes_of_files(old: &GatewaySettings, new: &GatewaySettings, told: &[Change]) -> Vec<Change> {
    let is_told = |key: &str| {
        told.iter()
            .any(|change| change.key.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    let is_new = |key: &String, digest: &[u8; 32]| old.foreign.get(key).is_some_and(|before| before != digest);
    let found = new.foreign.iter().filter(|(key, digest)| is_new(key, digest) && !is_told(key));
    found
        .map(|(key, _)| Change { key: key.clone(), what: "a file that it names has another content".to_owned() })
        .collect()
}

/// Names that came, went, or have another secret.
fn names(before: &Table, now: &Table) -> String {
    let mut told = BTreeMap::<&str, Vec<&str>>::new();
    for (name, secret) in now {
        match before.get(name) {
            None => told.entry("added").or_default().push(name),
            Some(old) if old != secret && secret.is_table() => told.entry("changed").or_default().push(name),
            Some(old) if old != secret => told.entry("another password for").or_default().push(name),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|name| !now.contains_key(*name)).map(String::as_str);
    told.entry("removed").or_default().extend(gone);
    told.retain(|_, names| !names.is_empty());
    let parts: Vec<String> = told.iter().map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).expect("valid")
    }

    fn told(old: &str, new: &str) -> Vec<String> {
        changes(&config(old), &config(new)).iter().map(Change::to_string).collect()
    }

    #[test]
    fn a_change_is_told_from_what_to_what() {
        assert_eq!(
            told(
                "[pool]\nworkers = 4",
                "[pool]\nworkers = 8\nqueue_timeout_ms = \"1s\"\n[commands]\ndeny = [\"KEYS\"]"
            ),
            ["commands.deny: [] -> [\"KEYS\"]", "pool.queue_timeout_ms: 5000 -> 1000", "pool.workers: 4 -> 8"]
        );
        assert_eq!(told("", "[upstream.tls]\nverify = \"ca\""), ["upstream.tls.verify: \"full\" -> \"ca\""]);
        assert_eq!(told("", ""), Vec::<String>::new());
    }

    #[test]
    fn of_secrets_only_the_names_are_told() {
        let url = |login: &str| format!("[upstream]\nurl = \"redis://{login}@host\"");
        assert_eq!(told(&url(":one"), &url(":two")), ["upstream.url: another login"]);
        assert_eq!(told("", &url(":two")), ["upstream.url: \"embedded\" -> \"redis://(login)@host\""]);
        assert_eq!(
            told("[auth.users]\na = \"1\"\nb = \"2\"\nc = \"3\"", "[auth.users]\nb = \"4\"\nc = \"3\"\nd = \"5\""),
            ["auth.users: added d; another password for b; removed a"]
        );
        assert_eq!(
            told("[users.a]\nclients_max = 1", "[users.a]\nclients_max = 2\n[users.b]\ndeny = [\"KEYS\"]"),
            ["users: added b; changed a"]
        );
    }
}
