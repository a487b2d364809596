//! Pushes that stand inside of a reply, where a request of RESP3 has a consequence that its own connection hears of: up
//! to Redis 7.0 they are written into the middle of the reply. Which of them answer a request, and which do not.

use memchr::memchr;

use crate::{
    ReplyScanner,
    number::{parse_integer, short_length},
};

/// The names of pushes that confirm a subscription. In a transaction they are what its request is answered with; all
/// other pushes inside of a reply are none of its items.
const CONFIRMATIONS: [&[u8]; 6] =
    [b"subscribe", b"psubscribe", b"ssubscribe", b"unsubscribe", b"punsubscribe", b"sunsubscribe"];

/// Whether a push of that name confirms a subscription.
pub(crate) fn is_confirmation(name: &[u8]) -> bool {
    CONFIRMATIONS.contains(&name)
}

/// Whether a whole push confirms a subscription. Inside of a reply, no other is one of its items.
pub fn confirms(push: &[u8]) -> bool {
    let name = || {
        let (kind, rest) = push.strip_prefix(b">3\r\n")?.split_first()?;
        let (length, len) = short_length(rest).filter(|_| b"$!=".contains(kind))?;
        rest.get(len..)?.get(..length)
    };
    name().is_some_and(is_confirmation)
}

/// The pushes inside of a whole reply, however deep, that are none of its items.
pub fn pushes_inside(reply: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = reply;
    std::iter::from_fn(move || {
        while let Some(kind) = rest.first() {
            let line = memchr(b'\n', rest)? + 1;
            let is_first = rest.len() == reply.len();
            let len = match kind {
                b'>' if !is_first => ReplyScanner::new(usize::MAX).scan(rest).ok()?.consumed,
                b'$' | b'!' | b'=' | b';' => match parse_integer(&rest[1..line - 2]) {
                    Some(length @ 1..) => line + usize::try_from(length).ok()? + 2,
                    Some(0) if *kind != b';' => line + 2,
                    _ => line,
                },
                _ => line,
            };
            let (piece, after) = rest.split_at_checked(len)?;
            rest = after;
            if *kind == b'>' && !is_first && !confirms(piece) {
                return Some(piece);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_inside_of_a_reply_are_found_however_deep() {
        let message = ">3\r\n$7\r\nmessage\r\n$1\r\nx\r\n$4\r\n\r\n>0\r\n";
        let reply = format!(
            "*4\r\n{message}$0\r\n\r\n$-1\r\n%1\r\n+a\r\n{message}*0\r\n>3\r\n$9\r\nsubscribe\r\n+a\r\n:1\r\n{message}"
        );
        let found: Vec<&[u8]> = pushes_inside(reply.as_bytes()).collect();
        assert_eq!(found, [message.as_bytes(); 3]);
        assert_eq!(pushes_inside(message.as_bytes()).count(), 0);
        assert_eq!(pushes_inside(b"$?\r\n;4\r\n>0\r\n\r\n;0\r\n").count(), 0);
    }
}
