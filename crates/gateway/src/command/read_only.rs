//! Which commands only read, as the upstream itself says: the flag `readonly` in its answer to `COMMAND`. So commands of
//! modules and of later versions are known the day they exist.

use std::collections::HashSet;

use resp::{Decoded, Request, RequestDecoder, RequestLimits, Value};

/// The longest name that is looked for; an unknown one is no read.
const NAME_MAX: usize = 64;

/// Names in upper case, of subcommands as `COMMAND|SUBCOMMAND`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadOnly(HashSet<Vec<u8>>);

impl ReadOnly {
    /// Reads the answer to `COMMAND`; nothing if it is none.
    pub(crate) fn read(answer: &Value) -> Option<Self> {
        let Value::Array(commands) = answer else { return None };
        let mut names = HashSet::new();
        commands.iter().for_each(|command| take(command, &mut names));
        // The cursor of one node means nothing to another, and a client's next step may go to another.
        names.retain(|name| !name.ends_with(b"SCAN"));
        (!names.is_empty()).then_some(Self(names))
    }

    /// Whether all of these requests, which are complete, only read.
    pub(crate) fn holds_all(&self, requests: &[u8]) -> bool {
        let mut decoder = RequestDecoder::new(RequestLimits::default());
        let mut rest = requests;
        while !rest.is_empty() {
            match decoder.decode(rest) {
                Ok(Decoded::Request { len }) if self.holds(&decoder.request(rest)) => rest = &rest[len..],
                _ => return false,
            }
        }
        true
    }

    fn holds(&self, request: &Request<'_>) -> bool {
        let (mut name, mut len) = ([0; NAME_MAX], 0);
        for part in 0..2 {
            let word = request.arg(part).unwrap_or_default();
            if part > 0 {
                let Some(mark) = name.get_mut(len) else { return false };
                *mark = b'|';
                len += 1;
            }
            let Some(to) = name.get_mut(len..len + word.len()) else { return false };
            to.copy_from_slice(word);
            to.make_ascii_uppercase();
            len += word.len();
            if self.0.contains(&name[..len]) {
                return true;
            }
        }
        false
    }
}

/// One command, and its subcommands.
fn take(command: &Value, names: &mut HashSet<Vec<u8>>) {
    let Value::Array(parts) = command else { return };
    let (Some(name), Some(flags)) = (parts.first().and_then(Value::as_bytes), parts.get(2)) else { return };
    let (Value::Array(flags) | Value::Set(flags)) = flags else { return };
    if flags.iter().any(|flag| flag.as_bytes() == Some(b"readonly")) {
        names.insert(name.to_ascii_uppercase());
    }
    if let Some(Value::Array(subcommands)) = parts.get(9) {
        subcommands.iter().for_each(|subcommand| take(subcommand, names));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str, flag: &str, subcommands: Vec<Value>) -> Value {
        let flags = Value::Array(vec![Value::Simple("fast".into()), Value::Simple(flag.into())]);
        let mut parts = vec![Value::Bulk(name.to_owned().into()), Value::Integer(2), flags];
        parts.extend((0..6).map(|_| Value::Array(Vec::new())));
        parts.push(Value::Array(subcommands));
        Value::Array(parts)
    }

    fn known() -> ReadOnly {
        let stream = command("xinfo|stream", "readonly", Vec::new());
        let commands = vec![
            command("get", "readonly", Vec::new()),
            command("set", "write", Vec::new()),
            command("scan", "readonly", Vec::new()),
            command("json.get", "readonly", Vec::new()),
            command("xinfo", "loading", vec![stream, command("xinfo|help", "stale", Vec::new())]),
        ];
        ReadOnly::read(&Value::Array(commands)).expect("an answer")
    }

    #[test]
    fn flags_decide_and_cursors_stay_at_their_node() {
        let known = known();
        let holds = |requests: &[&[&str]]| {
            let mut bytes = Vec::new();
            requests.iter().for_each(|args| resp::write_request(&mut bytes, args));
            known.holds_all(&bytes)
        };
        assert!(holds(&[&["GET", "k"]]) && holds(&[&["get", "k"], &["JSON.GET", "k"], &["xinfo", "stream", "s"]]));
        for requests in [&["SET", "k", "1"][..], &["SCAN", "0"], &["XINFO", "HELP"], &["XINFO"], &["nosuch"]] {
            assert!(!holds(&[requests]), "{requests:?}");
            assert!(!holds(&[&["GET", "k"], requests]), "{requests:?}");
        }
        assert!(!holds(&[&[&"x".repeat(100), "k"]]) && !holds(&[&["GE", &"x".repeat(100)]]));
    }

    #[test]
    fn what_is_no_answer_says_nothing() {
        for answer in [Value::Error("ERR".into()), Value::Array(Vec::new()), Value::Array(vec![Value::Null])] {
            assert_eq!(ReadOnly::read(&answer), None);
        }
    }
}
