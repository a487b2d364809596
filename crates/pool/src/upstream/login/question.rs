//! What a login asks, how it is written, and what the answers say.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use resp::{Progress, ReplyScanner, Value};

use crate::{
    settings::{endpoint::Endpoint, ours::PARAMETERS, role::Role},
    upstream::{
        facts::{Asked, Facts},
        limits::Limits,
        login::talk::error_words,
    },
};

/// How deep the answer to `COMMAND INFO` may be nested, and the longest name in it that is looked at, in bytes with its
/// framing.
const DEPTH_MAX: usize = 16;
const NAME_BYTES_MAX: usize = 64;

/// One request of a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// `AUTH`
    LogIn,
    /// `HELLO 3`: does it speak RESP3, and what does it say of itself there?
    Hello3,
    /// `HELLO 2`: who is there, and back to RESP2.
    Hello2,
    /// The same, and the connection gets its name.
    Hello2Named,
    /// `CLIENT SETNAME`
    SetName,
    /// `CONFIG GET` of the first so many parameters.
    Config(usize),
    /// `CONFIG GET` of one of them.
    ConfigOne(usize),
    /// `INFO server`: which process is it?
    Process,
    /// `INFO`: the same, and what does it do?
    Info,
    /// `SELECT` of the database that sessions begin in.
    Select,
    /// `READONLY`: a replica of a cluster is to answer reads itself.
    ReadOnly,
    /// `COMMAND INFO` of the names by which callers go: are these the commands that are called so?
    Names(&'static [&'static str]),
}

impl Question {
    pub(crate) fn request<'a>(self, endpoint: &'a Endpoint, name: &'a str, db: &'a str) -> Vec<&'a [u8]> {
        let words = match self {
            Self::LogIn => return endpoint.login().unwrap_or_default(),
            Self::Hello3 => vec!["HELLO", "3"],
            Self::Hello2 => vec!["HELLO", "2"],
            Self::Hello2Named => vec!["HELLO", "2", "SETNAME", name],
            Self::SetName => vec!["CLIENT", "SETNAME", name],
            Self::Config(count) => {
                ["CONFIG", "GET"].into_iter().chain(PARAMETERS.iter().copied().take(count)).collect()
            }
            Self::ConfigOne(index) => vec!["CONFIG", "GET", PARAMETERS[index]],
            Self::Process => vec!["INFO", "server"],
            Self::Info => vec!["INFO"],
            Self::Select => vec!["SELECT", db],
            Self::ReadOnly => vec!["READONLY"],
            Self::Names(names) => ["COMMAND", "INFO"].iter().chain(names).copied().collect(),
        };
        words.into_iter().map(str::as_bytes).collect()
    }
}

/// An error says that there is no answer now, and not that there will never be one.
pub(crate) fn is_for_now(words: &str) -> bool {
    ["BUSY ", "LOADING ", "MASTERDOWN ", "TRYAGAIN "].iter().any(|begin| words.starts_with(begin))
}

/// What became of a question that got this reply.
pub(crate) fn outcome(reply: &[u8]) -> Asked {
    match error_words(reply) {
        None => Asked::Told,
        Some(words) if is_for_now(&words) => Asked::NotYet,
        Some(_) => Asked::Refused,
    }
}

/// Takes in a reply to `INFO`.
pub(crate) fn take_info(facts: &mut Facts, reply: &Value) {
    let text = String::from_utf8_lossy(reply.as_bytes().unwrap_or_default());
    let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    if let Some(run_id) = fields.get("run_id") {
        facts.run_id = Some((*run_id).into());
    }
    let Some(role) = fields.get("role") else { return };
    facts.role = Role::from_words(role.as_bytes()).or(facts.role);
    facts.replication_id = fields.get("master_replid").map(|id| (*id).into());
    facts.loading = fields.get("loading").is_some_and(|loading| *loading != "0");
    facts.primary = match (fields.get("master_host"), fields.get("master_port")) {
        (Some(host), Some(port)) => Some(format!("{host}:{port}").into()),
        _ => None,
    };
}

/// Takes in what replies to `CONFIG GET` have said.
pub(crate) fn take_config(facts: &mut Facts, config: &HashMap<String, String>) {
    let seconds = config.get("timeout").and_then(|seconds| seconds.parse().ok()).filter(|seconds| *seconds > 0);
    facts.idle_timeout = seconds.map(Duration::from_secs);
    facts.databases = config.get("databases").and_then(|databases| databases.parse().ok());
    facts.limits = Limits::from_config(config);
}

