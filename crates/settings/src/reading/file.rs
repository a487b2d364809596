//! Reads the text of a configuration file. A key that does not exist and a value of the wrong kind are refused
//! with the line, what is wanted there and what may have been meant. What stands there is not repeated, since it may
//! be a password.

use std::path::Path;

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use crate::{
    Config, ConfigError,
    reading::{
        origin::{Origin, Origins},
        suggestion::did_you_mean,
    },
    typed::{key::Key, kind::Kind},
};

impl Config {
    /// Reads the text of a file; `path` is for errors only.
    ///
    /// # Errors
    /// The text is no TOML, or a key does not exist, or a value is of the wrong kind. The error names the line.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        parse(text, path).map(|(config, _)| config)
    }
}

/// The file at `path`, and where in it each key stands.
pub(crate) fn read(path: &Path) -> Result<(Config, Origins), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
    parse(&text, path)
}

fn parse(text: &str, path: &Path) -> Result<(Config, Origins), ConfigError> {
    let syntax = |error: toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        ConfigError::Syntax { place: Origin::Line(path.to_owned(), line), problem: without_values(error.message()) }
    };
    let spans = DeTable::parse(text).map_err(syntax)?;
    let values: Table = text
        .parse()
        .map_err(|error| too_large(text, path, spans.get_ref(), &error).unwrap_or_else(|| syntax(error)))?;
    let mut reader = Reader { text, path, origins: Origins::default() };
    reader.check("", Config::KEYS, spans.get_ref(), &values)?;
    // Whatever is left to refuse is refused without its place.
    let config = values.try_into().map_err(syntax)?;
    Ok((config, reader.origins))
}

/// A walk over all that a file says.
struct Reader<'t> {
    text: &'t str,
    path: &'t Path,
    origins: Origins,
}

