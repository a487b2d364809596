//! Where and when a result was measured: what a reader has to know before comparing it with another.

use std::{env, fs, thread, time::SystemTime};

use serde::{Deserialize, Serialize};

/// The circumstances of a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// When it was finished, in universal time.
    pub date: String,
    /// Processor, cores and system.
    pub machine: String,
    /// This program's version.
    pub version: String,
    /// The command line, without passwords.
    pub command: String,
}

impl About {
    /// This process, here and now.
    pub fn now() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let processors = read("/proc/cpuinfo");
        let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let model = model.map_or("a processor of unknown name", |(_, model)| model);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let command: Vec<_> = env::args().map(|argument| without_password(&argument)).collect();
        Self {
            date: httpdate::fmt_http_date(SystemTime::now()),
            machine: format!("{model}, {cores} cores, Linux {}", read("/proc/sys/kernel/osrelease").trim()),
            version: format!("respool-loadtest {}", env!("CARGO_PKG_VERSION")),
            command: command.join(" "),
        }
    }

    /// Each circumstance with its name.
    pub fn rows(&self) -> [(&'static str, &str); 4] {
        [("date", &self.date), ("machine", &self.machine), ("version", &self.version), ("command", &self.command)]
    }
}

/// An argument in which no URL shows its password.
fn without_password(argument: &str) -> String {
    let Some((scheme, rest)) = argument.split_once("://") else { return argument.to_owned() };
    let Some((login, place)) = rest.rsplit_once('@') else { return argument.to_owned() };
    let user = login.split_once(':').map_or(login, |(user, _)| user);
    format!("{scheme}://{user}:…@{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_of_a_url_shows() {
        for (typed, shown) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://app:secret@h:1", "redis://app:…@h:1"),
            ("--with=a=redis://:se@cr:et@h", "--with=a=redis://:…@h"),
            ("--verify", "--verify"),
        ] {
            assert_eq!(without_password(typed), shown);
        }
    }
}
