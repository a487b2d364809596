//! What mini-redis can take. It closes the connection, which others share, over a request that it cannot
//! parse, and an expiry beyond the clock would poison it for good: such requests are answered here.

use resp::{Request, parse_integer};

use crate::command::errors;

/// The error for a request that must not reach mini-redis; `None` for one that may.
pub(crate) fn fault(request: &Request<'_>) -> Option<String> {
    let name = request.arg(0).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(name) else {
        return Some("ERR unknown command".to_owned());
    };
    // It repeats the name of an unknown command in its error, line ends included, which would be further
    // replies, and those would go to other clients.
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Some(format!("ERR unknown command '{text}'"));
    }
    let name = text.to_ascii_lowercase();
    let lengths = match name.as_str() {
        "get" => 2..=2,
        "set" => 3..=5,
        "publish" => 3..=3,
        "subscribe" => 2..=usize::MAX,
        _ => return None,
    };
    if !lengths.contains(&request.len()) {
        return Some(errors::wrong_arity(&name));
    }
    let texts = if name == "subscribe" { request.len() - 1 } else { 1 };
    if request.args().skip(1).take(texts).any(|arg| std::str::from_utf8(arg).is_err()) {
        return Some(errors::refused("the embedded upstream takes only keys and channels in UTF-8"));
    }
    if name == "set" { expiry_fault(request) } else { None }
}

/// Of what may follow the value of a `SET`, mini-redis knows `EX` and `PX`.
fn expiry_fault(request: &Request<'_>) -> Option<String> {
    let unit = request.arg(3)?;
    let millis = match unit {
        unit if unit.eq_ignore_ascii_case(b"EX") => 1000,
        unit if unit.eq_ignore_ascii_case(b"PX") => 1,
        _ => return Some("ERR syntax error".to_owned()),
    };
    let Some(number) = request.arg(4) else { return Some("ERR syntax error".to_owned()) };
    match parse_integer(number) {
        None => Some("ERR value is not an integer or out of range".to_owned()),
        // As in Redis, whose clock counts milliseconds.
        Some(number) if number <= 0 || number.checked_mul(millis).is_none() => {
            Some("ERR invalid expire time in 'set' command".to_owned())
        }
        Some(_) => None,
    }
}
