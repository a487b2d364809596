//! What the replies to requests say of the scripts and functions that nodes know: `SCRIPT LOAD`, `EVAL`, `SCRIPT FLUSH`,
//! `FUNCTION LOAD` and `FUNCTION FLUSH`, by themselves or in a transaction. Asked by `round`, and by those who have
//! transactions of their own.

use std::{fmt, sync::Arc};

use resp::{Decoded, Request, RequestDecoder, RequestLimits};

use crate::{cluster::Cluster, hints::beginning, map::Map, scripts::Scripts};

/// What begins an error of a node that has not taken in the script of the request.
const NOTHING_LOADED: [&[u8]; 16] = [
    b"ERR wrong number",
    b"ERR unknown",
    b"ERR Number of keys",
    b"NOPERM ",
    b"NOAUTH ",
    b"CROSSSLOT ",
    b"CLUSTERDOWN ",
    b"MOVED ",
    b"ASK ",
    b"TRYAGAIN ",
    b"BUSY ",
    b"LOADING ",
    b"MASTERDOWN ",
    b"MISCONF ",
    b"NOREPLICAS ",
    b"OOM ",
];

/// What stands in an error that a running script has met, which may begin like those.
const RUNNING: [&[u8]; 2] = [b" script: ", b"ERR Error running script"];

/// Whether a node knows a script once it has answered so to the request that brought it. The script may have failed.
fn is_known(reply: &[u8]) -> bool {
    let Some(error) = reply.strip_prefix(b"-") else { return true };
    let begins = |words: &[u8]| error.starts_with(words);
    if begins(b"ERR Error compiling script") || begins(b"ERR respool: ") {
        return false;
    }
    let has = |words: &[u8]| error.windows(words.len()).any(|part| part == words);
    RUNNING.into_iter().any(has) || !NOTHING_LOADED.into_iter().any(begins)
}

/// Whether this is a number as requests have them.
fn is_number(arg: &[u8]) -> bool {
    !arg.starts_with(b"+") && str::from_utf8(arg).is_ok_and(|number| number.parse::<i64>().is_ok())
}

/// What is known of scripts once a request has been executed.
#[derive(PartialEq, Eq)]
pub enum Taught {
    /// A node knows this one.
    Known(Vec<u8>),
    /// None is known any more.
    Flushed,
    /// Nodes have the functions of this library, of which this is the beginning.
    Library(Vec<u8>),
    /// They have no functions any more.
    NoFunctions,
}

/// Without what a client has sent.
impl fmt::Debug for Taught {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Taught").field(&self.bytes()).finish()
    }
}

impl Taught {
    /// What the reply to `request` will say of them.
    pub(crate) fn of(request: &Request<'_>, scripts: &Scripts) -> Option<Self> {
        let is = |at: usize, name: &[u8]| request.arg(at).is_some_and(|word| word.eq_ignore_ascii_case(name));
        let text = if is(0, b"EVAL") || is(0, b"EVAL_RO") {
            // Without a number of keys no node takes it in. What a script says of a value may be the same error.
            request.arg(1).filter(|_| request.arg(2).is_some_and(is_number))
        } else if is(0, b"FUNCTION") {
            let library =
                request.args().last().filter(|_| is(1, b"LOAD")).map(|text| Self::Library(beginning(text).to_vec()));
            return library.or_else(|| is(1, b"FLUSH").then_some(Self::NoFunctions));
        } else if !is(0, b"SCRIPT") {
            None
        } else if is(1, b"FLUSH") {
            return Some(Self::Flushed);
        } else {
            request.arg(2).filter(|_| is(1, b"LOAD"))
        };
        text.filter(|text| !scripts.has(text)).map(|text| Self::Known(text.to_vec()))
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Known(text) | Self::Library(text) => text.capacity(),
            Self::Flushed | Self::NoFunctions => 0,
        }
    }

    /// Has the reply said that.
    fn executed(&self, reply: &[u8], scripts: &Scripts, map: &Map) {
        match self {
            Self::Known(text) if is_known(reply) => scripts.learn(text),
            Self::Flushed if reply.starts_with(b"+") => scripts.forget(),
            Self::Library(text) if !reply.starts_with(b"-") => scripts.hints().learn(text, &map.commands),
            Self::NoFunctions if reply.starts_with(b"+") => scripts.hints().forget_functions(),
            Self::Known(_) | Self::Flushed | Self::Library(_) | Self::NoFunctions => {}
        }
    }
}

