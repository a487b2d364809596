//! `respool --check`: the configuration in effect, as a file, and what its bounds may cost in memory.

use std::fmt::Write;

use pool::REPLY_FREE_BYTES;

use crate::{Config, GatewaySettings, report::descriptors, typed::shipped::file_of};

/// An idle session, in bytes: task, entry, buffers.
const IDLE_CLIENT_BYTES: usize = 3 * 1024;

/// What a session may keep of requests without asking: of one that is not complete, and of those that are gathered.
const FREE_INPUT_BYTES: usize = 128 * 1024;

/// How often a session may have [`REPLY_FREE_BYTES`] of replies. They come on the connection to one burst and to the one
/// that follows it, wait to be taken from there, and are written to the client.
const FREE_REPLIES: usize = 4;

/// What a session by TLS costs beyond that, in bytes: when it is idle, and what is encrypted and not taken yet.
const TLS_CLIENT_BYTES: usize = 10 * 1024 + 64 * 1024;

/// A TLS handshake under way, in bytes.
const HANDSHAKE_BYTES: usize = 20 * 1024;

/// What is kept of an argument of an unfinished request besides its bytes, at most.
const ARGUMENT_BYTES: usize = 16;

/// A place in the queue, in bytes.
const JOB_BYTES: usize = 200;

/// An entry of the slow log with as many and as long arguments as it may have.
const SLOW_ENTRY_BYTES: usize = 5 * 1024;

/// A worker's read buffer and a little more, in bytes.
const WORKER_BYTES: usize = 80 * 1024;

/// An exclusive connection with what is read of it at once, in bytes.
const EXCLUSIVE_BYTES: usize = 24 * 1024;

/// The report, itself a configuration file. The system allows `descriptors_max`, if it has a limit.
pub fn report(config: &Config, settings: &GatewaySettings, descriptors_max: Option<usize>) -> String {
    let mut report = file_of(&config.without_secrets());
    let clients = settings.session.clients_max;
    let (tls_clients, handshakes) = match settings.listen.iter().any(|listen| listen.tls) {
        true => (clients, settings.session.handshakes_max),
        false => (0, 0),
    };
    let names = clients.saturating_mul(settings.session.name_bytes_max).saturating_mul(4);
    let backlog = settings.shared_pubsub.map_or(0, |pubsub| pubsub.backlog_bytes_max);
    let scripts = settings.cluster.as_ref().map_or(0, |cluster| cluster.scripts_bytes_max);
    let pools = descriptors::pools(settings);
    let (request, input) = (settings.session.limits.request_bytes_max, settings.session.input_bytes_max);
    let rows = [
        ("clients_max, idle", clients * IDLE_CLIENT_BYTES),
        ("name_bytes_max, a name twice and a library's name and version for each client", names),
        ("clients_max, by TLS, beyond", tls_clients * TLS_CLIENT_BYTES),
        ("handshakes_max, TLS handshakes under way", handshakes.saturating_mul(HANDSHAKE_BYTES)),
        ("clients_max, 128 KiB of requests each", clients * FREE_INPUT_BYTES),
        ("input_bytes_max, requests beyond, unfinished or without a place in the queue", input),
        ("input_bytes_max, what they have outgrown and the allocator has not given back", input),
        ("threads, a request that is moved into the queue each", settings.threads.get().saturating_mul(request)),
        ("queue_capacity, a full queue", settings.pool.queue_capacity.saturating_mul(JOB_BYTES).saturating_mul(pools)),
        ("queue_bytes_max, requests queued and in flight", settings.pool.queue_bytes_max),
        ("clients_max, 64 KiB of replies in four places each", clients * FREE_REPLIES * REPLY_FREE_BYTES),
        ("replies_bytes_max, replies beyond", settings.session.replies_bytes_max),
        (
            "replies_bytes_max, what they have outgrown and the allocator has not given back",
            settings.session.replies_bytes_max,
        ),
        ("requests and a reply of one client, as far as they pass half of a bound", beyond_halves(settings)),
        ("pubsub.backlog_bytes_max, messages not read yet", backlog),
        ("cluster.scripts_bytes_max, texts of scripts", scripts),
        ("slowlog.entries_max, a full log", settings.session.slow_log.entries_max.saturating_mul(SLOW_ENTRY_BYTES)),
        ("workers, buffers", descriptors::workers(settings).saturating_mul(WORKER_BYTES)),
        ("exclusive_max, connections", descriptors::exclusive(settings).saturating_mul(EXCLUSIVE_BYTES)),
    ];
    report.push_str("\n# Memory that each bound allows, all of them at their worst at the same time:\n");
    let mut total: usize = 0;
    for (what, bytes) in rows {
        total = total.saturating_add(bytes);
        // Writing to a string cannot fail.
        let _ = writeln!(report, "# {:>10} MiB  {what}", bytes.div_ceil(1 << 20));
    }
    let _ = writeln!(report, "# {:>10} MiB  together", total.div_ceil(1 << 20));
    let _ = writeln!(report, "# File descriptors: {} at most.", descriptors::needed(settings));
    let shortage = descriptors::shortage(settings, descriptors_max);
    for warning in shortage.iter().chain(&settings.warnings) {
        let _ = writeln!(report, "# WARNING: {warning}");
    }
    report
}

/// Of each bound, one client may have more than half, and the others then share the other half.
fn beyond_halves(settings: &GatewaySettings) -> usize {
    let (pool, session) = (&settings.pool, &settings.session);
    let request = session.limits.request_bytes_max;
    let arguments = session.limits.args_max.saturating_mul(ARGUMENT_BYTES);
    let beyond = |bytes: usize, bound: usize| bytes.saturating_sub(bound / 2);
    // Those of several nodes are there as long as they are put together.
    let replies = pool.reply_bytes_max.saturating_mul(if settings.cluster.is_some() { 2 } else { 1 });
    // One that is not complete, one that goes into the queue, and as much that waits for the end of its transaction.
    beyond(request.saturating_mul(3).saturating_add(arguments), session.input_bytes_max)
        .saturating_add(beyond(request, pool.queue_bytes_max))
        .saturating_add(beyond(replies, session.replies_bytes_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_is_the_configuration_it_reports() {
        let config = Config::default();
        let settings = GatewaySettings::new(&config).unwrap();
        let report = report(&config, &settings, None);
        assert_eq!(toml::from_str::<Config>(&report).unwrap(), config);
        assert!(report.contains("together") && !report.contains("runtime.threads ="), "{report}");
    }

    #[test]
    fn threads_without_a_worker_are_warned_of() {
        let config = toml::from_str("[runtime]\nthreads = 3\n[pool]\nworkers = 2").unwrap();
        let report = report(&config, &GatewaySettings::new(&config).unwrap(), None);
        assert!(report.contains("# WARNING: runtime.threads: 1 of 3 threads have no worker"), "{report}");
    }
}
