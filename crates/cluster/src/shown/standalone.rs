//! What a node says of itself, in the words of a Redis that stands alone: to clients the cluster is one.

use resp::{Protocol, write_bulk, write_text};

use crate::shown::totals::total;

/// What a Redis without a cluster answers to commands about one.
pub const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";

/// What `INFO` of a node says of its cluster, and what that of a single Redis or, since 8, Valkey says.
const WORDS: [(&str, &str); 3] = [
    ("redis_mode:cluster\r\n", "redis_mode:standalone\r\n"),
    ("server_mode:cluster\r\n", "server_mode:standalone\r\n"),
    ("cluster_enabled:1\r\n", "cluster_enabled:0\r\n"),
];

/// The same in the reply to `HELLO`, as bulk strings.
const MODE: (&[u8], &[u8]) = (b"$4\r\nmode\r\n$7\r\ncluster\r\n", b"$4\r\nmode\r\n$10\r\nstandalone\r\n");

/// Appends the reply to `INFO`.
pub fn info(reply: &[u8], out: &mut Vec<u8>) {
    info_of_all(&[reply], true, out);
}

/// The same, where several primaries were asked, of which one has answered at least if any could; `hides` what they say of
/// their cluster.
pub(crate) fn info_of_all(replies: &[&[u8]], hides: bool, out: &mut Vec<u8>) {
    let answered = replies.iter().position(|reply| text_of(reply).is_some()).unwrap_or_default();
    let Some((first, others)) = replies.get(answered..).and_then(<[&[u8]]>::split_first) else { return };
    let Some(text) = text_of(first) else { return out.extend_from_slice(first) };
    let others: Vec<&str> = others.iter().filter_map(|reply| text_of(reply)).collect();
    let mut text = if others.is_empty() { text.to_owned() } else { total(text, &others) };
    if hides {
        text = WORDS.iter().fold(text, |text, (word, other)| text.replace(word, other));
    }
    match first.first() {
        Some(b'=') => write_text(out, Protocol::Resp3, &text),
        _ => write_bulk(out, text.as_bytes()),
    }
}

/// The text of a bulk or a verbatim string.
fn text_of(reply: &[u8]) -> Option<&str> {
    let head = reply.iter().position(|byte| *byte == b'\n')? + 1;
    let text = std::str::from_utf8(reply.get(head..)?.strip_suffix(b"\r\n")?).ok()?;
    match reply[0] {
        b'=' => text.strip_prefix("txt:"),
        b'$' => Some(text),
        _ => None,
    }
}

/// Appends the reply to `HELLO`.
pub fn hello(reply: &[u8], out: &mut Vec<u8>) {
    match reply.windows(MODE.0.len()).position(|part| part == MODE.0) {
        Some(at) => {
            [&reply[..at], MODE.1, &reply[at + MODE.0.len()..]].iter().for_each(|part| out.extend_from_slice(part))
        }
        None => out.extend_from_slice(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_words_about_the_cluster_are_others() {
        let told = |how: fn(&[u8], &mut Vec<u8>), reply: &str| {
            let mut out = Vec::new();
            how(reply.as_bytes(), &mut out);
            String::from_utf8(out).expect("text")
        };
        let text = "# Server\r\nredis_mode:cluster\r\n# Cluster\r\ncluster_enabled:1\r\n";
        let single = "# Server\r\nredis_mode:standalone\r\n# Cluster\r\ncluster_enabled:0\r\n";
        let of_valkey = |text: &str| text.replace("redis_", "server_");
        let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
        let verbatim = |text: &str| format!("={}\r\ntxt:{text}\r\n", text.len() + 4);
        assert_eq!(told(info, &bulk(text)), bulk(single));
        assert_eq!(told(info, &verbatim(text)), verbatim(single));
        assert_eq!(told(info, &bulk(&of_valkey(text))), bulk(&of_valkey(single)));
        for other in ["-ERR x\r\n", "$3\r\na\rb\r\n", "$-1\r\n"] {
            assert_eq!((told(info, other), told(hello, other)), (other.to_owned(), other.to_owned()));
        }
        let hello_of =
            |mode: &str| format!("*6\r\n{}:3\r\n{}{}{}", bulk("proto"), bulk("mode"), bulk(mode), bulk("role"));
        assert_eq!(told(hello, &hello_of("cluster")), hello_of("standalone"));
        assert_eq!(told(hello, &hello_of("standalone")), hello_of("standalone"));
    }
}
