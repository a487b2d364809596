//! Where results go: tables and JSON on standard output, JSON and HTML in files.

use std::{fs, io, io::Write, path::Path, path::PathBuf};

use clap::Args;
use serde::Serialize;
use thiserror::Error;

use crate::report::about::About;

/// Where the result goes.
#[derive(Debug, Clone, Default, Args)]
pub struct ReportArgs {
    /// Print JSON instead of tables, or write it to a file with --json=FILE. `respool-loadtest diff` compares two.
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

/// A result with its circumstances.
#[derive(Serialize)]
struct Delivered<'r, R> {
    about: &'r About,
    #[serde(flatten)]
    result: &'r R,
}

/// Delivers a result in all the forms that were asked for.
///
/// # Errors
/// See [`ReportError`].
pub fn deliver(
    args: &ReportArgs,
    result: &impl Serialize,
    text: impl FnOnce() -> String,
    html: impl FnOnce(&About) -> String,
) -> Result<(), ReportError> {
    let about = About::now();
    if let Some(path) = &args.html {
        write(path, &html(&about))?;
    }
    let mut json = serde_json::to_string_pretty(&Delivered { about: &about, result })?;
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

pub(crate) fn write(path: &Path, text: &str) -> Result<(), ReportError> {
    fs::write(path, text).map_err(|error| ReportError::File(path.to_owned(), error))
}

pub(crate) fn print(text: &str) -> Result<(), ReportError> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        // The reader of a pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(ReportError::Print),
    }
}
