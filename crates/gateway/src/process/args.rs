//! The command line.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use clap::Parser;
use settings::{Config, ConfigError, OneOrMore};

/// A pooled multi-connection gateway for Redis and Valkey.
#[derive(Clone, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Configuration file (TOML); without one, the defaults hold
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen there, instead of what the file says; may be given several times [default: 127.0.0.1:6380]
    #[arg(long, value_name = "ADDR", help = "Listen there, instead of what the file says: host:port or unix:/path")]
    listen: Vec<String>,
    /// The upstream, instead of what the file says
    #[arg(
        long,
        value_name = "URL",
        help = "redis[s]://[user[:password]@]host:port[/db], unix:///path, or \"embedded\""
    )]
    upstream: Option<String>,
    /// Check the configuration, print what is in effect and what it may cost, and exit
    #[arg(long)]
    check: bool,
}

impl fmt::Debug for Args {
    /// Without the upstream's URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("config", &self.config).field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl Args {
    /// Whether the configuration is only to be checked.
    pub(crate) fn only_check(&self) -> bool {
        self.check
    }

    /// The configuration file, if there is one.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Listens at `addresses`, whatever the file and the command line say.
    pub(crate) fn listen_at(&mut self, addresses: Vec<String>) {
        self.listen = addresses;
    }

    /// The file's configuration with what the command line overrides.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        match self.listen.as_slice() {
            [] => {}
            [one] => config.listen = OneOrMore::One(one.clone()),
            more => config.listen = OneOrMore::More(more.to_vec()),
        }
        if let Some(upstream) = &self.upstream {
            config.upstream.url.clone_from(upstream);
        }
        Ok(config)
    }
}
