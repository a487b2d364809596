//! `RESPOOL …` as it is done and shown: for one operator, with what sessions publish, the pool and the configuration
//! in force. A function of these; it knows no session.

use std::time::Duration;

use pool::Stage;
use resp::{Protocol, write_array, write_bulk, write_error, write_integer, write_map, write_simple};
use settings::ConfigError;
use tokio::task::yield_now;

use crate::{
    command::errors,
    config::{operator::Operator, outcome::Outcome},
    console::{
        command::Ask,
        glob::matches,
        rows::{number, text, write_row, write_rows},
        topology,
        views::{self, Clients},
    },
    observe::{
        published::Published,
        registry::{Asked, CLIENTS_AT_A_TIME, Entry},
    },
};

const HELP: [&str; 19] = [
    "RESPOOL <subcommand> [<arg> ...]. Subcommands are:",
    "POOLS -- Each pool: its node, clients, workers by state, queue, exclusive connections.",
    "CLIENTS -- Every client: what it is at and for how long it has waited.",
    "WORKERS -- Every worker and its connection.",
    "TOPOLOGY -- The primary, what requests wait for, and the replicas with their lag.",
    "STATS -- Totals since the start; times in microseconds.",
    "USERS -- Every user that has clients or limits: how much of what it may have, and what was refused.",
    "CONFIG GET <pattern> -- Keys and values in force.",
    "CONFIG SET <key> <value> -- Puts a value in force until the next reload or restart.",
    "SLOWLOG GET [<count>] -- The newest slow requests, 10 unless told, all with -1; times in microseconds.",
    "SLOWLOG LEN -- How many there are.",
    "SLOWLOG RESET -- Forgets them.",
    "RELOAD -- Reads the configuration file again and puts it in force.",
    "PAUSE -- Finishes what is accepted and holds back what comes; clients stay connected.",
    "RESUME -- Ends a PAUSE.",
    "RECONNECT -- Replaces every connection to the upstream once nothing is in flight on it.",
    "KILL <id> -- Closes a client.",
    "DRAIN -- Stops accepting clients, finishes what is accepted, and ends.",
    "HELP -- This text.",
];

/// What an operator's request is answered with.
// Open: a plain value, filled in by the session of the operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console<'c> {
    pub(crate) operator: &'c Operator,
    pub(crate) published: &'c Published,
    /// Who asks, in which protocol.
    pub(crate) client: &'c Entry,
    pub(crate) protocol: Protocol,
    /// How long `PAUSE` waits for what is accepted.
    pub(crate) reply_timeout: Duration,
}

impl Console<'_> {
    /// Does what is asked and writes the answer; false to close the client.
    pub(crate) async fn answer(self, ask: Ask, out: &mut Vec<u8>) -> bool {
        let Self { operator, published, client, protocol, .. } = self;
        match ask {
            Ask::Pools => {
                let clients = Clients::of(published).await;
                write_rows(out, protocol, &views::pools(operator, &clients));
            }
            Ask::Clients => self.show_clients(out).await,
            Ask::Workers => write_rows(out, protocol, &views::workers(operator)),
            Ask::Topology => write_rows(out, protocol, &topology::rows(operator, published)),
            Ask::Stats => write_row(out, protocol, &views::stats(operator, published)),
            Ask::Users => write_rows(out, protocol, &views::users(operator, published)),
            Ask::ConfigGet(pattern) => self.config_get(&pattern, out),
            Ask::ConfigSet(key, value) => {
                let user = client.user();
                write_outcome(out, protocol, operator.set(&key, &value, user.as_deref()));
            }
            Ask::SlowLogGet(count) => {
                let rows: Vec<_> = published.slow_log.newest(count).iter().map(views::slow_burst).collect();
                write_rows(out, protocol, &rows);
            }
            Ask::SlowLogLen => write_integer(out, i64::try_from(published.slow_log.len()).unwrap_or(i64::MAX)),
            Ask::SlowLogReset => {
                published.slow_log.reset();
                write_simple(out, "OK");
            }
            Ask::Reload => write_outcome(out, protocol, operator.reload()),
            Ask::Pause => self.pause(out).await,
            Ask::Resume => {
                operator.pools().resume();
                tracing::info!(client = client.id(), "resumed");
                write_simple(out, "OK");
            }
            Ask::Reconnect => {
                operator.pools().reconnect();
                tracing::info!(client = client.id(), "replacing connections to the upstream");
                write_simple(out, "OK");
            }
            Ask::Kill(id) => return self.kill(id, out),
            Ask::Drain => {
                operator.end();
                write_simple(out, "OK");
            }
            Ask::Help => {
                write_array(out, HELP.len());
                HELP.iter().for_each(|line| write_simple(out, line));
            }
        }
        true
    }

    /// Closes a client; false if that is the one that asks, which has its answer first.
    fn kill(self, id: u64, out: &mut Vec<u8>) -> bool {
        let Some(entry) = self.published.registry.get(id) else {
            write_error(out, "ERR No such client");
            return true;
        };
        write_simple(out, "OK");
        if id == self.client.id() {
            return false;
        }
        entry.ask(Asked::Kill);
        true
    }

    /// Shows every client; those who serve them get a turn now and then.
    async fn show_clients(self, out: &mut Vec<u8>) {
        let clients = self.published.registry.all();
        write_array(out, clients.len());
        for some in clients.chunks(CLIENTS_AT_A_TIME) {
            for client in some {
                write_row(out, self.protocol, &views::client(client));
            }
            yield_now().await;
        }
    }

    /// Holds back what comes and waits for what is accepted, as long as a reply may take. What is lent
    /// stays lent.
    async fn pause(self, out: &mut Vec<u8>) {
        let pools = self.operator.pools();
        pools.pause();
        tracing::warn!(client = self.client.id(), "paused");
        let idle = Box::pin(pools.idle(self.reply_timeout)).await;
        let status = pools.status();
        let waiting = |stage| matches!(stage, Stage::Waiting(_));
        let held = self.published.registry.all().iter().filter(|entry| waiting(entry.stage())).count();
        let row = vec![
            ("state", text(if idle { "paused" } else { "pausing" })),
            ("jobs_left", number(status.jobs)),
            ("exclusive_lent", number(status.exclusive_lent)),
            ("cl_waiting", number(held)),
        ];
        write_row(out, self.protocol, &row);
    }

    fn config_get(self, pattern: &[u8], out: &mut Vec<u8>) {
        let mut keys = self.operator.keys();
        keys.retain(|key, _| matches(pattern, key.as_bytes()));
        write_map(out, self.protocol, keys.len());
        for (key, value) in keys {
            write_bulk(out, key.as_bytes());
            match value {
                toml::Value::String(text) => write_bulk(out, text.as_bytes()),
                value => write_bulk(out, value.to_string().as_bytes()),
            }
        }
    }
}

fn write_outcome(out: &mut Vec<u8>, protocol: Protocol, outcome: Result<Outcome, ConfigError>) {
    match outcome {
        Ok(outcome) => write_row(out, protocol, &views::outcome(&outcome)),
        Err(error) => write_error(out, &errors::refused(&format!("nothing has changed: {error}"))),
    }
}
