//! What the configuration means for log lines.

use std::str::FromStr;

use tracing_subscriber::filter::Targets;

use crate::{
    Config, ConfigError,
    meaning::ranges::{one_of, value},
    reading::suggestion::did_you_mean,
};

/// The words for how much is logged, and the numbers that stand for them.
const LEVELS: [&str; 12] = ["error", "warn", "info", "debug", "trace", "off", "0", "1", "2", "3", "4", "5"];

/// Where logs go and how.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// How much is logged of what.
    pub filter: Targets,
    /// One JSON object a line, rather than text.
    pub json: bool,
}

pub(crate) fn log_settings(config: &Config) -> Result<LogSettings, ConfigError> {
    let json = one_of("log.format", &config.log.format, ["text", "json"])? == 1;
    let directives: Vec<&str> = config.log.filter.split(',').map(str::trim).collect();
    if let Some(problem) = fault(&directives) {
        return value("log.filter", problem);
    }
    match Targets::from_str(&directives.join(",")) {
        Ok(filter) => Ok(LogSettings { filter, json }),
        Err(error) => value("log.filter", error.to_string()),
    }
}

/// What is wrong with a filter that `tracing` would accept: a word that is no level would be the name of a target,
/// of which everything is logged, and nothing else.
fn fault(directives: &[&str]) -> Option<String> {
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    for directive in directives {
        if directive.is_empty() {
            return Some("a level is missing; write \"info\", or \"off\" for nothing".to_owned());
        }
        if !directive.contains('=') && !is_level(directive) {
            let hint = did_you_mean(&directive.to_ascii_lowercase(), LEVELS.into_iter().take(6));
            return Some(format!(
                "\"{directive}\" is no level (error, warn, info, debug, trace, off){hint} For a target, write \
                 {directive}=LEVEL"
            ));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: &str) -> Result<LogSettings, String> {
        let mut config = Config::default();
        config.log.filter = filter.to_owned();
        log_settings(&config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_filter_that_would_log_nothing_by_mistake_is_refused() {
        for (filter, expected) in [
            ("inof", "did you mean \"info\"?"),
            ("info,respol", "\"respol\" is no level"),
            ("info,debgu", "did you mean \"debug\"?"),
            ("", "a level is missing"),
            ("info,,warn", "a level is missing"),
            (" ", "a level is missing"),
            ("respool=inof", "log.filter: "),
            ("respool=loud=very", "log.filter: "),
            ("verbose", "\"verbose\" is no level"),
        ] {
            let problem = check(filter).expect_err(filter);
            assert!(problem.starts_with("log.filter: ") && problem.contains(expected), "{filter:?}: {problem}");
        }
        for filter in ["info", "INFO", "off", "3", "info,mini_redis=off", "warn, respool::spans=trace"] {
            assert!(check(filter).is_ok(), "{filter}");
        }
    }
}
