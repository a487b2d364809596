//! Why a command gave no result, and the exit code that says so to scripts.

use thiserror::Error;

use crate::{
    load::LoadError,
    report::{ReportError, difference::DifferenceError},
    system::SystemError,
};

/// A command failed as a whole. Wrong replies and failing targets are results, not failures.
#[derive(Debug, Error)]
pub enum Failure {
    /// A load could not be driven.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A system could not be started.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A measurement of a series failed, so that its figures would say nothing; holds which and why.
    #[error("a measurement failed with {0}")]
    Measurement(String),
    /// Two results cannot be compared.
    #[error(transparent)]
    Difference(#[from] DifferenceError),
    /// The report could not be delivered.
    #[error(transparent)]
    Report(#[from] ReportError),
}

impl Failure {
    /// 64 for arguments, 69 for a target or system that is not there, 74 for a report that cannot be
    /// written, 130 for an interruption, as in `sysexits.h` and shells.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Load(LoadError::Arguments(_) | LoadError::Tls(_)) => 64,
            Self::Load(LoadError::Interrupted) => 130,
            Self::Load(LoadError::Target(_) | LoadError::Generator(_)) => 69,
            Self::Load(LoadError::System(_) | LoadError::Driver) => 71,
            Self::System(SystemError::Config(..)) => 64,
            Self::System(SystemError::Absent(..) | SystemError::Start(..) | SystemError::Io(..)) => 69,
            Self::Difference(_) => 64,
            Self::Measurement(_) => 2,
            Self::Report(_) => 74,
        }
    }
}