impl Reader<'_> {
    /// Notes where the keys of a section stand, and refuses the first that is wrong.
    fn check(&mut self, before: &str, keys: &[Key], spans: &DeTable<'_>, values: &Table) -> Result<(), ConfigError> {
        for (name, span) in spans.iter().map(|(name, value)| (name.get_ref().as_ref(), (name.span(), value))) {
            let path = format!("{before}{name}");
            let place = Origin::Line(self.path.to_owned(), line_of(self.text, span.0.start));
            let refused =
                |problem: String| ConfigError::Value { key: path.clone(), place: Some(place.clone()), problem };
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                return Err(refused(unknown(before, name, keys)));
            };
            let Some(value) = values.get(name) else { continue };
            if !key.kind.admits(value) {
                return Err(refused(format!("expected {}, found {}", key.kind.wanted(), described(value))));
            }
            self.origins.add(&path, place);
            if let (Kind::Section(inner), Value::Table(values), Some(spans)) =
                (key.kind, value, span.1.get_ref().as_table())
            {
                self.check(&format!("{path}."), inner, spans, values)?;
            }
            if let (Kind::SectionByName(inner), Value::Table(named), Some(spans)) =
                (key.kind, value, span.1.get_ref().as_table())
            {
                for (name, spans) in spans {
                    let name = name.get_ref().as_ref();
                    if let (Some(Value::Table(values)), Some(spans)) = (named.get(name), spans.get_ref().as_table()) {
                        self.check(&format!("{path}.{name}."), inner, spans, values)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// That a number is larger than TOML has numbers, if this says so.
fn too_large(text: &str, path: &Path, spans: &DeTable<'_>, error: &toml::de::Error) -> Option<ConfigError> {
    let at = error.span()?.start;
    let (key, kind, value) = key_at(Kind::Section(Config::KEYS), spans, at)?;
    let is_number = |value: &Spanned<DeValue<'_>>| value.get_ref().is_integer() && value.span().contains(&at);
    let in_list = value.get_ref().as_array().is_some_and(|list| list.iter().any(is_number));
    let place = Some(Origin::Line(path.to_owned(), line_of(text, value.span().start)));
    let problem = format!("expected {}, found a number that is too large", kind.wanted());
    (in_list || is_number(value)).then_some(ConfigError::Value { key, place, problem })
}

/// The key of a section of this kind whose value is at this byte of a file, its kind, and the value.
fn key_at<'t, 'f>(
    section: Kind,
    table: &'t DeTable<'f>,
    at: usize,
) -> Option<(String, Kind, &'t Spanned<DeValue<'f>>)> {
    table.iter().find_map(|(name, value)| {
        let name = name.get_ref();
        let kind = match section {
            Kind::Section(keys) => keys.iter().find(|key| key.name == *name)?.kind,
            Kind::SectionByName(keys) => Kind::Section(keys),
            _ => return None,
        };
        if let (Some(inner), Kind::Section(_) | Kind::SectionByName(_)) = (value.get_ref().as_table(), kind) {
            let (path, kind, value) = key_at(kind, inner, at)?;
            return Some((format!("{name}.{path}"), kind, value));
        }
        value.span().contains(&at).then(|| (name.to_string(), kind, value))
    })
}

/// What is wrong with a dotted name that is none of a key.
pub(crate) fn no_such_key(path: &str) -> String {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    match Key::named(section).map(|key| key.kind) {
        Some(Kind::Section(keys)) => unknown(section, name, keys),
        Some(_) | None => unknown(section, name, if section.is_empty() { Config::KEYS } else { &[] }),
    }
}

/// What is wrong with a key that does not exist: where it belongs, or what may have been meant.
fn unknown(before: &str, name: &str, keys: &[Key]) -> String {
    let what = if before.is_empty() { "no such key or section" } else { "no such key" };
    let elsewhere: Vec<String> =
        Key::all().into_iter().filter(|(_, key)| key.name == name).map(|(path, _)| path).collect();
    match elsewhere.as_slice() {
        [] => format!("{what}{}", did_you_mean(name, keys.iter().map(|key| key.name))),
        paths => format!("{what}; did you mean {}?", paths.join(" or ")),
    }
}

/// A value, without what may be a secret.
fn described(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(number) if *number < 0 => "a negative number",
        Value::Integer(_) => "a number",
        Value::Float(_) => "a number that is not whole",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or_default().matches('\n').count() + 1
}

/// A reader's message without the value that it found.
fn without_values(message: &str) -> String {
    let Some(at) = message.find("string \"") else { return message.to_owned() };
    // What was expected follows the value, which itself may hold anything.
    let rest = message.rfind("\", expected").map_or("", |end| &message[end + 1..]);
    format!("{}a string{rest}", &message[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        Config::parse(text, Path::new("f")).expect_err("refused").to_string()
    }

    #[test]
    fn an_error_tells_the_place_and_not_what_stands_there() {
        for (text, place) in [
            ("[upstream]\nurl = \"redis://:hunter2@host", "f: line 2: "),
            ("[auth.users]\napp = hunter2", "f: line 2: "),
            ("[auth]\nusers = \"hunter2\"", "f: line 2: auth.users: expected names with a text each"),
            ("[auth.users]\na = \"x\"\napp = [\"hunter2\"]", "f: line 1: auth.users: expected names with a text each"),
            ("[pool]\nworkers = \"hunter2\\\", expected hunter2\"", "f: line 2: pool.workers: expected a whole number"),
            ("[auth]\nadmins = [\"a\"]\nfailures_max = \"hunter2\"", "f: line 3: auth.failures_max: expected a whole"),
            ("listen = \"a\"\nlisten = \"hunter2\"", "f: line 2: "),
        ] {
            let problem = problem(text);
            assert!(problem.starts_with(place) && !problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_says_what_is_wanted() {
        for (text, expected) in [
            (
                "[pool]\nworkers = \"4\"",
                "f: line 2: pool.workers: expected a whole number from 0 on, without quotes, found text",
            ),
            (
                "[pool]\n\nworkers = -1",
                "f: line 3: pool.workers: expected a whole number from 0 on, without quotes, found a negative number",
            ),
            (
                "[pool]\nqueue_timeout_ms = \"5 parsecs\"",
                "f: line 2: pool.queue_timeout_ms: expected milliseconds (5000), or a time with its unit (\"5s\"; units: ms, s, m, h, d), found text",
            ),
            (
                "[pool]\nqueue_bytes_max = 1.5",
                "f: line 2: pool.queue_bytes_max: expected bytes (65536), or a size with its unit (\"64KiB\"; units: B, KiB, MiB, GiB, TiB), found a number that is not whole",
            ),
            (
                "listen = 6380",
                "f: line 1: listen: expected text in quotes, or a list of texts, as [\"one\", \"two\"], found a number",
            ),
            (
                "pool = 3",
                "f: line 1: pool: expected a section, that is a line with its name in brackets and keys below, found a number",
            ),
            (
                "[[pool]]\nworkers = 1",
                "f: line 1: pool: expected a section, that is a line with its name in brackets and keys below, found a list",
            ),
            (
                "[pool]\nworkers = 99999999999999999999",
                "f: line 2: pool.workers: expected a whole number from 0 on, without quotes, found a number that is too large",
            ),
            (
                "clients.clients_max = 0xffffffffffffffffffff",
                "f: line 1: clients.clients_max: expected a whole number from 0 on, without quotes, found a number that is too large",
            ),
            (
                "[users.app]\n\nclients_max = 9223372036854775808",
                "f: line 3: users.app.clients_max: expected a whole number from 0 on, without quotes, found a number that is too large",
            ),
            (
                "[commands]\ndeny = [\"a\",\n 99999999999999999999]",
                "f: line 2: commands.deny: expected a list of texts, as [\"one\", \"two\"], found a number that is too large",
            ),
            ("reuse_port = \"true\"", "f: line 1: reuse_port: expected true or false, without quotes, found text"),
        ] {
            assert_eq!(problem(text), expected);
        }
    }

    #[test]
    fn a_key_that_does_not_exist_says_what_may_have_been_meant() {
        for (text, expected) in [
            ("[pool]\nworker = 4", "f: line 2: pool.worker: no such key; did you mean \"workers\"?"),
            (
                "[pool]\nqueue_timeout = \"5s\"",
                "f: line 2: pool.queue_timeout: no such key; did you mean \"queue_timeout_ms\"?",
            ),
            ("workers = 4", "f: line 1: workers: no such key or section; did you mean pool.workers?"),
            ("[clients]\npool.workers = 4", "f: line 2: clients.pool: no such key"),
            ("[client]\nclients_max = 4", "f: line 1: client: no such key or section; did you mean \"clients\"?"),
            ("[pool]\nurl = \"x\"", "f: line 2: pool.url: no such key; did you mean upstream.url?"),
            ("[metric]\nx = 1", "f: line 1: metric: no such key or section; did you mean \"metrics\"?"),
        ] {
            assert_eq!(problem(text), expected);
        }
    }

    #[test]
    fn times_and_sizes_may_have_units() {
        let text = "[pool]\nqueue_timeout_ms = \"5s\"\nqueue_bytes_max = \"1MiB\"\n[slowlog]\nthreshold_us = \"5ms\"";
        let config = Config::parse(text, Path::new("f")).expect("valid");
        assert_eq!((config.pool.queue_timeout_ms.0, config.pool.queue_bytes_max.0), (5_000, 1 << 20));
        assert_eq!(config.slowlog.threshold_us.0, 5_000);
    }

    #[test]
    fn no_number_is_too_large_to_be_refused() {
        for number in
            ["9223372036854775807", "9223372036854775808", "18446744073709551616", "1e9", "nan", "0x10", "1_0"]
        {
            for key in
                ["pool.workers", "pool.queue_timeout_ms", "pool.queue_bytes_max", "slowlog.threshold_us", "listen"]
            {
                // One or the other, and never a panic.
                let _ = Config::parse(&format!("{key} = {number}"), Path::new("f"));
            }
        }
    }
}
