//! Where results go: tables and JSON on standard output, JSON and HTML in files.

use std::{fs, io, io::Write, path::Path, path::PathBuf};

use clap::Args;
use serde::Serialize;
use thiserror::Error;

/// Where the result goes.
#[derive(Debug, Clone, Default, Args)]
pub struct ReportArgs {
    /// Print JSON instead of tables, or write it to a file with --json=FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Write one self-contained page with plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// A report could not be delivered.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file could not be written; holds its path.
    #[error("cannot write {0}: {1}")]
    File(PathBuf, io::Error),
    /// Standard output is gone.
    #[error("cannot print the result: {0}")]
    Print(io::Error),
    /// The result cannot be put into JSON.
    #[error("cannot write the result as JSON")]
    Json(#[from] serde_json::Error),
}

/// Delivers a result in all the forms that were asked for.
///
/// # Errors
/// See [`ReportError`].
pub fn deliver(
    args: &ReportArgs,
    result: &impl Serialize,
    text: impl FnOnce() -> String,
    html: impl FnOnce() -> String,
) -> Result<(), ReportError> {
    if let Some(path) = &args.html {
        write(path, &html())?;
    }
    let mut json = serde_json::to_string_pretty(result)?;
    json.push('\n');
    match &args.json {
        Some(path) if path.as_os_str() == "-" => print(&json),
        Some(path) => {
            write(path, &json)?;
            print(&text())
        }
        None => print(&text()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    fs::write(path, text).map_err(|error| ReportError::File(path.to_owned(), error))
}

fn print(text: &str) -> Result<(), ReportError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader of a pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(ReportError::Print),
    }
}
