//! Starts respool with a configuration file of the user's, in which listening address, upstream, log
//! and the values under trial are replaced.

use std::{
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::Command,
};

use clap::Args;
use serde::Serialize;
use toml_edit::{DocumentMut, value};

use crate::{
    system::{
        doors::Wanted,
        process::Process,
        start::{System, SystemError, find, started, write},
    },
    target::Target,
};

/// Which respool is measured.
#[derive(Debug, Clone, Default, Args)]
pub struct RespoolArgs {
    /// respool's program; otherwise beside this one or in PATH.
    #[arg(long, value_name = "PATH")]
    pub respool: Option<PathBuf>,
    /// respool's configuration; address, upstream and log are replaced, and what is under trial.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The values that decide how much a pool carries; those left out keep what the file or respool says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Trial {
    /// `pool.workers`
    pub workers: Option<NonZeroU32>,
    /// `pool.pipeline_depth`
    pub pipeline_depth: Option<NonZeroU32>,
    /// `runtime.threads`
    pub threads: Option<NonZeroU32>,
}

impl Trial {
    /// Writes the values into a configuration; comments and everything else stay.
    pub fn apply(&self, document: &mut DocumentMut) {
        let keys = [
            ("pool", "workers", self.workers),
            ("pool", "pipeline_depth", self.pipeline_depth),
            ("runtime", "threads", self.threads),
        ];
        for (section, key, number) in keys {
            if let Some(number) = number {
                set(document, section, key, i64::from(number.get()).into());
            }
        }
    }
}

/// Replaces one value and keeps the comment behind it.
fn set(document: &mut DocumentMut, section: &str, key: &str, mut new: toml_edit::Value) {
    let table = document.entry(section).or_insert(toml_edit::table());
    let old = table.get(key).and_then(toml_edit::Item::as_value);
    if let Some(old) = old {
        *new.decor_mut() = old.decor().clone();
    }
    table[key] = value(new);
}

/// Which program to start, and with which file.
#[derive(Debug, Clone)]
pub struct Respool {
    program: PathBuf,
    document: DocumentMut,
    /// In front of this.
    pub upstream: Target,
}

impl Respool {
    /// Finds the program and reads the file.
    ///
    /// # Errors
    /// The program is not there, or the file is no TOML.
    pub fn new(args: &RespoolArgs, upstream: Target) -> Result<Self, SystemError> {
        let absent = SystemError::Absent("respool", "build it with `cargo build --release`, or name it with --respool");
        let program = args.respool.clone().or_else(|| find("respool")).ok_or(absent)?;
        Ok(Self { program, document: args.config.as_deref().map_or(Ok(DocumentMut::new()), read)?, upstream })
    }

    /// Starts it in `directory` and waits until it listens. Reports call it `name`.
    ///
    /// # Errors
    /// It does not start; the message holds what it logged.
    pub async fn start(
        &self,
        name: &str,
        directory: &Path,
        wanted: &Wanted,
        trial: Trial,
    ) -> Result<System, SystemError> {
        let mut document = self.document.clone();
        set(&mut document, "upstream", "url", self.upstream.url().into());
        set(&mut document, "log", "format", "json".into());
        set(&mut document, "log", "filter", "info".into());
        trial.apply(&mut document);
        let own = tempfile::Builder::new()
            .prefix("respool-")
            .tempdir_in(directory)
            .map_err(|error| SystemError::Io("make a directory for respool".to_owned(), error))?
            .keep();
        listen(&mut document, wanted, &own);
        let file = own.join("respool.toml");
        write(&file, &document.to_string())?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(file);
        let mut process = Process::start(command, &own.join("log"))?;
        let listening = async |process: &Process| listening(&process.log(), wanted);
        let mut further = started("respool", &mut process, listening).await?;
        let target = further.remove(0);
        let figure = |section: &str, key: &str| {
            let item = document.get(section).and_then(|section| section.get(key));
            item.map_or_else(|| "default".to_owned(), |item| item.to_string().trim().to_owned())
        };
        let settings = format!(
            "workers {}, pipeline_depth {}, threads {}",
            figure("pool", "workers"),
            figure("pool", "pipeline_depth"),
            figure("runtime", "threads")
        );
        Ok(System { name: name.to_owned(), target, further, process: Some(process), settings, is_canned: false })
    }
}

/// Has it listen on a port of the system's choice, and wherever else is wanted, with files in `own`.
fn listen(document: &mut DocumentMut, wanted: &Wanted, own: &Path) {
    let mut addresses = toml_edit::Array::new();
    addresses.push("127.0.0.1:0");
    if let Some(certificates) = &wanted.certificates {
        addresses.push("tls://127.0.0.1:0");
        set(document, "tls", "cert_file", certificates.cert.display().to_string().into());
        set(document, "tls", "key_file", certificates.key.display().to_string().into());
    }
    if wanted.unix {
        addresses.push(format!("unix:{}", own.join("socket").display()));
    }
    document["listen"] = value(addresses);
}

/// Reads a configuration file with its comments.
///
/// # Errors
/// It cannot be read or is no TOML.
pub fn read(path: &Path) -> Result<DocumentMut, SystemError> {
    let text = fs::read_to_string(path)
        .map_err(|error| SystemError::Io(format!("read the configuration {}", path.display()), error))?;
    text.parse().map_err(|error: toml_edit::TomlError| SystemError::Config(path.to_owned(), error.to_string()))
}

/// The addresses in the log line that says where it listens, the TCP port first.
fn listening(log: &str, wanted: &Wanted) -> Option<Vec<Target>> {
    log.lines().find_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields").unwrap_or(&line);
        (fields.get("message")? == "listening").then_some(())?;
        let addresses = fields.get("listen")?.as_str()?.split(' ');
        let targets: Vec<_> = addresses.filter_map(|address| target(address, wanted)).collect();
        (!targets.is_empty()).then_some(targets)
    })
}

fn target(address: &str, wanted: &Wanted) -> Option<Target> {
    if let Some(secure) = address.strip_prefix("tls://") {
        let port = secure.rsplit_once(':')?.1.parse().ok()?;
        return Some(Target::secure_loopback(port, wanted.tls.clone()?));
    }
    if let Some(path) = address.strip_prefix("unix:") {
        return Some(Target::unix(path.into()));
    }
    format!("redis://{address}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_log() {
        let log = "not json\n{\"fields\":{\"message\":\"upstream is up\"}}\n\
                   {\"fields\":{\"message\":\"listening\",\"listen\":\"127.0.0.1:33599\"}}\n";
        let listening = |log: &str| listening(log, &Wanted::default());
        assert_eq!(listening(log), Some(vec![Target::loopback(33_599)]));
        let two = "{\"message\":\"listening\",\"listen\":\"127.0.0.1:7 unix:/r\"}";
        assert_eq!(listening(two), Some(vec![Target::loopback(7), Target::unix("/r".into())]));
        assert_eq!(listening(""), None);
    }

    #[test]
    fn values_change_and_comments_stay() {
        let before = "# top\n[pool]\n# how many\nworkers = 4 # few\nqueue_capacity = 7\n";
        let mut document: DocumentMut = before.parse().unwrap();
        let trial = Trial { workers: NonZeroU32::new(9), pipeline_depth: NonZeroU32::new(64), threads: None };
        trial.apply(&mut document);
        let after = document.to_string();
        assert!(after.starts_with("# top\n[pool]\n# how many\nworkers = 9 # few\nqueue_capacity = 7\n"), "{after}");
        assert!(after.contains("pipeline_depth = 64"), "{after}");
    }
}
