//! Properties of the configuration: a text is refused with a reason that names the key or the place, or it
//! gives settings within their bounds, and it says the same when it is written and read again.

use std::{path::Path, time::Duration};

use settings::{Config, ConfigError, GatewaySettings, Key, report};

/// A text of a configuration file.
///
/// # Panics
/// A property does not hold.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = Path::new("fuzz.toml");
    let config = match Config::parse(text, path) {
        Ok(config) => config,
        Err(error) => return assert!(error.to_string().starts_with("fuzz.toml: line "), "{error}"),
    };
    let written = toml::to_string(&config).expect("what was read can be written");
    assert_eq!(Config::parse(&written, path).expect("what was written can be read"), config);
    if asks_for_names(&config) {
        return;
    }
    match GatewaySettings::new(&config) {
        Ok(settings) => {
            assert_bounds(&settings);
            let report = report(&config, &settings, None);
            assert!(Config::parse(&report, path).is_ok(), "a report is a configuration:\n{report}");
            for digest in config.auth.users.values() {
                assert!(!report.contains(digest.as_str()), "a secret is shown");
            }
        }
        Err(ConfigError::Value { key, problem, .. }) => {
            assert!(!key.is_empty() && !problem.is_empty());
            assert!(Key::named(&key).is_some(), "{key}");
        }
        Err(other) => panic!("{other} is no error of a value"),
    }
}

/// Whether addresses would have to be looked up, which would have the network take part.
fn asks_for_names(config: &Config) -> bool {
    let is_name = |address: &str| !address.is_empty() && address.parse::<std::net::SocketAddr>().is_err();
    let leads = |listen: &str| {
        let address = listen.split('?').next().unwrap_or_default();
        let address = address.strip_prefix("tcp://").or_else(|| address.strip_prefix("tls://")).unwrap_or(address);
        !address.starts_with("unix:") && is_name(address)
    };
    // What stands in other files is no property of a configuration.
    config.listen.texts().iter().any(|listen| leads(listen))
        || is_name(&config.metrics.listen)
        || !config.upstream.password_file.is_empty()
}

/// What everything behind the settings takes for granted.
fn assert_bounds(settings: &GatewaySettings) {
    let (pool, session) = (&settings.pool, &settings.session);
    let counts = [
        settings.threads.get(),
        pool.workers,
        pool.pipeline_depth,
        pool.queue_capacity,
        pool.exclusive_max,
        pool.reply_depth_max,
        session.clients_max,
        session.batch_max,
        session.limits.args_max,
        settings.http.as_ref().map_or(1, |(_, http)| http.connections_max),
        settings.shared_pubsub.map_or(1, |pubsub| pubsub.backlog_messages),
        settings.shared_pubsub.map_or(1, |pubsub| pubsub.subscriptions_max),
    ];
    assert!(counts.iter().all(|count| (1..=1 << 24).contains(count)), "{counts:?}");
    let bytes = [pool.queue_bytes_max, pool.reply_bytes_max, session.limits.request_bytes_max, session.batch_bytes_max];
    assert!(bytes.iter().all(|bytes| (1..=1 << 48).contains(bytes)), "{bytes:?}");
    let waits = [
        pool.queue_timeout,
        pool.pause_timeout,
        pool.reply_timeout,
        pool.connect_timeout,
        pool.reconnect_delay_min,
        pool.reconnect_delay_max,
        pool.keepalive,
        pool.lifetime,
        pool.exclusive_idle,
        session.write_timeout,
        session.login_timeout,
        session.idle_timeout.unwrap_or(pool.lifetime),
    ];
    let year = Duration::from_secs(365 * 24 * 3600);
    assert!(waits.iter().all(|wait| (Duration::from_millis(1)..=year).contains(wait)), "{waits:?}");
    assert!(settings.grace_period <= year && pool.reconnect_delay_min <= pool.reconnect_delay_max);
    assert!(!settings.listen.is_empty());
    assert!(session.admins.iter().all(|admin| session.users.has(admin)));
}
