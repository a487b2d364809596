//! `INFO` as the gateway answers it: what the upstream says, with the clients that there are here where it speaks of its own,
//! and the section `Respool`. That shows where Redis shows the sections of its modules: in `INFO respool` and
//! `INFO everything`, not in plain `INFO`. For all users, as `INFO` is; so it holds figures and states and no addresses.

use std::fmt::Write;

use resp::{Protocol, Request, write_request, write_text};

use crate::{
    command::info_sections::{ask_for_respool, is_respool},
    config::operator::Operator,
    console::{
        rows::Cell,
        views::{self, Clients},
    },
    observe::published::Published,
};

/// An `INFO`, read.
// Open: a plain value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InfoAsk {
    /// What the upstream is to answer of it; empty if nothing.
    pub(crate) upstreams: Vec<u8>,
    /// Whether the gateway's section follows.
    pub(crate) has_own: bool,
}

impl InfoAsk {
    pub(crate) fn read(request: &Request<'_>) -> Self {
        let args: Vec<&[u8]> = request.args().filter(|section| !is_respool(section)).collect();
        let mut upstreams = Vec::new();
        if args.len() > 1 || request.len() == 1 {
            write_request(&mut upstreams, &args);
        }
        Self { upstreams, has_own: ask_for_respool(request) }
    }
}

/// The upstream's `text` with what holds of the gateway's clients, of which there may be `clients_max`. What it has said of
/// its own is in the second text, by other names.
fn with_clients(text: &str, clients: &Clients, clients_max: usize) -> (String, String) {
    let (mut shown, mut replaced) = (String::with_capacity(text.len() + 16), String::new());
    for line in text.split_inclusive('\n') {
        let field = line.trim_end().split_once(':');
        let own = field.and_then(|(name, value)| {
            Some(match name {
                "connected_clients" => clients.total,
                "maxclients" => clients_max,
                "blocked_clients" => clients.blocked_of(value.parse().ok()?),
                "tracking_clients" => clients.tracking,
                "pubsub_clients" => clients.subscribed,
                _ => return None,
            })
        });
        // Writing to a string cannot fail.
        let _ = match (field, own) {
            (Some((name, value)), Some(own)) => {
                let _ = write!(replaced, "respool_upstream_{name}:{value}\r\n");
                write!(shown, "{name}:{own}\r\n")
            }
            _ => shown.write_str(line),
        };
    }
    (shown, replaced)
}

/// Writes what the upstream has said, with the gateway's clients.
pub(crate) async fn show(
    upstreams: &[u8],
    (protocol, clients_max): (Protocol, usize),
    published: &Published,
    out: &mut Vec<u8>,
) {
    match text_of(upstreams).map(String::from_utf8_lossy) {
        Some(text) => {
            let (text, _) = with_clients(&text, &Clients::of(published).await, clients_max);
            write_text(out, protocol, &text);
        }
        // An error; the upstream has the words for it.
        None => out.extend_from_slice(upstreams),
    }
}

/// The figures of `RESPOOL POOLS` and `RESPOOL STATS` under the names that they have there.
fn section(operator: &Operator, published: &Published, clients: &Clients) -> String {
    let mut text = String::from("# Respool\r\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        // Writing to a string cannot fail.
        let _ = write!(text, "respool_{name}:{value}\r\n");
    };
    line("version", &env!("CARGO_PKG_VERSION"));
    line("uptime_in_seconds", &published.uptime().as_secs());
    let pools = views::pools(operator, clients).into_iter().take(1).flatten();
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
    let clients = Clients::of(published).await;
    if upstreams.is_empty() {
        return write_text(out, protocol, &section(operator, published, &clients));
    }
    match text_of(upstreams).map(String::from_utf8_lossy) {
        Some(text) => {
            let (text, replaced) = with_clients(&text, &clients, operator.sessions().clients_max);
            let between = if text.is_empty() { "" } else { "\r\n" };
            let section = section(operator, published, &clients);
            write_text(out, protocol, &format!("{text}{between}{section}{replaced}"));
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
    #[test]
    fn clients_are_those_of_the_gateway_and_the_rest_is_the_upstreams_own() {
        let clients = Clients { total: 7, blocked: 2, held: 3, tracking: 1, subscribed: 4, ..Clients::default() };
        let text = |connected: u32, max: u32, blocked: u32, tracking: u32, pubsub: u32| {
            format!(
                "# Clients\r\nconnected_clients:{connected}\r\ncluster_connections:9\r\nmaxclients:{max}\r\n\
                 blocked_clients:{blocked}\r\ntracking_clients:{tracking}\r\npubsub_clients:{pubsub}\r\n\r\n# CPU\r\n"
            )
        };
        let shown = |blocked| with_clients(&text(11, 12, blocked, 14, 15), &clients, 99);
        let replaced = "respool_upstream_connected_clients:11\r\nrespool_upstream_maxclients:12\r\n\
                        respool_upstream_blocked_clients:3\r\nrespool_upstream_tracking_clients:14\r\n\
                        respool_upstream_pubsub_clients:15\r\n";
        assert_eq!(shown(3), (text(7, 99, 5, 1, 4), replaced.to_owned()), "more than two: it holds others back");
        assert_eq!(shown(2).0, text(7, 99, 2, 1, 4), "those that block, and nobody else");
        assert_eq!(shown(1).0, text(7, 99, 1, 1, 4), "one of them has its reply already, or is not there yet");
        assert_eq!(shown(0).0, text(7, 99, 0, 1, 4));
    }
}
