//! What values may be: the types of the keys, and what an error says that is expected.

use std::collections::BTreeMap;

use toml::Value;

use crate::{
    OneOrMore,
    sections::auth::User,
    typed::{
        key::Key,
        units::{ByteCount, Micros, Millis, Seconds, read_bytes, read_micros, read_millis, read_seconds},
    },
};

/// What the value of a key may be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number from 0 on.
    Count,
    /// A number that need not be whole.
    Fraction,
    /// Text in quotes.
    Text,
    /// A list of texts.
    Texts,
    /// A text, or a list of texts.
    TextOrTexts,
    /// Names, each with a text.
    TextByName,
    /// Milliseconds, or a text with a unit.
    Millis,
    /// Microseconds, or a text with a unit.
    Micros,
    /// Seconds, or a text with a unit.
    Seconds,
    /// Bytes, or a text with a unit.
    Bytes,
    /// Further keys.
    Section(&'static [Key]),
    /// Names, each with further keys.
    SectionByName(&'static [Key]),
}

/// A type that the value of a key may have.
pub(crate) trait Typed: Sized {
    const KIND: Kind;

    /// As it may be shown: without what may be a secret.
    fn shown(&self) -> Self;
}

macro_rules! typed_as_it_is {
    ($($type:ty: $kind:ident,)*) => {
        $(impl Typed for $type {
            const KIND: Kind = Kind::$kind;

            fn shown(&self) -> Self {
                *self
            }
        })*
    };
}

typed_as_it_is! {
    bool: Switch,
    usize: Count,
    f64: Fraction,
    Millis: Millis,
    Micros: Micros,
    Seconds: Seconds,
    ByteCount: Bytes,
}

impl Typed for String {
    const KIND: Kind = Kind::Text;

    /// Without the login of a URL.
    fn shown(&self) -> Self {
        match self.rsplit_once('@') {
            Some((before, address)) if before.contains("://") => {
                let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
                format!("{scheme}://(login)@{address}")
            }
            _ => self.clone(),
        }
    }
}

impl Typed for Vec<String> {
    const KIND: Kind = Kind::Texts;

    fn shown(&self) -> Self {
        self.iter().map(Typed::shown).collect()
    }
}

impl Typed for OneOrMore {
    const KIND: Kind = Kind::TextOrTexts;

    fn shown(&self) -> Self {
        match self {
            Self::One(text) => Self::One(text.shown()),
            Self::More(texts) => Self::More(texts.shown()),
        }
    }
}

impl Typed for BTreeMap<String, String> {
    const KIND: Kind = Kind::TextByName;

    /// The names only.
    fn shown(&self) -> Self {
        self.keys().map(|name| (name.clone(), "(set)".to_owned())).collect()
    }
}

impl Typed for BTreeMap<String, User> {
    const KIND: Kind = Kind::SectionByName(User::KEYS);

    fn shown(&self) -> Self {
        self.iter().map(|(name, user)| (name.clone(), user.shown())).collect()
    }
}

impl Kind {
    /// What an error says that a key of this kind wants.
    pub(crate) fn wanted(self) -> &'static str {
        match self {
            Self::Switch => "true or false, without quotes",
            Self::Count => "a whole number from 0 on, without quotes",
            Self::Fraction => "a number, as 0.5",
            Self::Text => "text in quotes",
            Self::Texts => "a list of texts, as [\"one\", \"two\"]",
            Self::TextOrTexts => "text in quotes, or a list of texts, as [\"one\", \"two\"]",
            Self::TextByName => "names with a text each, as { name = \"text\" }",
            Self::Millis => "milliseconds (5000), or a time with its unit (\"5s\"; units: ms, s, m, h, d)",
            Self::Micros => "microseconds (5000), or a time with its unit (\"5ms\"; units: us, ms, s, m, h, d)",
            Self::Seconds => "seconds (300), or a time with its unit (\"5m\"; units: s, m, h, d)",
            Self::Bytes => "bytes (65536), or a size with its unit (\"64KiB\"; units: B, KiB, MiB, GiB, TiB)",
            Self::SectionByName(_) => "sections, each a line as [users.NAME] and keys below",
            Self::Section(_) => "a section, that is a line with its name in brackets and keys below",
        }
    }

    /// Whether `value` is one of this kind.
    pub(crate) fn admits(self, value: &Value) -> bool {
        let is_text = |value: &Value| value.is_str();
        let are_texts = |value: &Value| value.as_array().is_some_and(|values| values.iter().all(is_text));
        match (self, value) {
            (Self::Switch, value) => value.is_bool(),
            (Self::Count | Self::Millis | Self::Micros | Self::Seconds | Self::Bytes, Value::Integer(number)) => {
                *number >= 0
            }
            (Self::Count, _) => false,
            (Self::Fraction, value) => value.is_float() || value.is_integer(),
            (Self::Text, value) => value.is_str(),
            (Self::Texts, value) => are_texts(value),
            (Self::TextOrTexts, value) => is_text(value) || are_texts(value),
            (Self::TextByName, value) => value.as_table().is_some_and(|table| table.values().all(is_text)),
            (Self::Millis, value) => value.as_str().is_some_and(|text| read_millis(text).is_some()),
            (Self::Micros, value) => value.as_str().is_some_and(|text| read_micros(text).is_some()),
            (Self::Seconds, value) => value.as_str().is_some_and(|text| read_seconds(text).is_some()),
            (Self::Bytes, value) => value.as_str().is_some_and(|text| read_bytes(text).is_some()),
            (Self::SectionByName(_), value) => {
                value.as_table().is_some_and(|table| table.values().all(Value::is_table))
            }
            (Self::Section(_), value) => value.is_table(),
        }
    }

    /// The value that a text means which comes without quotes, as on the console.
    pub fn read(self, text: &str) -> Option<Value> {
        let typed = || {
            let table: toml::Table = format!("value = {text}").parse().ok()?;
            (table.len() == 1).then(|| table.get("value").cloned()).flatten()
        };
        let value = match self {
            Self::Text => Some(Value::String(text.to_owned())),
            Self::Millis | Self::Micros | Self::Seconds | Self::Bytes | Self::TextOrTexts => {
                typed().or_else(|| Some(Value::String(text.to_owned())))
            }
            Self::Switch
            | Self::Count
            | Self::Fraction
            | Self::Texts
            | Self::TextByName
            | Self::Section(_)
            | Self::SectionByName(_) => typed(),
        };
        value.filter(|value| self.admits(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_in_the_file() {
        assert_eq!(Kind::Count.read("1_000"), Some(Value::Integer(1000)));
        assert_eq!(Kind::Texts.read("[\"keys\"]").and_then(|value| value.as_array().map(Vec::len)), Some(1));
        assert_eq!(Kind::Millis.read("5s"), Some(Value::String("5s".into())));
        assert_eq!(Kind::Text.read("1\nother = 2"), Some(Value::String("1\nother = 2".into())));
        for refused in ["1\nother = 2", "nonsense", "-1", "1.5", "\"1\"", "[1]", "", "true"] {
            assert_eq!(Kind::Count.read(refused), None, "{refused}");
        }
        for refused in ["5 parsecs", "-5s", "5.5s", "s", ""] {
            assert_eq!(Kind::Millis.read(refused), None, "{refused}");
        }
    }

    #[test]
    fn what_is_shown_of_a_text_holds_no_login() {
        for (typed, shown) in [
            ("redis://user:p%40ss@host:1/2", "redis://(login)@host:1/2"),
            ("unix://:p@ss@/run/x.sock", "unix://(login)@/run/x.sock"),
            ("redis://host:1/2", "redis://host:1/2"),
            ("someone@example.org", "someone@example.org"),
        ] {
            assert_eq!(typed.to_owned().shown(), shown);
        }
    }
}
