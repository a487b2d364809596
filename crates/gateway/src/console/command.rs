//! `RESPOOL …`: how an operator looks at the gateway and changes it, over the clients' own port and
//! protocol. Read here, shown by `views`, done by `operator`.

use pool::{Protocol, Stage};
use resp::{Request, parse_integer, write_array, write_bulk, write_error, write_integer, write_map, write_simple};
use settings::ConfigError;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::yield_now,
};

use crate::{
    config::operator::Outcome,
    console::{
        glob::matches,
        rows::{number, text, write_row, write_rows},
        views::{self, CLIENTS_AT_A_TIME, Clients},
    },
    local_reply::session_commands::Who,
    observe::registry::Asked,
    session::session::Session,
    wording::errors,
};

const HELP: [&str; 17] = [
    "RESPOOL <subcommand> [<arg> ...]. Subcommands are:",
    "POOLS -- Clients that are served and that wait, workers by state, queue, exclusive connections.",
    "CLIENTS -- Every client: what it is at and for how long it has waited.",
    "WORKERS -- Every worker and its connection.",
    "STATS -- Totals since the start; times in microseconds.",
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

/// Entries that `SLOWLOG GET` shows if it does not say how many, as in Redis.
const SLOW_LOG_COUNT: usize = 10;

/// What an operator asks for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Pools,
    Clients,
    Workers,
    Stats,
    ConfigGet(Vec<u8>),
    ConfigSet(String, String),
    SlowLogGet(usize),
    SlowLogLen,
    SlowLogReset,
    Reload,
    Pause,
    Resume,
    Reconnect,
    Kill(u64),
    Drain,
    Help,
}

/// Reads a request; the error reply if it is none or its sender may not ask.
pub(crate) fn read(request: &Request<'_>, who: &Who<'_>) -> Result<Ask, String> {
    if !who.is_admin() {
        return Err(errors::refused("RESPOOL is for users in auth.admins, or from this machine if nobody logs in"));
    }
    let word = |at: usize| request.arg(at).unwrap_or_default().to_ascii_uppercase();
    let owned = |at: usize| String::from_utf8_lossy(request.arg(at).unwrap_or_default()).into_owned();
    let (ask, args) = match word(1).as_slice() {
        b"POOLS" => (Ask::Pools, 2),
        b"CLIENTS" => (Ask::Clients, 2),
        b"WORKERS" => (Ask::Workers, 2),
        b"STATS" => (Ask::Stats, 2),
        b"CONFIG" if word(2) == b"GET" => (Ask::ConfigGet(request.arg(3).unwrap_or_default().to_vec()), 4),
        b"CONFIG" if word(2) == b"SET" => (Ask::ConfigSet(owned(3), owned(4)), 5),
        b"SLOWLOG" if word(2) == b"GET" => {
            (Ask::SlowLogGet(slow_log_count(request.arg(3))?), request.len().clamp(3, 4))
        }
        b"SLOWLOG" if word(2) == b"LEN" => (Ask::SlowLogLen, 3),
        b"SLOWLOG" if word(2) == b"RESET" => (Ask::SlowLogReset, 3),
        b"RELOAD" => (Ask::Reload, 2),
        b"PAUSE" => (Ask::Pause, 2),
        b"RESUME" => (Ask::Resume, 2),
        b"RECONNECT" => (Ask::Reconnect, 2),
        b"KILL" => match request.arg(2).and_then(parse_integer).map(u64::try_from) {
            Some(Ok(id)) => (Ask::Kill(id), 3),
            _ => return Err("ERR client-id should be greater than 0".to_owned()),
        },
        b"DRAIN" => (Ask::Drain, 2),
        b"HELP" => (Ask::Help, 2),
        b"" => return Err(errors::wrong_arity("respool")),
        _ => return Err(errors::unknown_subcommand("RESPOOL", request.arg(1).unwrap_or_default())),
    };
    if request.len() == args { Ok(ask) } else { Err(errors::wrong_arity(&format!("respool|{}", owned(1)))) }
}

