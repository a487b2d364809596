//! `RESPOOL …` as it is read: what an operator asks for, over the clients' own port and protocol. Done and shown by
//! `answer`.

use resp::{Request, parse_integer};

use crate::command::errors;

/// Entries that `SLOWLOG GET` shows if it does not say how many, as in Redis.
const SLOW_LOG_COUNT: usize = 10;

/// What an operator asks for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Pools,
    Clients,
    Workers,
    Topology,
    Stats,
    Users,
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
pub(crate) fn read(request: &Request<'_>, is_admin: bool) -> Result<Ask, String> {
    if !is_admin {
        return Err(errors::refused("RESPOOL is for users in auth.admins, or from this machine if nobody logs in"));
    }
    let word = |at: usize| request.arg(at).unwrap_or_default().to_ascii_uppercase();
    let owned = |at: usize| String::from_utf8_lossy(request.arg(at).unwrap_or_default()).into_owned();
    let (ask, args) = match word(1).as_slice() {
        b"POOLS" => (Ask::Pools, 2),
        b"CLIENTS" => (Ask::Clients, 2),
        b"WORKERS" => (Ask::Workers, 2),
        b"TOPOLOGY" => (Ask::Topology, 2),
        b"STATS" => (Ask::Stats, 2),
        b"USERS" => (Ask::Users, 2),
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
        b"CONFIG" | b"SLOWLOG" if request.len() == 2 => {
            return Err(errors::wrong_arity(&format!("respool|{}", owned(1))));
        }
        b"CONFIG" | b"SLOWLOG" => {
            return Err(errors::unknown_subcommand("RESPOOL", request.arg(2).unwrap_or_default()));
        }
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
