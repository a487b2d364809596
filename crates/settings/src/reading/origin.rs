//! Where a configuration says what: the file, the line of each key, and the options of the command line that count
//! instead. An error of a value names its place by this.

use std::{collections::BTreeMap, fmt, path::PathBuf};

/// Where a value stands that an error is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file, counted from 1.
    Line(PathBuf, usize),
    /// An option of the command line.
    Option(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(path, line) => write!(f, "{}: line {line}", path.display()),
            Self::Option(option) => f.write_str(option),
        }
    }
}

/// The places of all that is said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origins {
    by_key: BTreeMap<String, Origin>,
}

impl Origins {
    /// `key` is said at `place`, whatever was said before.
    pub(crate) fn add(&mut self, key: &str, place: Origin) {
        self.by_key.insert(key.to_owned(), place);
    }

    /// Where `key` is said, or where its section begins; nowhere if it has its default.
    pub(crate) fn of(&self, key: &str) -> Option<&Origin> {
        self.by_key.get(key)
    }
}
