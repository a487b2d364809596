//! A command as `CLIENT LIST` shows it: in lower case, with its subcommand.

use resp::{Decoded, Request, RequestDecoder, RequestLimits};

/// Longer names are of no command.
const NAME_MAX: usize = 64;

/// Commands that are shown with their subcommands.
const WITH_SUBCOMMANDS: [&str; 17] = [
    "acl",
    "client",
    "cluster",
    "command",
    "commandlog",
    "config",
    "function",
    "latency",
    "memory",
    "module",
    "object",
    "pubsub",
    "respool",
    "script",
    "slowlog",
    "xgroup",
    "xinfo",
];

/// What Redis shows of a client that has sent no command that it knows.
pub(crate) const NO_COMMAND: &str = "NULL";

/// The command of a request.
pub(crate) fn full_name(request: &Request<'_>) -> String {
    let word = |at: usize| {
        let arg = request.arg(at).filter(|arg| arg.len() <= NAME_MAX && arg.iter().all(u8::is_ascii_graphic));
        arg.map(|arg| String::from_utf8_lossy(arg).to_ascii_lowercase())
    };
    let Some(name) = word(0) else { return NO_COMMAND.to_owned() };
    match word(1).filter(|_| WITH_SUBCOMMANDS.contains(&name.as_str())) {
        Some(subcommand) => format!("{name}|{subcommand}"),
        None => name,
    }
}

/// The command of the last of these requests, which are arrays one behind the other.
pub(crate) fn last_full_name(requests: &[u8]) -> Option<String> {
    let (mut decoder, mut at) = (RequestDecoder::new(RequestLimits::accepted()), 0);
    while let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..]) {
        if at + len >= requests.len() {
            return Some(full_name(&decoder.request(&requests[at..])));
        }
        at += len;
    }
    None
}

#[cfg(test)]
mod tests {
    use resp::write_request;

    use super::*;

    fn shown(lines: &[&[&str]]) -> Option<String> {
        let mut requests = Vec::new();
        lines.iter().for_each(|line| write_request(&mut requests, line));
        last_full_name(&requests)
    }

    #[test]
    fn a_command_is_shown_as_redis_shows_it() {
        assert_eq!(shown(&[&["SET", "k", "v"], &["Get", "k"]]).as_deref(), Some("get"));
        assert_eq!(shown(&[&["CLIENT", "Tracking", "ON"]]).as_deref(), Some("client|tracking"));
        assert_eq!(shown(&[&["client"]]).as_deref(), Some("client"));
        assert_eq!(shown(&[&["a b"]]).as_deref(), Some(NO_COMMAND));
        assert_eq!(shown(&[&[&"x".repeat(65)]]).as_deref(), Some(NO_COMMAND));
    }
}