/// A name of `names` that is another command by the answer to `COMMAND INFO` of them, and that command. Not one that has
/// both names: `rename-command` leaves a command one. The answer is long, and only the first word of each entry is read.
pub(crate) fn misnamed(names: &'static [&'static str], answer: &[u8]) -> Option<(&'static str, Arc<str>)> {
    let mut rest = items(answer)?;
    let mut found = Vec::new();
    for name in names {
        let Ok(Progress { consumed, complete: Some(_), .. }) = ReplyScanner::new(DEPTH_MAX).scan(rest) else { break };
        let (command, others) = rest.split_at(consumed);
        found.extend(own_name(command).map(|own| (*name, own)));
        rest = others;
    }
    let keeps_its_name = |own: &str| found.iter().any(|(name, command)| *name == own && command == own);
    let is_other = |(name, own): &&(&str, String)| name != own && names.contains(&&**own) && !keeps_its_name(own);
    found.iter().find(is_other).map(|(name, own)| (*name, own.as_str().into()))
}

/// What stands behind the head of an array.
fn items(array: &[u8]) -> Option<&[u8]> {
    let head = array.strip_prefix(b"*")?;
    Some(&head[head.iter().position(|byte| *byte == b'\n')? + 1..])
}

/// The name that stands first in what is said of a command, in upper case.
fn own_name(command: &[u8]) -> Option<String> {
    let first = items(command)?;
    let (name, _) = Value::decode(&Bytes::copy_from_slice(&first[..first.len().min(NAME_BYTES_MAX)])).ok()?;
    Some(String::from_utf8_lossy(name.as_bytes()?).to_ascii_uppercase())
}

/// The pairs of a reply to `CONFIG GET`, which is an array in RESP2 and a map in RESP3.
pub(crate) fn pairs(reply: Value) -> Vec<(String, String)> {
    let text = |value: &Value| String::from_utf8_lossy(value.as_bytes().unwrap_or_default()).into_owned();
    match reply {
        Value::Array(items) => items.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (text(name), text(value))).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_tells_the_process_its_role_and_whether_it_loads() {
        let text = "# Server\r\nrun_id:abc\r\n# Persistence\r\nloading:1\r\nasync_loading:0\r\n# Replication\r\n\
                    role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_replid:def\r\n";
        let mut facts = Facts::default();
        take_info(&mut facts, &Value::Bulk(text.into()));
        assert_eq!((facts.run_id(), facts.role(), facts.is_loading()), (Some("abc"), Some(Role::Replica), true));
        assert_eq!((facts.primary.as_deref(), facts.replication_id()), (Some("10.0.0.1:6379"), Some("def")));
        // The short form says nothing of the rest.
        take_info(&mut facts, &Value::Bulk("# Server\r\nrun_id:ghi\r\n".into()));
        assert_eq!((facts.run_id(), facts.role(), facts.is_loading()), (Some("ghi"), Some(Role::Replica), true));
    }

    #[test]
    fn a_name_is_another_command_only_where_that_one_has_lost_its_own() {
        const NAMES: &[&str] = &["GET", "SET", "SUBSTR"];
        let command = |name: &str| format!("*3\r\n${}\r\n{name}\r\n:2\r\n*1\r\n*0\r\n", name.len());
        let answer = |commands: &[Option<&str>]| {
            let entry = |name: &Option<&str>| name.map_or("*-1\r\n".to_owned(), command);
            format!("*{}\r\n{}", commands.len(), commands.iter().map(entry).collect::<String>())
        };
        let misnamed = |commands: &[Option<&str>]| misnamed(NAMES, answer(commands).as_bytes());
        assert_eq!(misnamed(&[Some("get"), Some("set"), None]), None);
        assert_eq!(misnamed(&[None, Some("get"), None]), Some(("SET", "GET".into())));
        assert_eq!(misnamed(&[Some("set"), Some("get"), None]), Some(("GET", "SET".into())));
        assert_eq!(misnamed(&[Some("get"), Some("set"), Some("get")]), None, "it has two names");
        assert_eq!(misnamed(&[Some("get"), Some("set"), Some("other")]), None, "nobody goes by that one");
        for answer in ["-ERR\r\n", "*-1\r\n", "*0\r\n", "*1\r\n*0\r\n", "+OK\r\n", "*3\r\n$3\r\nset\r\n"] {
            assert_eq!(super::misnamed(NAMES, answer.as_bytes()), None);
        }
    }

    #[test]
    fn an_upstream_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
        for (reply, asked) in [
            ("-BUSY Redis is busy running a script.\r\n", Asked::NotYet),
            ("-NOPERM this user has no permissions\r\n", Asked::Refused),
            ("-ERR unknown command 'CONFIG'\r\n", Asked::Refused),
            ("*0\r\n", Asked::Told),
        ] {
            assert_eq!(outcome(reply.as_bytes()), asked, "{reply}");
        }
    }
}
