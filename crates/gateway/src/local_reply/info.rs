//! The section `Respool` of `INFO`. It shows where Redis shows the sections of its modules: in `INFO respool` and
//! `INFO everything`, not in plain `INFO`, whose reply is the upstream's own. For all users, as `INFO` is;
//! so it holds figures and states and no addresses.

use std::fmt::Write;

use resp::{Protocol, Request, write_request, write_text};

use crate::{
    command::info_sections::is_respool,
    config::operator::Operator,
    console::{
        rows::Cell,
        views::{self, Clients},
    },
    observe::published::Published,
};

/// What the upstream is to answer of it; empty if nothing.
pub(crate) fn upstreams_part(request: &Request<'_>) -> Vec<u8> {
    let args: Vec<&[u8]> = request.args().filter(|section| !is_respool(section)).collect();
    let mut requests = Vec::new();
    if args.len() > 1 {
        write_request(&mut requests, &args);
    }
    requests
}

/// The figures of `RESPOOL POOLS` and `RESPOOL STATS` under the names that they have there.
async fn section(operator: &Operator, published: &Published) -> String {
    let clients = Clients::of(published).await;
    let mut text = String::from("# Respool\r\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = write!(text, "respool_{name}:{value}\r\n");
    };
    line("version", &env!("CARGO_PKG_VERSION"));
    line("uptime_in_seconds", &published.uptime().as_secs());
    let pools = views::pools(operator, &clients).into_iter().take(1).flatten();
    let mut shown = Vec::new();
    for (name, cell) in pools.chain(views::stats(operator, published)) {
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

/// Writes the answer to an `INFO` that names us; `upstreams` is what the upstream answered to its part of it, if
/// anything was left for it.
pub(crate) async fn answer(
    upstreams: &[u8],
    protocol: Protocol,
    operator: &Operator,
    published: &Published,
    out: &mut Vec<u8>,
) {
    if upstreams.is_empty() {
        return write_text(out, protocol, &section(operator, published).await);
    }
    match text_of(upstreams).map(String::from_utf8_lossy) {
        Some(text) => {
            let between = if text.is_empty() { "" } else { "\r\n" };
            let section = section(operator, published).await;
            write_text(out, protocol, &format!("{text}{between}{section}"));
        }
        // An error; the upstream has the words for it.
        None => out.extend_from_slice(upstreams),
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
