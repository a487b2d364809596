//! What is valid and about never meant: `--check` shows it, and the gateway logs it at its start. Each begins with
//! the key that it is about.

use crate::{Config, GatewaySettings, Listen, Place, meaning::session::ALL_OTHERS, reading::environment};

/// What to say of a configuration that is in force all the same.
pub(crate) fn warnings(config: &Config, settings: &GatewaySettings) -> Vec<String> {
    let mut found = environment::warnings(config);
    found.extend(idle_threads(settings));
    found.extend(open_metrics(settings));
    found.extend(wide_trust(settings));
    found.extend(idle_trust(settings));
    found.extend(idle_peers(config, settings));
    found.extend(unproven_upstream(config));
    found.extend(empty_password(settings));
    found.extend(denied_console(settings));
    found.extend(oversized_jobs(settings));
    found.extend(unread_replicas(config));
    found.extend(limits_of_nobody(config, settings));
    found
}

fn unread_replicas(config: &Config) -> Option<String> {
    let upstream = &config.upstream;
    (!upstream.replicas.is_empty() && upstream.reads == "primary")
        .then(|| "upstream.replicas: upstream.reads is \"primary\", so that nothing goes to them".to_owned())
}

/// Sections of users whom nobody can log in as.
fn limits_of_nobody(config: &Config, settings: &GatewaySettings) -> Vec<String> {
    let users = &settings.session.users;
    let nobodys = config.users.keys().filter(|name| *name != ALL_OTHERS && !users.keep(name));
    nobodys.map(|name| format!("users.{name}: auth.users has no such user, so that this limits nobody")).collect()
}

fn idle_threads(settings: &GatewaySettings) -> Option<String> {
    let (threads, workers) = (settings.threads.get(), settings.pool.workers);
    let idle = threads.checked_sub(workers).filter(|idle| *idle > 0)?;
    Some(format!(
        "runtime.threads: {idle} of {threads} threads have no worker, because pool.workers is {workers}; requests of \
         their clients cross threads and cost more"
    ))
}

fn open_metrics(settings: &GatewaySettings) -> Option<String> {
    let (address, _) = settings.http.as_ref().filter(|(address, _)| !address.ip().is_loopback())?;
    Some(format!("metrics.listen: {address} reaches beyond this machine, and metrics need no login"))
}

fn wide_trust(settings: &GatewaySettings) -> Option<String> {
    settings
        .session
        .trusted
        .has_all()
        .then(|| "trusted: every address is trusted, so that any client can pass for another".to_owned())
}

fn idle_trust(settings: &GatewaySettings) -> Option<String> {
    let needed = settings.listen.iter().any(|listen| listen.proxy_protocol && matches!(listen.place, Place::Tcp(_)));
    (!needed && !settings.session.trusted.is_empty())
        .then(|| "trusted: no TCP address of listen has proxy_protocol=on, so that nobody is asked for it".to_owned())
}

fn idle_peers(config: &Config, settings: &GatewaySettings) -> Option<String> {
    let comes = |listen: &Listen| matches!(listen.place, Place::Unix(_)) && !listen.proxy_protocol;
    (!config.auth.peers.is_empty() && !settings.listen.iter().any(comes)).then(|| {
        "auth.peers: listen has no unix socket on which clients come themselves, so that nobody is known by it"
            .to_owned()
    })
}

fn unproven_upstream(config: &Config) -> Option<String> {
    let (what, who) = match config.upstream.tls.verify.as_str() {
        "ca" => ("the name in the upstream's certificate", "anybody with a certificate of that authority"),
        "none" => ("the upstream's certificate", "anybody on the way"),
        _ => return None,
    };
    Some(format!("upstream.tls.verify: {what} is not looked at; {who} can pass for the upstream and read its password"))
}

fn empty_password(settings: &GatewaySettings) -> Option<String> {
    let user = settings.session.users.without_password()?;
    Some(format!("auth.users: the password of \"{user}\" is empty"))
}

fn denied_console(settings: &GatewaySettings) -> Option<String> {
    let denied = settings.session.denied.contains(&b"RESPOOL"[..]);
    denied.then(|| "commands.deny: RESPOOL is denied, so that nobody can use the console".to_owned())
}

fn oversized_jobs(settings: &GatewaySettings) -> Option<String> {
    let (one, all) = (settings.session.batch_bytes_max, settings.pool.queue_bytes_max);
    (one > all)
        .then(|| format!("pool.batch_bytes_max: {one} bytes of one job are more than pool.queue_bytes_max, {all}"))
}
