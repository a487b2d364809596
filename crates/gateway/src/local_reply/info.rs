//! The section `Respool` of `INFO`. It shows where Redis shows the sections of its modules: in `INFO respool` and
//! `INFO everything`, not in plain `INFO`, whose reply is the upstream's own. For all users, as `INFO` is;
//! so it holds figures and states and no addresses.

use std::fmt::Write;

use pool::{Burst, Needs};
use resp::{Request, write_error, write_request, write_text};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    console::{
        rows::Cell,
        views::{self, Clients},
    },
    session::{context::Context, session::Session},
    wording::errors,
};

/// Whether a reply to this `INFO` has the gateway's section.
pub(crate) fn names_us(request: &Request<'_>) -> bool {
    request.args().skip(1).any(|section| is_ours(section) || section.eq_ignore_ascii_case(b"everything"))
}

fn is_ours(section: &[u8]) -> bool {
    section.eq_ignore_ascii_case(b"respool")
}

/// What the upstream is to answer of it; empty if nothing.
pub(crate) fn upstreams_part(request: &Request<'_>) -> Vec<u8> {
    let args: Vec<&[u8]> = request.args().filter(|section| !is_ours(section)).collect();
    let mut requests = Vec::new();
    if args.len() > 1 {
        write_request(&mut requests, &args);
    }
    requests
}

/// The figures of `RESPOOL POOLS` and `RESPOOL STATS` under the names that they have there.
async fn section(context: &Context) -> String {
    let clients = Clients::of(context).await;
    let mut text = String::from("# Respool\r\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = write!(text, "respool_{name}:{value}\r\n");
    };
    line("version", &env!("CARGO_PKG_VERSION"));
    line("uptime_in_seconds", &context.since.elapsed().as_secs());
    let pools = views::pools(context, &clients).into_iter().flatten();
    let mut shown = Vec::new();
    for (name, cell) in pools.chain(views::stats(context)) {
        match cell {
            // Some stand in both.
            Cell::Number(_) if shown.contains(&name) => {}
            Cell::Number(number) => line(name, &number),
            Cell::Text(state) if name == "state" => line(name, &state),
            Cell::Text(_) | Cell::List(_) => {}
        }
        shown.push(name);
    }
    text
}

/// The text of a bulk or verbatim string.
fn text_of(reply: &[u8]) -> Option<&[u8]> {
    let head = reply.iter().position(|byte| *byte == b'\n')? + 1;
    let text = reply.get(head..)?.strip_suffix(b"\r\n")?;
    match reply[0] {
        b'$' => Some(text),
        b'=' => text.strip_prefix(b"txt:"),
        _ => None,
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Answers an `INFO` that names us; `requests` is the upstream's part of it.
    pub(crate) async fn info(&mut self, requests: Vec<u8>) -> bool {
        let Needs { protocol, .. } = self.state.needs;
        if requests.is_empty() {
            write_text(&mut self.output, protocol, &section(&self.context).await);
            return true;
        }
        let burst = Burst { requests, replies_due: 1, needs: self.state.needs, read_only: true, ..Burst::default() };
        let answer = self.caller.call(burst).await;
        if let Some(failure) = answer.failure {
            write_error(&mut self.output, &errors::job(&failure, &self.settings));
            return true;
        }
        match text_of(&answer.burst.replies).map(String::from_utf8_lossy) {
            Some(text) => {
                let between = if text.is_empty() { "" } else { "\r\n" };
                let section = section(&self.context).await;
                write_text(&mut self.output, protocol, &format!("{text}{between}{section}"));
            }
            // An error; the upstream has the words for it.
            None => self.output.extend_from_slice(&answer.burst.replies),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_reply_is_found_in_either_protocol() {
        assert_eq!(text_of(b"$3\r\na\r\n\r\n"), Some(&b"a\r\n"[..]));
        assert_eq!(text_of(b"=7\r\ntxt:abc\r\n"), Some(&b"abc"[..]));
        assert_eq!(text_of(b"-ERR no\r\n"), None);
    }
}
