//! File descriptors that a configuration may need, checked against what the system allows.

use crate::GatewaySettings;

/// Listeners, signals, standard streams, and room for files that libraries open.
const OTHERS: usize = 64;

/// Descriptors that `settings` may need at once.
pub fn needed(settings: &GatewaySettings) -> usize {
    settings.session.clients_max + ends(settings) * exclusive(settings) + besides(settings)
}

/// Descriptors that are needed for neither clients nor exclusive connections.
fn besides(settings: &GatewaySettings) -> usize {
    let http = settings.http.as_ref().map_or(0, |(_, http)| http.connections_max + http.consoles_max);
    ends(settings) * workers(settings) + http + OTHERS
}

/// Of a connection to the upstream, how many are ours.
fn ends(settings: &GatewaySettings) -> usize {
    if settings.embedded { 2 } else { 1 }
}

/// Has no more clients than the system allows descriptors for, as Redis does. If clients took them all, a connection that is
/// lost could not be made anew, and nobody would be served. Of what is left beside the workers, exclusive connections may
/// have a quarter, and all that clients cannot use: a pool lends no more than that, and who needs one waits for it.
pub fn fit(settings: &mut GatewaySettings, limit: Option<usize>) {
    let needed = needed(settings);
    let Some(limit) = limit.filter(|limit| *limit < needed) else { return };
    let left = limit - besides(settings).min(limit / 2);
    let beside_clients = left.saturating_sub(settings.session.clients_max);
    let lent = (ends(settings) * exclusive(settings)).min(beside_clients.max(left / 4));
    settings.pool.exclusive_max = settings.pool.exclusive_max.min(lent / ends(settings)).max(1);
    let session = &mut settings.session;
    session.clients_max = session.clients_max.min(left - lent).max(1);
}

/// Pools that there may be with the gateway's own login, and those of further logins.
fn own_and_further(settings: &GatewaySettings) -> (usize, usize) {
    let users = &settings.session.users;
    let has_many = settings.session.reads.is_some() || settings.cluster.is_some();
    let own = if has_many { settings.pool.pools_max } else { 1 };
    match (users.elsewhere, settings.cluster.is_some()) {
        (true, false) => (own, settings.pool.logins_max),
        // At the upstream, and as many at further nodes.
        (true, true) => (own, 2 * settings.pool.logins_max),
        (false, false) => (own, users.upstream.len()),
        (false, true) => (own, users.upstream.len() * own),
    }
}

/// Pools that there may be.
pub(crate) fn pools(settings: &GatewaySettings) -> usize {
    let (own, further) = own_and_further(settings);
    own + further
}

/// Workers of all pools. Those of logins have their own number.
pub(crate) fn workers(settings: &GatewaySettings) -> usize {
    let (own, further) = own_and_further(settings);
    settings.pool.workers.saturating_mul(own).saturating_add(settings.pool.login_workers.of_at_most(further))
}

/// Exclusive connections. Each pool lends some, but those for reads, and all of them no more than clients can use.
pub(crate) fn exclusive(settings: &GatewaySettings) -> usize {
    let (pool, session) = (&settings.pool, &settings.session);
    let lenders = if session.reads.is_some() { 1 } else { pools(settings) };
    pool.exclusive_max.saturating_mul(lenders).min(session.clients_max.max(pool.exclusive_max))
}

/// Connections to the upstream that there may be.
fn upstream(settings: &GatewaySettings) -> usize {
    workers(settings).saturating_add(exclusive(settings))
}

/// What to say if they do not suffice.
pub fn shortage(settings: &GatewaySettings, limit: Option<usize>) -> Option<String> {
    let needed = needed(settings);
    let limit = limit.filter(|limit| *limit < needed)?;
    let mut fitting = settings.clone();
    fit(&mut fitting, Some(limit));
    Some(format!(
        "clients_max = {} and {} connections to the upstream need {needed} file descriptors, the system allows {limit}; \
         {} clients are let in",
        settings.session.clients_max,
        upstream(settings),
        fitting.session.clients_max,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_lowered_only_where_descriptors_do_not_suffice() {
        let config = toml::from_str("[clients]\nclients_max = 100\n[upstream]\nurl = \"redis://host\"").expect("valid");
        let settings = GatewaySettings::new(&config).expect("valid");
        let fitted = |limit| {
            let mut settings = settings.clone();
            fit(&mut settings, Some(limit));
            (settings.session.clients_max, settings.pool.exclusive_max)
        };
        // 100 clients, 1,024 exclusive connections, 4 workers and 64 others.
        assert_eq!(needed(&settings), 1192);
        assert_eq!([1192, 4096].map(fitted), [(100, 1024); 2]);
        assert_eq!(fitted(1191), (100, 1023));
        assert_eq!(fitted(136), (51, 17));
        assert_eq!(fitted(8), (3, 1));
    }
}
