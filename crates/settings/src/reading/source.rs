//! Where the configuration comes from: a file, and what the command line says instead. Read at the start and at each
//! reload.

use std::path::{Path, PathBuf};

use crate::{
    Config, ConfigError, GatewaySettings, OneOrMore,
    listen::passed::{PassedSocket, for_passed},
    reading::{
        file,
        origin::{Origin, Origins},
    },
};

/// Where the configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; without one, the defaults hold.
    pub file: Option<PathBuf>,
    /// Where to listen instead.
    pub listen: Option<OneOrMore>,
    /// The sockets that were passed at the start. If there are any, they alone count, each with the options that its
    /// address or name has in `listen`.
    pub passed: Vec<PassedSocket>,
    /// The upstream's URL instead.
    pub upstream: Option<Url>,
}

/// A URL that may hold a password and does not show.
#[derive(Clone)]
pub struct Url(pub String);

impl std::fmt::Debug for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Source {
    /// The file, if there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// What is typed, and what it means.
    ///
    /// # Errors
    /// The file cannot be read, or something in it or on the command line is wrong. The error names the place.
    pub fn load(&self) -> Result<(Config, GatewaySettings), ConfigError> {
        let (mut config, mut origins) = match &self.file {
            Some(path) => file::read(path)?,
            None => (Config::default(), Origins::default()),
        };
        if let Some(listen) = &self.listen {
            config.listen.clone_from(listen);
            origins.add("listen", Origin::Option("--listen"));
        }
        if !self.passed.is_empty() {
            origins.add("listen", Origin::Option("the sockets in LISTEN_FDS"));
            config.listen = for_passed(&config.listen, &self.passed).map_err(|error| placed(error, &origins))?;
        }
        if let Some(Url(url)) = &self.upstream {
            config.upstream.url.clone_from(url);
            origins.add("upstream.url", Origin::Option("--upstream"));
        }
        let settings = GatewaySettings::new(&config).map_err(|error| placed(error, &origins))?;
        Ok((config, settings))
    }
}

/// An error with the place that it is about.
fn placed(error: ConfigError, origins: &Origins) -> ConfigError {
    match error {
        ConfigError::Value { key, place: None, problem } => {
            let place = origins.of(&key).cloned();
            ConfigError::Value { key, place, problem }
        }
        other => other,
    }
}
