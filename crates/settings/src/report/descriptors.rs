//! File descriptors that a configuration may need, checked against what the system allows.

use crate::GatewaySettings;

/// Listeners, signals, standard streams, and room for files that libraries open.
const OTHERS: usize = 64;

/// Descriptors that `settings` may need at once.
pub fn needed(settings: &GatewaySettings) -> usize {
    // What is lent is lent by the first pool; the others are for reads.
    let upstream = settings.pool.workers * pools(settings) + settings.pool.exclusive_max;
    // Both ends of these are ours.
    let embedded = if settings.embedded { upstream } else { 0 };
    let http = settings.http.as_ref().map_or(0, |(_, http)| http.connections_max + http.consoles_max);
    settings.session.clients_max + upstream + embedded + http + OTHERS
}

/// Pools that there may be.
pub(crate) fn pools(settings: &GatewaySettings) -> usize {
    if settings.session.reads.is_some() { settings.pool.pools_max } else { 1 }
}

/// What to say if they do not suffice.
pub fn shortage(settings: &GatewaySettings, limit: Option<usize>) -> Option<String> {
    let needed = needed(settings);
    let limit = limit.filter(|limit| *limit < needed)?;
    Some(format!(
        "clients_max = {} and {} connections to the upstream need {needed} file descriptors, the system allows {limit}",
        settings.session.clients_max,
        settings.pool.workers * pools(settings) + settings.pool.exclusive_max,
    ))
}
