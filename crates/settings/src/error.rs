//! Why there is no configuration to start with, or no other to put in force.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why there is no configuration to start with. Names the key or the line.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of the wrong type.
    #[error("{}: {problem}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where in it, and what is wrong there.
        problem: String,
    },
    /// A value is out of range or contradicts another.
    #[error("{key}: {problem}")]
    Value {
        /// As `section.key`.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// A change to a running configuration that cannot be read.
    #[error("{0}")]
    Console(String),
}
