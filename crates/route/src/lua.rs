//! The words of a Lua text, as far as [`hint`](crate::hint) has to tell them apart. Any bytes are a text: what Lua would refuse
//! is read as well as it can be.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word<'t> {
    /// A name, or a word of the language.
    Name(&'t [u8]),
    /// A string, in quotes or in long brackets: what it means.
    Text(Cow<'t, [u8]>),
    /// A number.
    Number(&'t [u8]),
    /// Any other byte.
    Sign(u8),
}

/// The words of a text in turn, without blanks and comments. Each byte is looked at a bounded number of times.
#[derive(Debug)]
pub(crate) struct Words<'t> {
    rest: &'t [u8],
}

impl<'t> Words<'t> {
    pub(crate) fn new(text: &'t [u8]) -> Self {
        // The line that names the engine.
        Self { rest: if text.starts_with(b"#") { behind_line(text) } else { text } }
    }

    fn take(&mut self, count: usize) -> &'t [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// As many bytes as there are in a row that are so.
    fn take_while(&mut self, is_so: impl Fn(u8) -> bool) -> &'t [u8] {
        let count = self.rest.iter().position(|byte| !is_so(*byte)).unwrap_or(self.rest.len());
        self.take(count)
    }

    /// What stands in the long brackets that begin here, if some do: `[[…]]`, `[=[…]=]` and so on.
    fn take_long(&mut self) -> Option<&'t [u8]> {
        let inner = self.rest.strip_prefix(b"[")?;
        let level = inner.iter().take_while(|byte| **byte == b'=').count();
        let inner = inner[level..].strip_prefix(b"[")?;
        let close = [&b"]"[..], &vec![b'='; level], b"]"].concat();
        let length = memmem::find(inner, &close).unwrap_or(inner.len());
        self.rest = inner.get(length + close.len()..).unwrap_or_default();
        // A line's end right at the beginning does not count.
        let inner = &inner[..length];
        Some(inner.strip_prefix(b"\r\n").or(inner.strip_prefix(b"\n")).unwrap_or(inner))
    }

    /// Goes behind blanks and comments.
    fn skip(&mut self) {
        loop {
            self.take_while(|byte| byte.is_ascii_whitespace() || byte == b'\x0b');
            let Some(comment) = self.rest.strip_prefix(b"--") else { return };
            self.rest = comment;
            if self.take_long().is_none() {
                self.rest = behind_line(self.rest);
            }
        }
    }

    /// The string in quotes whose first one is at hand.
    fn quoted(&mut self) -> Cow<'t, [u8]> {
        let quote = self.take(1);
        let is_plain = |byte: u8| byte != quote[0] && byte != b'\\' && byte != b'\n';
        let mut text = Cow::Borrowed(self.take_while(is_plain));
        while self.rest.starts_with(b"\\") {
            self.take(1);
            let meant = self.escaped();
            let text = text.to_mut();
            text.extend(meant);
            text.extend_from_slice(self.take_while(is_plain));
        }
        // The quote at its end, or that of a line, which Lua refuses.
        self.take(1);
        text
    }

    /// The byte that is meant behind a `\`.
    fn escaped(&mut self) -> Option<u8> {
        let digits = self.rest.iter().take(3).take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            let number = self.take(digits).iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
            return u8::try_from(number).ok();
        }
        Some(match *self.take(1).first()? {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            other => other,
        })
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        self.skip();
        Some(match *self.rest.first()? {
            byte if is_of_name(byte) && !byte.is_ascii_digit() => Word::Name(self.take_while(is_of_name)),
            byte if byte.is_ascii_digit() => Word::Number(self.take_while(|byte| is_of_name(byte) || byte == b'.')),
            b'"' | b'\'' => Word::Text(self.quoted()),
            first => match self.take_long() {
                Some(text) => Word::Text(Cow::Borrowed(text)),
                None => {
                    self.take(1);
                    Word::Sign(first)
                }
            },
        })
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What stands behind the line at hand.
fn behind_line(text: &[u8]) -> &[u8] {
    memchr(b'\n', text).map_or(&[], |end| &text[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let shown = Words::new(text.as_bytes()).map(|word| match word {
            Word::Name(name) => String::from_utf8_lossy(name).into_owned(),
            Word::Text(text) => format!("<{}>", text.escape_ascii()),
            Word::Number(number) => format!("#{}", String::from_utf8_lossy(number)),
            Word::Sign(sign) => char::from(sign).to_string(),
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_are_those_of_lua() {
        for (text, expected) in [
            ("#!lua name=x\nreturn 1", "return #1"),
            ("a.b_1 ( 'x',\"y\" )", "a . b_1 ( <x> , <y> )"),
            ("a--b 'c'\nd--[[ e\n ]]f --[==[ ]] ]=] ]==] g -- [[", "a d f g"),
            (r#"'a\'b\\' "\65\9\n\x\"" '\999'"#, r#"<a\'b\\> <A\t\nx\"> <>"#),
            ("'a\\\nb'", r"<a\nb>"),
            ("x[[a]] y[=[\nb]]c]=] z[1] [=1]", "x <a> y <b]]c> z [ #1 ] [ = #1 ]"),
            ("1.5e3 0x1F .5", "#1.5e3 #0x1F . #5"),
            ("'not ended\nx [[nor", "<not ended> x <nor>"),
            ("'\\", "<>"),
            ("--", ""),
            ("#", ""),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }
}