/// Bytes of texts of scripts that go with a burst, but for one text at least.
const LOADS_BYTES_MAX: usize = 1024 * 1024;

/// The text of the script that the first of these requests wants to be executed and does not bring along, if it is kept.
pub(crate) fn text_of_script(requests: &[u8], scripts: &Scripts) -> Option<Arc<[u8]>> {
    let mut decoder = RequestDecoder::new(RequestLimits::accepted());
    let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return None };
    scripts.text(script_of(&decoder.request(requests))?)
}

/// The same of all of these requests, each text once, as long as what goes with a burst has not too many `bytes`.
pub(crate) fn texts_of_scripts(requests: &[u8], scripts: &Scripts, bytes: &mut usize) -> Vec<Arc<[u8]>> {
    let (mut decoder, mut at) = (RequestDecoder::new(RequestLimits::accepted()), 0);
    let mut texts = Vec::<Arc<[u8]>>::new();
    while let Ok(Decoded::Request { len }) = decoder.decode(&requests[at..]) {
        let text = script_of(&decoder.request(&requests[at..])).and_then(|digest| scripts.text(digest));
        if let Some(text) = text
            && !texts.iter().any(|known| Arc::ptr_eq(known, &text))
            && (*bytes == 0 || *bytes + text.len() <= LOADS_BYTES_MAX)
        {
            *bytes += text.len();
            texts.push(text);
        }
        at += len;
    }
    texts
}

/// The digest of the script that a request wants to be executed.
fn script_of<'r>(request: &Request<'r>) -> Option<&'r [u8]> {
    let is = |name: &[u8]| request.arg(0).is_some_and(|first| first.eq_ignore_ascii_case(name));
    request.arg(1).filter(|_| is(b"EVALSHA") || is(b"EVALSHA_RO"))
}

/// Whether it has a node keep a script.
pub(crate) fn loads_script(request: &Request<'_>) -> bool {
    let is = |at: usize, name: &[u8]| request.arg(at).is_some_and(|word| word.eq_ignore_ascii_case(name));
    is(0, b"SCRIPT") && is(1, b"LOAD")
}

/// Whether the first of these requests has a script executed, which it brings along or names.
pub fn runs_script(requests: &[u8]) -> bool {
    let mut decoder = RequestDecoder::new(RequestLimits::accepted());
    let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return false };
    let request = decoder.request(requests);
    request.arg(0).and_then(|name| name.get(..4)).is_some_and(|begin| begin.eq_ignore_ascii_case(b"EVAL"))
}

impl Cluster {
    /// What the reply to the first of these requests will say of the scripts and functions that nodes know.
    pub fn taught(&self, requests: &[u8]) -> Option<Taught> {
        let mut decoder = RequestDecoder::new(RequestLimits::accepted());
        let Ok(Decoded::Request { .. }) = decoder.decode(requests) else { return None };
        Taught::of(&decoder.request(requests), self.scripts())
    }

    /// Takes note of what it says.
    pub fn learn(&self, taught: &Taught, reply: &[u8]) {
        taught.executed(reply, self.scripts(), &self.map());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_known_once_it_has_run_whatever_it_said() {
        for reply in [
            "+OK",
            ":1",
            "-MY own error",
            "-BUSYKEY of its own",
            "-OOM command not allowed when used memory > 'maxmemory'. script: 1a2b, on @user_script:1.",
            "-ERR Error running script (call to f_1a2b): @user_script:1: no",
        ] {
            assert!(is_known(reply.as_bytes()), "{reply}");
        }
        for reply in [
            "-OOM command not allowed when used memory > 'maxmemory'.",
            "-BUSY Redis is busy running a script.",
            "-CROSSSLOT Keys in request don't hash to the same slot",
            "-ERR wrong number of arguments for 'eval' command",
            "-ERR Error compiling script (new function): user_script:1: script: unexpected symbol",
            "-ERR respool: x",
        ] {
            assert!(!is_known(reply.as_bytes()), "{reply}");
        }
    }
}
