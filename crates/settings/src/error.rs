//! Why there is no configuration to start with, or no other to put in force.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{Origin, reading::unreadable::hint};

/// Why there is no configuration to start with. Names the key or the line, and holds no value that may be a secret.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}{}", path.display(), hint(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is not TOML.
    #[error("{place}: {problem}")]
    Syntax {
        /// Where it is not.
        place: Origin,
        /// What is wrong there.
        problem: String,
    },
    /// A key does not exist, or its value is of the wrong kind, out of range, or contradicts another.
    #[error("{}{key}: {problem}", place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default())]
    Value {
        /// As `section.key`.
        key: String,
        /// Where it stands; nowhere if it has its default or is asked for on the console.
        place: Option<Origin>,
        /// What is wrong with it.
        problem: String,
    },
}
