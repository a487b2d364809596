//! What a verified value carries: which run, key and writer made it, and the version of it. Text, so
//! that a wrong reply can be read by eye: `s:0badcafe:00000000002a:000003:00000000000f:ppp…`.

pub use crate::load::size::STAMP_BYTES;

/// Which of the harness's families of keys a value belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Values of `SET`.
    Text,
    /// Items of `LPUSH`.
    Item,
    /// Items of a connection's own blocking list.
    Queued,
}

impl Family {
    fn letter(self) -> u8 {
        match self {
            Self::Text => b's',
            Self::Item => b'l',
            Self::Queued => b'q',
        }
    }
}

/// The origin of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The family of the key.
    pub family: Family,
    /// Drawn at random for each run, so that what an earlier run left is told apart.
    pub run: u32,
    /// The number of the key.
    pub key: u64,
    /// The connection that wrote it.
    pub writer: u32,
    /// From 1, one more with each write to the key.
    pub version: u64,
}

impl Stamp {
    /// Writes a value of `size` bytes, at least [`STAMP_BYTES`], over what `out` held.
    pub fn write(&self, out: &mut Vec<u8>, size: usize) {
        out.clear();
        out.push(self.family.letter());
        for (number, digits) in
            [(u64::from(self.run), 8), (self.key, 12), (u64::from(self.writer), 6), (self.version, 12)]
        {
            out.push(b':');
            out.extend((0..digits).rev().map(|digit| hex(number >> (4 * digit))));
        }
        out.push(b':');
        out.resize(size.max(STAMP_BYTES), self.filler());
    }

    /// Reads a value back; nothing if it is not whole or was not written by a harness.
    pub fn read(value: &[u8]) -> Option<Self> {
        let (head, rest) = value.split_at_checked(STAMP_BYTES)?;
        let family =
            [Family::Text, Family::Item, Family::Queued].into_iter().find(|family| family.letter() == head[0])?;
        let mut numbers = [0_u64; 4];
        let mut at = 1;
        for (number, digits) in numbers.iter_mut().zip([8, 12, 6, 12]) {
            let text = std::str::from_utf8(head.get(at + 1..at + 1 + digits)?).ok()?;
            *number = (head[at] == b':').then(|| u64::from_str_radix(text, 16).ok()).flatten()?;
            at += 1 + digits;
        }
        let [run, key, writer, version] = numbers;
        let stamp = Self { family, run: u32::try_from(run).ok()?, key, writer: u32::try_from(writer).ok()?, version };
        let filler = stamp.filler();
        (head[at] == b':' && rest.iter().all(|byte| *byte == filler)).then_some(stamp)
    }

    /// Differs between versions, so that a value put together from two is noticed.
    fn filler(&self) -> u8 {
        b'a' + (self.version % 26) as u8
    }
}

fn hex(number: u64) -> u8 {
    b"0123456789abcdef"[(number & 15) as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole_or_not_at_all() {
        let stamp = Stamp { family: Family::Item, run: 0xbad_cafe, key: 42, writer: 3, version: 15 };
        let mut value = Vec::new();
        stamp.write(&mut value, 60);
        assert_eq!(value, b"l:0badcafe:00000000002a:000003:00000000000f:pppppppppppppppp");
        assert_eq!(Stamp::read(&value), Some(stamp));
        for position in 0..value.len() {
            let mut broken = value.clone();
            broken[position] = b'?';
            assert_eq!(Stamp::read(&broken), None, "{position}");
        }
        assert_eq!(Stamp::read(&value[..40]), None);
    }
}
