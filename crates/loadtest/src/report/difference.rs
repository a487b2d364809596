//! The command `diff`: two results that were written with `--json`, side by side. Works on the reports as they are
//! written, so that a result of an earlier version can be compared with one of today.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::Value;
use thiserror::Error;

use crate::report::{
    about::About,
    bars::{Bar, bars},
    deliver::{print, write},
    failure::Failure,
    figures::{Figure, Reading, figures},
    page::{page, preformatted, wide},
    plot::escape,
    table::columns,
};

/// `diff`
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The result to start from: a file that --json=FILE of run, pool, compare or tune has written.
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The result to hold against it, of the same command.
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// Write one self-contained page with bars as well.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Two results cannot be compared.
#[derive(Debug, Error)]
pub enum DifferenceError {
    /// A file cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A file is no JSON.
    #[error("{0} is no result of --json: {1}")]
    Json(PathBuf, serde_json::Error),
    /// The results have no figure in common.
    #[error("{0} and {1} have no figure in common: both have to be results of the same command, with a load in common")]
    NothingInCommon(PathBuf, PathBuf),
}

/// Prints the difference, and returns the exit code.
///
/// # Errors
/// The results cannot be read or compared, or the difference cannot be delivered.
pub fn diff(args: &DiffArgs) -> Result<u8, Failure> {
    let (before, after) = (read(&args.before)?, read(&args.after)?);
    let shared = figures(&before, &after);
    if shared.is_empty() {
        return Err(DifferenceError::NothingInCommon(args.before.clone(), args.after.clone()).into());
    }
    let origins = [("before", &args.before, &before), ("after", &args.after, &after)].map(origin);
    print(&text(&origins, &shared))?;
    if let Some(path) = &args.html {
        write(path, &html(&origins, &shared))?;
    }
    Ok(0)
}

fn read(path: &Path) -> Result<Value, DifferenceError> {
    let text = fs::read_to_string(path).map_err(|error| DifferenceError::File(path.to_owned(), error))?;
    serde_json::from_str(&text).map_err(|error| DifferenceError::Json(path.to_owned(), error))
}

/// Which result is meant by a word, and where it comes from.
fn origin((word, path, result): (&str, &PathBuf, &Value)) -> String {
    let about: Option<About> = result.get("about").and_then(|about| serde_json::from_value(about.clone()).ok());
    let about = about.map_or_else(
        || "nothing is known of where it was measured".to_owned(),
        |about| format!("{}, {}, {}, `{}`", about.date, about.machine, about.version, about.command),
    );
    format!("{word}: {} ({about})", path.display())
}

/// How many figures are better, worse, and no different.
fn answer(shared: &[Figure]) -> String {
    let count = |is: fn(f64) -> bool| shared.iter().filter(|figure| is(figure.gain())).count();
    let (better, worse) = (count(|gain| gain > 0.0), count(|gain| gain < 0.0));
    format!(
        "Of {} figures, {better} are better after, {worse} are worse, and {} differ by no more than measurements do.",
        shared.len(),
        shared.len() - better - worse
    )
}

fn text(origins: &[String; 2], shared: &[Figure]) -> String {
    let mut rows = vec![["", "before", "after", "change", ""].map(str::to_owned).to_vec()];
    rows.extend(shared.iter().map(|figure| {
        let change = match figure.before.value {
            0.0 => "-".to_owned(),
            before => format!("{:+.1} %", (figure.after.value / before - 1.0) * 100.0),
        };
        let name = format!("{}, {}", figure.name, figure.unit);
        vec![name, figure.shown(figure.before), figure.shown(figure.after), change, figure.verdict().to_owned()]
    }));
    format!("{}\n{}\n\n{}\n{}\n", origins[0], origins[1], columns(&rows), answer(shared))
}

fn html(origins: &[String; 2], shared: &[Figure]) -> String {
    let charts = shared.iter().map(|figure| {
        let bar = |name: &str, reading: Reading, is_marked| Bar {
            name: name.to_owned(),
            figure: reading.value,
            text: figure.shown(reading),
            range: reading.range,
            is_marked,
        };
        let what = format!("{}, {} ({} is better): {}", figure.name, figure.unit, figure.better(), figure.verdict());
        bars(&what, &[bar("before", figure.before, false), bar("after", figure.after, true)])
    });
    let origins_shown = origins.iter().map(|origin| format!("<li>{}</li>\n", escape(origin)));
    let body = format!(
        "<ul>\n{}</ul>\n{}{}",
        origins_shown.collect::<String>(),
        wide(&charts.collect::<String>()),
        preformatted(&text(origins, shared))
    );
    page("Two results compared", &format!("<b>{}</b>", answer(shared)), &About::now(), &body)
}