/// How many entries of the slow log are wanted.
fn slow_log_count(arg: Option<&[u8]>) -> Result<usize, String> {
    match arg.map(parse_integer) {
        None => Ok(SLOW_LOG_COUNT),
        Some(Some(-1)) => Ok(usize::MAX),
        Some(Some(count @ 0..)) => Ok(usize::try_from(count).unwrap_or(usize::MAX)),
        Some(_) => Err("ERR count should be greater than or equal to -1".to_owned()),
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Answers an operator; false to close.
    pub(crate) async fn console(&mut self, ask: Ask) -> bool {
        let (context, protocol, out) = (&self.context, self.state.needs.protocol, &mut self.output);
        match ask {
            Ask::Pools => {
                let clients = Clients::of(context).await;
                write_rows(out, protocol, &views::pools(context, &clients));
            }
            Ask::Clients => self.show_clients().await,
            Ask::Workers => write_rows(out, protocol, &views::workers(context)),
            Ask::Stats => write_row(out, protocol, &views::stats(context)),
            Ask::ConfigGet(pattern) => self.config_get(&pattern),
            Ask::ConfigSet(key, value) => write_outcome(out, protocol, context.set(&key, &value)),
            Ask::SlowLogGet(count) => write_rows(out, protocol, &context.slow_log.rows(count)),
            Ask::SlowLogLen => write_integer(out, i64::try_from(context.slow_log.len()).unwrap_or(i64::MAX)),
            Ask::SlowLogReset => {
                context.slow_log.reset();
                write_simple(out, "OK");
            }
            Ask::Reload => write_outcome(out, protocol, context.reload()),
            Ask::Pause => self.pause().await,
            Ask::Resume => {
                context.operator.pool.resume();
                tracing::info!(client = self.entry.id, "resumed");
                write_simple(out, "OK");
            }
            Ask::Reconnect => {
                context.operator.pool.reconnect();
                tracing::info!(client = self.entry.id, "replacing connections to the upstream");
                write_simple(out, "OK");
            }
            Ask::Kill(id) => {
                let Some(entry) = context.registry.get(id) else {
                    write_error(out, "ERR No such client");
                    return true;
                };
                write_simple(out, "OK");
                if id == self.entry.id {
                    return false;
                }
                entry.ask(Asked::Kill);
            }
            Ask::Drain => {
                context.operator.end.notify_one();
                write_simple(out, "OK");
            }
            Ask::Help => {
                write_array(out, HELP.len());
                HELP.iter().for_each(|line| write_simple(out, line));
            }
        }
        true
    }

    /// Shows every client; those who serve them get a turn now and then.
    async fn show_clients(&mut self) {
        let clients = self.context.registry.all();
        write_array(&mut self.output, clients.len());
        for some in clients.chunks(CLIENTS_AT_A_TIME) {
            for client in some {
                write_row(&mut self.output, self.state.needs.protocol, &views::client(client));
            }
            yield_now().await;
        }
    }

    /// Holds back what comes and waits for what is accepted, as long as a reply may take. What is lent
    /// stays lent.
    async fn pause(&mut self) {
        let pool = &self.context.operator.pool;
        pool.pause();
        tracing::warn!(client = self.entry.id, "paused");
        let idle = Box::pin(pool.idle(self.settings.reply_timeout)).await;
        let status = pool.status();
        let waiting = |stage| matches!(stage, Stage::Waiting(_));
        let held = self.context.registry.all().iter().filter(|entry| waiting(entry.progress.stage())).count();
        let row = vec![
            ("state", text(if idle { "paused" } else { "pausing" })),
            ("jobs_left", number(status.jobs)),
            ("exclusive_lent", number(status.exclusive_lent)),
            ("cl_waiting", number(held)),
        ];
        write_row(&mut self.output, self.state.needs.protocol, &row);
    }

    fn config_get(&mut self, pattern: &[u8]) {
        let out = &mut self.output;
        match self.context.operator.keys() {
            Err(error) => write_error(out, &errors::refused(&error.to_string())),
            Ok(mut keys) => {
                keys.retain(|key, _| matches(pattern, key.as_bytes()));
                write_map(out, self.state.needs.protocol, keys.len());
                for (key, value) in keys {
                    write_bulk(out, key.as_bytes());
                    match value {
                        toml::Value::String(text) => write_bulk(out, text.as_bytes()),
                        value => write_bulk(out, value.to_string().as_bytes()),
                    }
                }
            }
        }
    }
}

fn write_outcome(out: &mut Vec<u8>, protocol: Protocol, outcome: Result<Outcome, ConfigError>) {
    match outcome {
        Ok(outcome) => write_row(out, protocol, &views::outcome(outcome)),
        Err(error) => write_error(out, &errors::refused(&format!("nothing has changed: {error}"))),
    }
}
