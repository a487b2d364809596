//! How deep in a reply its scanner is, and what is missing on each level.

use crate::ReplyError;

/// The mark of a level that holds the pairs of attributes. They describe the item after them, and are none.
const ATTRIBUTES: u64 = 1 << 63;

/// A level whose end is marked in the stream, not known before.
const STREAMED: u64 = 1 << 62;

/// The mark of a level that holds a push inside of a reply, which is none of the reply's items. Above every count.
const PUSH: u64 = 1 << 61;

/// The level of the chunks of a streamed string.
const CHUNKS: u64 = STREAMED + 1;

/// Levels that are kept from one reply to the next; more are given back.
const LEVELS_KEPT: usize = 32;

/// What kind of level is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// So many items, as its beginning has said.
    Counted,
    /// Items until a mark.
    Streamed,
    /// Pieces of a string until an empty one.
    Chunks,
}

/// The open levels of a reply, at 8 bytes each.
#[derive(Debug)]
pub(crate) struct Levels {
    depth_max: usize,
    /// The most that the reply at hand has had.
    deepest: usize,
    /// Items still missing on each level, or a mark.
    open: Vec<u64>,
    /// Attributes have just ended, so that an item has to follow, whatever the level.
    described: bool,
}

impl Levels {
    pub(crate) fn new(depth_max: usize) -> Self {
        Self { depth_max, deepest: 0, open: Vec::new(), described: false }
    }

    /// Bytes of memory.
    pub(crate) fn bytes(&self) -> usize {
        self.open.capacity() * size_of::<u64>()
    }

    /// The most levels that the reply at hand has had.
    pub(crate) fn deepest(&self) -> usize {
        self.deepest
    }

    /// The level of what begins now with `kind`; `None` outside of all aggregates. Behind attributes a level cannot end,
    /// so that a streamed one is as good as a counted one.
    pub(crate) fn begin(&mut self, kind: u8) -> Option<Level> {
        let described = self.described;
        // A push may stand between them and what they describe.
        self.described &= kind == b'>';
        Some(match *self.open.last()? {
            CHUNKS => Level::Chunks,
            STREAMED if !described => Level::Streamed,
            _ => Level::Counted,
        })
    }

    /// Begins an aggregate of `items`; whether it is whole already, because there are none.
    pub(crate) fn open(&mut self, items: u64) -> Result<bool, ReplyError> {
        match items {
            0 => Ok(true),
            1..PUSH => self.push(items),
            _ => Err(ReplyError::Length),
        }
    }

    /// Begins a push of `items`. Inside of a reply it is none of its items.
    #[cold]
    pub(crate) fn open_push(&mut self, items: u64) -> Result<bool, ReplyError> {
        if self.open.is_empty() {
            self.described = false;
            return self.open(items);
        }
        match items {
            0 => Ok(false),
            1..PUSH => {
                let described = if std::mem::take(&mut self.described) { ATTRIBUTES } else { 0 };
                self.push(PUSH | described | items)
            }
            _ => Err(ReplyError::Length),
        }
    }

    /// Whether nothing has been read yet of a push of three that stands where an item of the reply itself would.
    pub(crate) fn is_at_name(&self) -> bool {
        matches!(self.open[..], [reply, push] if reply & ATTRIBUTES == 0 && push & !ATTRIBUTES == PUSH | 3)
    }

    /// The push at hand is an item all the same.
    pub(crate) fn count_push(&mut self) {
        if let Some(level) = self.open.last_mut() {
            *level &= !(PUSH | ATTRIBUTES);
        }
    }

    /// Begins attributes of so many pairs, which are never a whole item.
    #[cold]
    pub(crate) fn open_attributes(&mut self, pairs: u64) -> Result<bool, ReplyError> {
        match pairs.saturating_mul(2) {
            0 => {
                self.described = true;
                Ok(false)
            }
            items @ 1..PUSH => self.push(ATTRIBUTES | items),
            _ => Err(ReplyError::Length),
        }
    }

    /// Begins an aggregate that goes on until it is [closed](Self::close).
    pub(crate) fn open_streamed(&mut self) -> Result<bool, ReplyError> {
        self.push(STREAMED)
    }

    /// Begins a string that goes on until it is [closed](Self::close).
    pub(crate) fn open_chunks(&mut self) -> Result<bool, ReplyError> {
        self.push(CHUNKS)
    }

    fn push(&mut self, level: u64) -> Result<bool, ReplyError> {
        if self.open.len() >= self.depth_max {
            return Err(ReplyError::TooDeep(self.depth_max));
        }
        self.open.push(level);
        self.deepest = self.deepest.max(self.open.len());
        Ok(false)
    }

    /// Ends the innermost level, which is a whole item then.
    pub(crate) fn close(&mut self) -> bool {
        self.open.pop().is_some()
    }

    /// Counts a whole item on every level that it ends; true when the reply is complete.
    pub(crate) fn item_done(&mut self) -> bool {
        while let Some(left) = self.open.last_mut() {
            if *left & STREAMED != 0 {
                return false;
            }
            *left -= 1;
            let mark = *left;
            // Anything below the marks.
            if mark << 3 != 0 {
                return false;
            }
            self.open.pop();
            if mark != 0 {
                self.described = mark & ATTRIBUTES != 0;
                return false;
            }
        }
        true
    }

    /// The reply is complete: how deep it was. Gives back what few replies need.
    pub(crate) fn finish(&mut self) -> usize {
        if self.open.capacity() > LEVELS_KEPT {
            self.open = Vec::new();
        }
        std::mem::take(&mut self.deepest)
    }
}
