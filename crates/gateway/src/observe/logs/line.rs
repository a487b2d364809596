//! What a line of the log may be: it is one line, and no longer than a line may be. Texts of others (a wrong value, an upstream's
//! error) can neither begin a line of their own nor fill the memory while lines wait. Used by `logs`.

use std::{
    fmt::Write as _,
    io::{Result, Write},
    iter::successors,
};

use serde_json::Value;

/// Bytes of a line.
const BYTES_MAX: usize = 16 * 1024;

/// Bytes of it where it is cut. What is left is for how much is missing.
const KEPT: usize = BYTES_MAX - 64;

/// Writes messages, each of which comes as a whole, as lines.
pub(super) struct Lines<W> {
    to: W,
    json: bool,
}

impl<W: Write> Lines<W> {
    /// To this; the messages are objects in JSON, or else text.
    pub(super) fn new(to: W, json: bool) -> Self {
        Self { to, json }
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, message: &[u8]) -> Result<usize> {
        let line = message.strip_suffix(b"\n").unwrap_or(message);
        if line.len() <= KEPT && !line.iter().any(|byte| is_break(*byte)) {
            self.to.write_all(message)?;
        } else {
            let line = String::from_utf8_lossy(line);
            let fitting = if self.json { shortened(&line) } else { None };
            let mut fitting = fitting.unwrap_or_else(|| cut(&line, KEPT));
            fitting.push('\n');
            self.to.write_all(fitting.as_bytes())?;
        }
        Ok(message.len())
    }

    fn flush(&mut self) -> Result<()> {
        self.to.flush()
    }
}

/// Control characters, but for the one that begins a colour, which the formatter escapes in what it is given.
fn is_break(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\x1b'
}

/// Some `max` bytes of a text in one line, and how many more there are.
fn cut(text: &str, max: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(max) + 64);
    for (at, char) in text.char_indices() {
        if kept.len() >= max {
            // A string takes whatever it is given.
            let _ = write!(kept, "... ({} more bytes)", text.len() - at);
            break;
        }
        match u8::try_from(char) {
            Ok(byte) if is_break(byte) => kept.extend(byte.escape_ascii().map(char::from)),
            _ => kept.push(char),
        }
    }
    kept
}

/// An object in JSON with its texts cut until it fits; nothing if it is none.
fn shortened(line: &str) -> Option<String> {
    let object = serde_json::from_str(line).ok()?;
    let lengths = successors(Some(KEPT / 2), |max| (*max > 0).then_some(max / 2));
    lengths.map(|max| with_texts_of(&object, max).to_string()).find(|fitting| fitting.len() <= BYTES_MAX)
}

fn with_texts_of(value: &Value, max: usize) -> Value {
    match value {
        Value::String(text) if text.len() > max => Value::String(cut(text, max)),
        Value::Array(values) => values.iter().map(|value| with_texts_of(value, max)).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), with_texts_of(value, max))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &str, json: bool) -> String {
        let mut to = Vec::new();
        Lines::new(&mut to, json).write_all(message.as_bytes()).expect("a vector takes all");
        String::from_utf8(to).expect("text")
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(written("a\r\nb\0\tc \x1b[2m\u{e9}\n", false), "a\\r\\nb\\x00\\tc \x1b[2m\u{e9}\n");
        assert_eq!(written("as it is\n", false), "as it is\n");
    }

    #[test]
    fn a_long_message_is_cut_and_says_how_much_is_missing() {
        let text = written(&format!("{}\n", "\u{e9}".repeat(1 << 20)), false);
        assert!(text.len() <= BYTES_MAX && text.ends_with(" more bytes)\n"), "{} bytes", text.len());
        let kept = text.chars().filter(|char| *char == '\u{e9}').count();
        assert!(text.contains(&format!("({} more bytes)", ((1 << 20) - kept) * 2)), "{kept} kept");
        let breaks = written(&format!("{}\n", "\0".repeat(1 << 20)), false);
        assert!((KEPT..=BYTES_MAX).contains(&breaks.len()), "{} bytes", breaks.len());
    }

    #[test]
    fn a_long_object_stays_one() {
        let fields: Vec<String> =
            (0..9).map(|name| format!(r#""{name}":"{}""#, "\\\\".repeat(1 << name << 8))).collect();
        let message = format!("{{\"level\":\"INFO\",\"fields\":{{{}}},\"count\":3}}\n", fields.join(","));
        let line = written(&message, true);
        assert!((KEPT / 2..=BYTES_MAX).contains(&line.len()), "{} bytes", line.len());
        let object: Value = serde_json::from_str(&line).expect("an object");
        assert_eq!((&object["level"], &object["count"]), (&Value::from("INFO"), &Value::from(3)));
        assert_eq!(object["fields"]["0"], Value::from("\\".repeat(256)), "what is short stays whole");
    }
}
