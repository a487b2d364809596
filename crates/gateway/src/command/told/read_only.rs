//! Which commands only read, as the upstream itself says: the flag `readonly` in its answer to `COMMAND`. So commands of
//! modules and of later versions are known the day they exist.

use std::collections::HashMap;

use resp::{Decoded, Request, RequestDecoder, RequestLimits, Value};

/// The longest name that is looked for; an unknown one is no read.
const NAME_MAX: usize = 64;

/// Names in upper case, of subcommands as `COMMAND|SUBCOMMAND`, and how much work each is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ReadOnly(HashMap<Vec<u8>, Work>);

/// How much work a read is, as the upstream says; the larger one is the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// It has the flag `fast`: it blocks the node for no time worth mentioning.
    Little,
    /// It may block the node for long.
    Much,
}

impl ReadOnly {
    /// Reads the answer to `COMMAND`; nothing if it is none.
    pub(crate) fn read(answer: &Value) -> Option<Self> {
        let Value::Array(commands) = answer else { return None };
        let mut names = HashMap::new();
        commands.iter().for_each(|command| take(command, &mut names));
        // The cursor of one node means nothing to another, and a client's next step may go to another.
        names.retain(|name, _| !name.ends_with(b"SCAN"));
        (!names.is_empty()).then_some(Self(names))
    }

    /// If all of these requests, which are complete, only read: how much work the largest is.
    pub(crate) fn work_of_all(&self, requests: &[u8]) -> Option<Work> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let (mut rest, mut most) = (requests, Work::Little);
        while !rest.is_empty() {
            let Ok(Decoded::Request { len }) = decoder.decode(rest) else { return None };
            most = most.max(self.work_of(&decoder.request(rest))?);
            rest = &rest[len..];
        }
        Some(most)
    }

    fn work_of(&self, request: &Request<'_>) -> Option<Work> {
        let (mut name, mut len) = ([0; NAME_MAX], 0);
        for part in 0..2 {
            let word = request.arg(part).unwrap_or_default();
            if part > 0 {
                *name.get_mut(len)? = b'|';
                len += 1;
            }
            let to = name.get_mut(len..len + word.len())?;
            to.copy_from_slice(word);
            to.make_ascii_uppercase();
            len += word.len();
            if let Some(work) = self.0.get(&name[..len]) {
                return Some(*work);
            }
        }
        None
    }
}

/// One command, and its subcommands.
fn take(command: &Value, names: &mut HashMap<Vec<u8>, Work>) {
    let Value::Array(parts) = command else { return };
    let (Some(name), Some(flags)) = (parts.first().and_then(Value::as_bytes), parts.get(2)) else { return };
    let (Value::Array(flags) | Value::Set(flags)) = flags else { return };
    let has = |name: &[u8]| flags.iter().any(|flag| flag.as_bytes() == Some(name));
    if has(b"readonly") {
        let work = if has(b"fast") { Work::Little } else { Work::Much };
        names.insert(name.to_ascii_uppercase(), work);
    }
    if let Some(Value::Array(subcommands)) = parts.get(9) {
        subcommands.iter().for_each(|subcommand| take(subcommand, names));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(name: &str, flags: &str, subcommands: Vec<Value>) -> Value {
        let flags = Value::Array(flags.split(' ').map(|flag| Value::Simple(flag.into())).collect());
        let mut parts = vec![Value::Bulk(name.to_owned().into()), Value::Integer(2), flags];
        parts.extend((0..6).map(|_| Value::Array(Vec::new())));
        parts.push(Value::Array(subcommands));
        Value::Array(parts)
    }

    fn known() -> ReadOnly {
        let stream = command("xinfo|stream", "readonly", Vec::new());
        let commands = vec![
            command("get", "readonly fast", Vec::new()),
            command("keys", "readonly", Vec::new()),
            command("set", "write fast", Vec::new()),
            command("scan", "readonly", Vec::new()),
            command("json.get", "readonly", Vec::new()),
            command("xinfo", "loading", vec![stream, command("xinfo|help", "stale", Vec::new())]),
        ];
        ReadOnly::read(&Value::Array(commands)).expect("an answer")
    }

    #[test]
    fn flags_decide_and_cursors_stay_at_their_node() {
        let known = known();
        let work = |requests: &[&[&str]]| {
            let mut bytes = Vec::new();
            requests.iter().for_each(|args| resp::write_request(&mut bytes, args));
            known.work_of_all(&bytes)
        };
        assert_eq!(work(&[&["GET", "k"], &["get", "k"]]), Some(Work::Little));
        let mixed: [&[&str]; 3] = [&["get", "k"], &["JSON.GET", "k"], &["xinfo", "stream", "s"]];
        assert_eq!(work(&mixed), Some(Work::Much));
        assert_eq!(work(&[&["KEYS", "*"], &["GET", "k"]]), Some(Work::Much));
        for requests in [&["SET", "k", "1"][..], &["SCAN", "0"], &["XINFO", "HELP"], &["XINFO"], &["nosuch"]] {
            assert_eq!(work(&[requests]), None, "{requests:?}");
            assert_eq!(work(&[&["GET", "k"], requests]), None, "{requests:?}");
        }
        assert_eq!(work(&[&[&"x".repeat(100), "k"]]), None);
        assert_eq!(work(&[&["GE", &"x".repeat(100)]]), None);
    }

    #[test]
    fn what_is_no_answer_says_nothing() {
        for answer in [Value::Error("ERR".into()), Value::Array(Vec::new()), Value::Array(vec![Value::Null])] {
            assert_eq!(ReadOnly::read(&answer), None);
        }
    }
}
