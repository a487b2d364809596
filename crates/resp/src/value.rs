//! A reply as a tree: for typed handles and checks, never on the gateway's way of a command.

use bytes::Bytes;
use thiserror::Error;

use crate::{ReplyError, ReplyKind, ReplyScanner, number::parse_integer, push::confirms};

/// Deepest nesting of a [`Value`]; deeper replies are refused, because a tree is read, and dropped, by recursion.
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
    /// A streamed map ends after a key.
    #[error("the reply holds a key without a value")]
    Unpaired,
}

impl Value {
    /// Reads the first reply in `input`; returns it with its length in bytes. Attributes are skipped, and so are pushes
    /// inside of it that are none of its items.
    ///
    /// # Errors
    /// The input is incomplete or malformed.
    pub fn decode(input: &Bytes) -> Result<(Self, usize), ValueError> {
        // The scanner checks lengths and depth, so that reading the tree cannot run away.
        let progress = ReplyScanner::new(DEPTH_MAX).scan(input)?;
        let Some(ReplyKind::Answer | ReplyKind::Error | ReplyKind::Push) = progress.complete else {
            return Err(ValueError::Incomplete);
        };
        let mut reader = Reader { input, at: 0, level: 0 };
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

    /// Text of any kind, but not an error.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Error(_) => None,
            other => std::str::from_utf8(other.as_bytes()?).ok(),
        }
    }

    /// A number, also where it is written as text.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            other => other.as_text()?.parse().ok(),
        }
    }

    /// The value of the field `name`, in a map or a flat list of names and values.
    pub fn field(&self, name: &str) -> Option<&Self> {
        let is = |key: &Self| key.as_text() == Some(name);
        match self {
            Self::Map(pairs) => pairs.iter().find(|(key, _)| is(key)).map(|(_, value)| value),
            Self::Array(items) => items.chunks_exact(2).find(|pair| is(&pair[0])).map(|pair| &pair[1]),
            _ => None,
        }
    }
}

/// What the beginning of a string or an aggregate says of its length.
enum Length {
    Null,
    Known(usize),
    Streamed,
}

struct Reader<'i> {
    input: &'i Bytes,
    at: usize,
    /// How deep it is in the reply. What attributes hold is never on the first level.
    level: usize,
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

    fn length(&mut self) -> Result<Length, ValueError> {
        let line = self.line()?;
        if line == "?" {
            return Ok(Length::Streamed);
        }
        let length = parse_integer(&line).ok_or(ValueError::Scalar)?;
        Ok(usize::try_from(length).map_or(Length::Null, Length::Known))
    }

    fn bytes(&mut self, length: usize) -> Bytes {
        let from = self.at;
        self.at = from + length + 2;
        self.input.slice(from..from + length)
    }

    fn bulk(&mut self) -> Result<Option<Bytes>, ValueError> {
        match self.length()? {
            Length::Null => Ok(None),
            Length::Known(length) => Ok(Some(self.bytes(length))),
            Length::Streamed => {
                let mut whole = Vec::new();
                while let Length::Known(length @ 1..) = self.chunk_length()? {
                    whole.extend_from_slice(&self.bytes(length));
                }
                Ok(Some(whole.into()))
            }
        }
    }

    fn chunk_length(&mut self) -> Result<Length, ValueError> {
        // Over its mark.
        self.at += 1;
        self.length()
    }

    fn items(&mut self) -> Result<Option<Vec<Value>>, ValueError> {
        match self.length()? {
            Length::Null => Ok(None),
            Length::Known(count) => (0..count).map(|_| self.value()).collect::<Result<_, _>>().map(Some),
            Length::Streamed => {
                let mut items = Vec::new();
                while !self.is_closed()? {
                    items.push(self.value()?);
                }
                Ok(Some(items))
            }
        }
    }

    /// Whether a streamed aggregate ends here.
    fn is_closed(&mut self) -> Result<bool, ValueError> {
        self.skip_pushes()?;
        let closed = self.input.get(self.at) == Some(&b'.');
        if closed {
            self.line()?;
        }
        Ok(closed)
    }

    /// The next item, without the attributes before it.
    fn value(&mut self) -> Result<Value, ValueError> {
        loop {
            self.skip_pushes()?;
            let kind = *self.input.get(self.at).ok_or(ValueError::Incomplete)?;
            self.at += 1;
            if kind != b'|' {
                return self.within(1, |reader| reader.value_of(kind));
            }
            self.within(2, Self::pairs)?;
        }
    }

    /// Steps over pushes inside of the reply that are none of its items.
    fn skip_pushes(&mut self) -> Result<(), ValueError> {
        while self.level > 0
            && self.input.get(self.at) == Some(&b'>')
            && !(self.level == 1 && confirms(&self.input[self.at..]))
        {
            self.at += 1;
            self.within(1, Self::items)?;
        }
        Ok(())
    }

    fn within<T>(&mut self, levels: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        self.level += levels;
        let found = read(self);
        self.level -= levels;
        found
    }

    fn value_of(&mut self, kind: u8) -> Result<Value, ValueError> {
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
            other => return Err(ReplyError::UnknownType(other).into()),
        })
    }

    fn pairs(&mut self) -> Result<Vec<(Value, Value)>, ValueError> {
        match self.length()? {
            Length::Null => Err(ValueError::Scalar),
            Length::Known(count) => (0..count).map(|_| Ok((self.value()?, self.value()?))).collect(),
            Length::Streamed => {
                let mut pairs = Vec::new();
                while !self.is_closed()? {
                    let key = self.value()?;
                    if self.is_closed()? {
                        return Err(ValueError::Unpaired);
                    }
                    pairs.push((key, self.value()?));
                }
                Ok(pairs)
            }
        }
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
        assert_eq!(decode(b"$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n"), Ok(Value::Bulk(Bytes::from_static(b"abc"))));
        assert_eq!(
            decode(b"*?\r\n:1\r\n~?\r\n.\r\n.\r\n"),
            Ok(Value::Array(vec![Value::Integer(1), Value::Set(vec![])]))
        );
        assert_eq!(decode(b"%?\r\n:1\r\n:2\r\n.\r\n"), Ok(Value::Map(vec![(Value::Integer(1), Value::Integer(2))])));
    }

    #[test]
    fn no_reply_makes_it_recurse_further_than_it_may() {
        let attributes = [&b"|0\r\n".repeat(100_000)[..], b":1\r\n"].concat();
        assert_eq!(Value::decode(&attributes.into()).map(|(value, _)| value), Ok(Value::Integer(1)));
        for head in ["*1\r\n", "*?\r\n", "|1\r\n", "%1\r\n+a\r\n"] {
            let deep = head.repeat(DEPTH_MAX + 1);
            assert_eq!(Value::decode(&deep.into()), Err(ValueError::Framing(ReplyError::TooDeep(DEPTH_MAX))), "{head}");
        }
    }

    #[test]
    fn what_is_not_a_reply_is_an_error() {
        assert_eq!(decode(b"$3\r\nab"), Err(ValueError::Incomplete));
        assert_eq!(decode(b"#x\r\n"), Err(ValueError::Scalar));
        assert_eq!(decode(b"=1\r\na\r\n"), Err(ValueError::Scalar));
        assert_eq!(decode(b"%?\r\n:1\r\n.\r\n"), Err(ValueError::Unpaired));
        assert_eq!(decode(b"?"), Err(ValueError::Framing(ReplyError::UnknownType(b'?'))));
    }
}
