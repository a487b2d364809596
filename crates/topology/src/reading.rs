//! Reads parts of replies: text, numbers, and the fields of what is a map or a flat list of names and values.

use resp::Value;

/// Text of any kind, but not an error.
pub(crate) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Error(_) => None,
        other => std::str::from_utf8(other.as_bytes()?).ok(),
    }
}

/// A number, also where it is written as text.
pub(crate) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(number) => Some(*number),
        other => text(other)?.parse().ok(),
    }
}

/// The value of the field `name`.
pub(crate) fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Map(pairs) => pairs.iter().find(|(key, _)| text(key) == Some(name)).map(|(_, value)| value),
        Value::Array(items) => items.chunks_exact(2).find(|pair| text(&pair[0]) == Some(name)).map(|pair| &pair[1]),
        _ => None,
    }
}
