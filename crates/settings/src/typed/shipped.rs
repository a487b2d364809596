//! A configuration as a file, in the order of its sections. The one that is shipped, `config/respool.toml`, has every key
//! with its documentation and default; `--check` prints the one in effect.

use std::fmt::Write;

use toml::{Table, Value};

use crate::{
    Config,
    sections::auth::User,
    typed::{
        key::Key,
        kind::Kind,
        units::{bytes_text, millis_text},
    },
};

const HEAD: &str =
    "# respool: every key with its default. `respool --check --config FILE` says what is wrong with a file.
# A time is a number in the unit that its key names, or a text with a unit: 5000 or \"5s\".
# A size is a number of bytes, or a text with a unit: 65536 or \"64KiB\".
# In texts, `${NAME}` stands for the environment variable NAME.
";

/// The text of the file that is shipped.
pub fn shipped() -> String {
    let mut file = File { text: format!("{HEAD}\n"), documents: true };
    file.section("", Config::KEYS, &Table::try_from(Config::default()).unwrap_or_default());
    file.text
}

/// A file that says what `config` says, without documentation.
pub(crate) fn file_of(config: &Config) -> String {
    let mut file = File { text: String::new(), documents: false };
    file.section("", Config::KEYS, &Table::try_from(config).unwrap_or_default());
    file.text
}

struct File {
    text: String,
    documents: bool,
}

impl File {
    /// The keys of a section, and its sections after them.
    fn section(&mut self, name: &str, keys: &[Key], values: &Table) {
        if !name.is_empty() {
            self.line(format_args!("[{name}]"));
        }
        let value = |key: &Key| values.get(key.name).unwrap_or(&Value::Boolean(false));
        for key in keys.iter().filter(|key| !matches!(key.kind, Kind::Section(_) | Kind::SectionByName(_))) {
            self.docs(key.docs);
            self.line(format_args!("{} = {}", key.name, written(key.kind, value(key))));
        }
        for key in keys {
            match (key.kind, value(key)) {
                (Kind::Section(inner), Value::Table(values)) => {
                    let name = if name.is_empty() { key.name.to_owned() } else { format!("{name}.{}", key.name) };
                    self.text.push('\n');
                    // The documentation of most is but their name.
                    self.docs(key.docs.iter().filter(|line| !line.starts_with(" `[")));
                    self.section(&name, inner, values);
                }
                (Kind::SectionByName(inner), _) if self.documents => self.example(key, inner),
                (Kind::SectionByName(inner), Value::Table(named)) => {
                    for (name, values) in named.iter().filter_map(|(name, values)| Some((name, values.as_table()?))) {
                        self.text.push('\n');
                        self.section(&format!("{}.{}", key.name, Value::from(name.as_str())), inner, values);
                    }
                }
                _ => {}
            }
        }
    }

    /// A section of which there is one for each name, and none to begin with.
    fn example(&mut self, key: &Key, inner: &[Key]) {
        let defaults = Table::try_from(User::default()).unwrap_or_default();
        self.text.push('\n');
        self.docs(key.docs);
        self.line(format_args!("# [{}.NAME]", key.name));
        for key in inner {
            self.docs(key.docs);
            let value = defaults.get(key.name).unwrap_or(&Value::Boolean(false));
            self.line(format_args!("# {} = {}", key.name, written(key.kind, value)));
        }
    }

    fn docs<'d>(&mut self, lines: impl IntoIterator<Item = &'d &'static str>) {
        if self.documents {
            lines.into_iter().for_each(|line| self.line(format_args!("#{line}")));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// A value, with what it is in a larger unit behind it.
fn written(kind: Kind, value: &Value) -> String {
    let Value::Integer(number) = value else { return value.to_string() };
    let plain = grouped(*number);
    let unsigned = u64::try_from(*number).unwrap_or_default();
    match kind {
        Kind::Millis if unsigned >= 1_000 => format!("{plain} # {}", millis_text(unsigned)),
        Kind::Micros if unsigned >= 1_000 && unsigned.is_multiple_of(1_000) => {
            format!("{plain} # {}", millis_text(unsigned / 1_000))
        }
        Kind::Seconds if unsigned >= 60 => format!("{plain} # {}", millis_text(unsigned * 1_000)),
        Kind::Bytes if unsigned >= 1 << 10 => {
            format!("{plain} # {}", bytes_text(usize::try_from(unsigned).unwrap_or(usize::MAX)))
        }
        _ => plain,
    }
}

/// In groups of three digits.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_holds_every_key_with_its_documentation_and_default() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/respool.toml");
        let found = std::fs::read_to_string(path).expect("the file is there");
        assert!(
            found == shipped(),
            "config/respool.toml differs from the sections: cargo run -p respool-settings --example shipped > config/respool.toml"
        );
        assert_eq!(toml::from_str::<Config>(&found).expect("valid"), Config::default());
    }
}
