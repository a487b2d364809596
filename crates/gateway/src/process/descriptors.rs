//! File descriptors: as many as the system lets us have, checked against what the configuration may need.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::settings::GatewaySettings;

/// Listeners, signals, standard streams, and room for files that libraries open.
const OTHERS: usize = 64;

/// Descriptors that `settings` may need at once.
pub(crate) fn needed(settings: &GatewaySettings) -> usize {
    let upstream = settings.pool.workers + settings.pool.exclusive_max;
    // Both ends of these are ours.
    let embedded = if settings.embedded { upstream } else { 0 };
    let http = settings.http.as_ref().map_or(0, |(_, http)| http.connections_max);
    settings.session.clients_max + upstream + embedded + http + OTHERS
}

/// Raises the limit as far as it goes; how many there may be, if there is a limit.
pub(crate) fn raise() -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.and_then(|current| usize::try_from(current).ok())
}

/// What to say if they do not suffice.
pub(crate) fn shortage(settings: &GatewaySettings, limit: Option<usize>) -> Option<String> {
    let needed = needed(settings);
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "clients_max = {} and {} connections to the upstream need {needed} file descriptors, the system allows {limit}",
        settings.session.clients_max,
        settings.pool.workers + settings.pool.exclusive_max,
    ))
}
