//! The gateway's command line.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::{CommandFactory, FromArgMatches, Parser};

use crate::{
    Config, ConfigError, GatewaySettings, OneOrMore, PassedSocket,
    reading::source::{Source, Url},
};

/// What `--help` says of `--upstream`.
const UPSTREAM: &str = "The upstream, instead of what the file says: redis://[user[:password]@]host[:port][/db], rediss://… \
    for the same by TLS, unix://[user[:password]@]/path[?db=N], or \"embedded\". Other users of this machine can read a command \
    line: a password is safer in upstream.password_file";

/// A pooled multi-connection gateway for Redis and Valkey.
#[derive(Clone, Parser)]
#[command(name = "respool")]
pub struct Args {
    /// Configuration file (TOML); without one, the defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen on this address, instead of what the file says: host:port, tls://host:port or unix:/path, or
    /// fd:NAME for a socket that systemd passes. May be given several times [default: 127.0.0.1:6380]
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// The upstream, instead of what the file says
    #[arg(long, value_name = "URL", help = UPSTREAM)]
    upstream: Option<String>,
    /// Check the configuration, print what is in effect and what it may cost, and exit
    #[arg(long)]
    check: bool,
    /// Ask a gateway that runs with the same configuration whether it is well, by metrics.listen, and exit: with 0 if
    /// it is, with 1 if it is not, with 64 if the configuration has a fault or no metrics.listen
    #[arg(long, conflicts_with = "check")]
    health: bool,
    /// The sockets that were passed to this process, which count instead of all addresses.
    #[arg(skip)]
    passed: Vec<PassedSocket>,
}

impl fmt::Debug for Args {
    /// Without the upstream's URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("config", &self.config).field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl Args {
    /// This process's command line. `version` is what `--version` says.
    ///
    /// # Errors
    /// It makes no sense, or asks for help or the version.
    pub fn read(version: &'static str) -> Result<Self, clap::Error> {
        Self::from_arg_matches(&Self::described(version).try_get_matches()?)
    }

    /// All that the command line may say, for help, manual pages and completions.
    pub fn described(version: &'static str) -> clap::Command {
        Self::command().version(version)
    }

    /// Whether the configuration is only to be checked.
    pub fn only_check(&self) -> bool {
        self.check
    }

    /// Whether a running gateway is only to be asked for its health.
    pub fn only_health(&self) -> bool {
        self.health
    }

    /// The configuration file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Listens at these alone, with the options that the file or the command line give to them.
    pub fn listen_at(&mut self, passed: Vec<PassedSocket>) {
        self.passed = passed;
    }

    /// The file's configuration with what the command line overrides, and what it means.
    ///
    /// # Errors
    /// As [`Source::load`].
    pub fn load(&self) -> Result<(Config, GatewaySettings), ConfigError> {
        let upstream = self.upstream.clone().map(Url);
        let (file, listen, passed) = (self.config.clone(), one_or_more(&self.listen), self.passed.clone());
        Source { file, listen, passed, upstream }.load()
    }
}

fn one_or_more(texts: &[String]) -> Option<OneOrMore> {
    match texts {
        [] => None,
        [one] => Some(OneOrMore::One(one.clone())),
        more => Some(OneOrMore::More(more.to_vec())),
    }
}
