//! How a request is shown: in the slow log cut as Redis cuts it, and everywhere without the secrets that a command may hold.
//! Reads requests in the form in which they go to the upstream; does no I/O.

use resp::parse_integer;

/// Arguments of one entry; the last one says how many are missing.
const ARGS_MAX: usize = 32;

/// Bytes of one argument.
const BYTES_MAX: usize = 128;

pub(super) const REDACTED: &str = "(redacted)";

/// A burst that timed out lies in the queue or in flight, and its text with it.
const GIVEN_UP: &str = "(given up)";

/// The arguments of the first of `requests` as they may be shown.
pub(crate) fn shown(requests: &[u8]) -> Vec<String> {
    if requests.is_empty() {
        return vec![GIVEN_UP.to_owned()];
    }
    let Some((count, mut rest)) = head(requests, b'*') else { return Vec::new() };
    let mut args: Vec<&[u8]> = Vec::new();
    while args.len() < count.min(ARGS_MAX)
        && let Some((length, from)) = head(rest, b'$')
        && let Some((arg, after)) = from.split_at_checked(length)
    {
        args.push(arg);
        rest = after.get(2..).unwrap_or_default();
    }
    let secret: Vec<bool> = (0..args.len()).map(|index| is_secret(&args, index)).collect();
    let mut shown: Vec<String> =
        args.iter().zip(secret).map(|(arg, secret)| if secret { REDACTED.to_owned() } else { cut(arg) }).collect();
    if count > ARGS_MAX {
        shown.truncate(ARGS_MAX - 1);
        shown.push(format!("... ({} more arguments)", count - (ARGS_MAX - 1)));
    }
    shown
}

/// The number after `mark`, and what follows its line.
fn head(bytes: &[u8], mark: u8) -> Option<(usize, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let number = bytes[..end].strip_suffix(b"\r")?.strip_prefix(&[mark])?;
    Some((usize::try_from(parse_integer(number)?).ok()?, &bytes[end + 1..]))
}

fn cut(arg: &[u8]) -> String {
    let text = String::from_utf8_lossy(&arg[..arg.len().min(BYTES_MAX)]);
    match arg.len().checked_sub(BYTES_MAX) {
        Some(more @ 1..) => format!("{text}... ({more} more bytes)"),
        _ => text.into_owned(),
    }
}

/// Whether an argument is a password, or may be one.
pub(super) fn is_secret(args: &[&[u8]], index: usize) -> bool {
    let is = |at: usize, word: &str| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let after = |word: &str, distance: usize| index.checked_sub(distance).is_some_and(|at| is(at, word));
    if is(0, "AUTH") {
        index > 0
    } else if is(0, "CONFIG") && is(1, "SET") {
        // Redis knows which of its parameters are secret; those of modules and of later versions, nobody does.
        index >= 3 && index % 2 == 1
    } else if is(0, "ACL") && is(1, "SETUSER") {
        index >= 3
    } else if is(0, "HELLO") {
        after("AUTH", 1) || after("AUTH", 2)
    } else if is(0, "MIGRATE") {
        after("AUTH", 1) || after("AUTH2", 1) || after("AUTH2", 2)
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use resp::write_request;

    use super::*;

    fn of(line: &str) -> String {
        let mut requests = Vec::new();
        write_request(&mut requests, &line.split(' ').collect::<Vec<_>>());
        write_request(&mut requests, &["GET", "next"]);
        shown(&requests).join(" ")
    }

    #[test]
    fn secrets_are_left_out() {
        assert_eq!(of("auth user pass"), "auth (redacted) (redacted)");
        assert_eq!(
            of("config set requirepass x maxmemory 1"),
            "config set requirepass (redacted) maxmemory (redacted)"
        );
        assert_eq!(of("CONFIG GET requirepass"), "CONFIG GET requirepass");
        assert_eq!(of("ACL SETUSER me on >pass"), "ACL SETUSER me (redacted) (redacted)");
        assert_eq!(of("hello 3 AUTH user pass SETNAME x"), "hello 3 AUTH (redacted) (redacted) SETNAME x");
        assert_eq!(of("MIGRATE h 1 k 0 9 AUTH pass KEYS"), "MIGRATE h 1 k 0 9 AUTH (redacted) KEYS");
        assert_eq!(of("MIGRATE h 1 k 0 9 AUTH2 user pass KEYS"), "MIGRATE h 1 k 0 9 AUTH2 (redacted) (redacted) KEYS");
        assert_eq!(of("SET auth pass"), "SET auth pass");
    }

    #[test]
    fn long_requests_are_cut_as_redis_cuts_them() {
        let long = "x".repeat(130);
        assert_eq!(of(&format!("SET k {long}")), format!("SET k {}... (2 more bytes)", "x".repeat(128)));
        let many = shown(&{
            let mut requests = Vec::new();
            write_request(&mut requests, &["a"; 40]);
            requests
        });
        assert_eq!((many.len(), many[31].as_str()), (32, "... (9 more arguments)"));
        let exact = "a ".repeat(32);
        assert_eq!(of(exact.trim_end()), exact.trim_end());
    }

    #[test]
    fn what_was_given_up_or_is_no_request_shows_as_such() {
        assert_eq!(shown(b""), [GIVEN_UP]);
        assert_eq!(shown(b"*2\r\n$99\r\nGET"), Vec::<String>::new());
    }
}
