//! A reply as a tree: for typed handles and checks, never on the gateway's way of a command.

use bytes::Bytes;
use thiserror::Error;

use crate::{ReplyError, ReplyKind, ReplyScanner, number::parse_integer};

/// Deepest nesting of a [`Value`]; deeper replies are refused.
const DEPTH_MAX: usize = 64;

/// A reply of RESP2 or RESP3.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `$-1`, `*-1` or `_`.
    Null,
    /// A simple string.
    Simple(String),
    /// An error reply, simple or bulk, without its mark.
    Error(String),
    /// An integer.
    Integer(i64),
    /// A bulk string.
    Bulk(Bytes),
    /// An array.
    Array(Vec<Value>),
    /// A boolean (RESP3).
    Boolean(bool),
    /// A double (RESP3).
    Double(f64),
    /// A number of any size, in decimal (RESP3).
    BigNumber(String),
    /// Text with a three-letter format (RESP3).
    Verbatim(String, Bytes),
    /// Pairs in the order sent (RESP3).
    Map(Vec<(Value, Value)>),
    /// A set in the order sent (RESP3).
    Set(Vec<Value>),
    /// A push message (RESP3).
    Push(Vec<Value>),
}

/// Why bytes could not be read as a [`Value`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ValueError {
    /// The framing is wrong.
    #[error(transparent)]
    Framing(#[from] ReplyError),
    /// The bytes end before the reply does.
    #[error("the reply is not complete")]
    Incomplete,
    /// A boolean, double or integer is not written as one.
    #[error("the reply holds a malformed scalar")]
    Scalar,
}

impl Value {
    /// Reads the first reply in `input`; returns it with its length in bytes. Attributes are skipped.
    ///
    /// # Errors
    /// The input is incomplete or malformed.
    pub fn decode(input: &Bytes) -> Result<(Self, usize), ValueError> {
        // The scanner checks lengths and depth, so that reading the tree cannot run away.
        let progress = ReplyScanner::new(DEPTH_MAX).scan(input)?;
        let Some(ReplyKind::Answer | ReplyKind::Error | ReplyKind::Push) = progress.complete else {
            return Err(ValueError::Incomplete);
        };
        let mut reader = Reader { input, at: 0 };
        let value = reader.value()?;
        debug_assert_eq!(reader.at, progress.consumed, "scanner and reader agree on where a reply ends");
        Ok((value, progress.consumed))
    }

    /// The bytes of a string of any kind.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) | Self::Verbatim(_, bytes) => Some(bytes),
            Self::Simple(text) | Self::Error(text) | Self::BigNumber(text) => Some(text.as_bytes()),
            _ => None,
        }
    }
}

struct Reader<'i> {
    input: &'i Bytes,
    at: usize,
}

impl Reader<'_> {
    fn line(&mut self) -> Result<Bytes, ValueError> {
        let from = self.at;
        let end = memchr::memchr(b'\n', &self.input[from..]).ok_or(ValueError::Incomplete)? + from;
        self.at = end + 1;
        Ok(self.input.slice(from..end.saturating_sub(1).max(from)))
    }

    fn text(&mut self) -> Result<String, ValueError> {
        Ok(String::from_utf8_lossy(&self.line()?).into_owned())
    }

    fn integer(&mut self) -> Result<i64, ValueError> {
        parse_integer(&self.line()?).ok_or(ValueError::Scalar)
    }

    fn bulk(&mut self) -> Result<Option<Bytes>, ValueError> {
        let Ok(length) = usize::try_from(self.integer()?) else { return Ok(None) };
        let from = self.at;
        self.at = from + length + 2;
        Ok(Some(self.input.slice(from..from + length)))
    }

    fn items(&mut self) -> Result<Option<Vec<Value>>, ValueError> {
        let Ok(count) = usize::try_from(self.integer()?) else { return Ok(None) };
        (0..count).map(|_| self.value()).collect::<Result<_, _>>().map(Some)
    }

    fn value(&mut self) -> Result<Value, ValueError> {
        let kind = *self.input.get(self.at).ok_or(ValueError::Incomplete)?;
        self.at += 1;
        Ok(match kind {
            b'+' => Value::Simple(self.text()?),
            b'-' => Value::Error(self.text()?),
            b':' => Value::Integer(self.integer()?),
            b'(' => Value::BigNumber(self.text()?),
            b'_' => {
                self.line()?;
                Value::Null
            }
            b'#' => Value::Boolean(match &self.line()?[..] {
                b"t" => true,
                b"f" => false,
                _ => return Err(ValueError::Scalar),
            }),
            b',' => Value::Double(self.text()?.parse().map_err(|_| ValueError::Scalar)?),
            b'$' => self.bulk()?.map_or(Value::Null, Value::Bulk),
            b'!' => Value::Error(String::from_utf8_lossy(&self.bulk()?.unwrap_or_default()).into_owned()),
            b'=' => {
                let bytes = self.bulk()?.unwrap_or_default();
                let (format, text) = bytes.split_at_checked(4).ok_or(ValueError::Scalar)?;
                Value::Verbatim(String::from_utf8_lossy(&format[..3]).into_owned(), bytes.slice_ref(text))
            }
            b'*' => self.items()?.map_or(Value::Null, Value::Array),
            b'~' => Value::Set(self.items()?.unwrap_or_default()),
            b'>' => Value::Push(self.items()?.unwrap_or_default()),
            b'%' => Value::Map(self.pairs()?),
            b'|' => {
                self.pairs()?;
                self.value()?
            }
            other => return Err(ReplyError::UnknownType(other).into()),
        })
    }

    fn pairs(&mut self) -> Result<Vec<(Value, Value)>, ValueError> {
        let count = usize::try_from(self.integer()?).map_err(|_| ValueError::Scalar)?;
        (0..count).map(|_| Ok((self.value()?, self.value()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(input: &'static [u8]) -> Result<Value, ValueError> {
        Value::decode(&Bytes::from_static(input)).map(|(value, _)| value)
    }

    #[test]
    fn reads_every_type() {
        assert_eq!(decode(b"*-1\r\n"), Ok(Value::Null));
        assert_eq!(decode(b",inf\r\n"), Ok(Value::Double(f64::INFINITY)));
        assert_eq!(decode(b"=5\r\ntxt:a\r\n"), Ok(Value::Verbatim("txt".into(), Bytes::from_static(b"a"))));
        assert_eq!(decode(b"!3\r\nERR\r\n"), Ok(Value::Error("ERR".into())));
        assert_eq!(
            decode(b"%1\r\n$1\r\na\r\n~2\r\n#t\r\n_\r\n"),
            Ok(Value::Map(vec![(
                Value::Bulk(Bytes::from_static(b"a")),
                Value::Set(vec![Value::Boolean(true), Value::Null])
            )]))
        );
        assert_eq!(decode(b"|1\r\n+a\r\n:1\r\n:2\r\n"), Ok(Value::Integer(2)));
    }

    #[test]
    fn what_is_not_a_reply_is_an_error() {
        assert_eq!(decode(b"$3\r\nab"), Err(ValueError::Incomplete));
        assert_eq!(decode(b"#x\r\n"), Err(ValueError::Scalar));
        assert_eq!(decode(b"=1\r\na\r\n"), Err(ValueError::Scalar));
        assert_eq!(decode(b"?"), Err(ValueError::Framing(ReplyError::UnknownType(b'?'))));
    }
}
