//! Patterns with `*` and `?`, as `CONFIG GET` takes them, in any case.

/// Whether all of `text` is as `pattern` says. Takes time in proportion to their product at most.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where to go on when what follows the last star does not fit.
    let mut retry = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&text[from]) => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star, taken)) = retry else { return false };
                retry = Some((star, taken + 1));
                at = star + 1;
                from = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything_and_question_marks_for_one_byte() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("pool.*", "pool.workers", true),
            ("*_MS", "pool.queue_timeout_ms", true),
            ("p*l.w?rkers", "pool.workers", true),
            ("pool", "pool.workers", false),
            ("*x", "pool", false),
            ("?", "", false),
            ("a*a*b", "aaab", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }
}
