//! The texts of scripts that clients have loaded: a primary that has taken over, or has come, does not know them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// By which `EVALSHA` names a script, in lower case.
type Digest = [u8; 40];

/// See the module's documentation. Those that were loaded first make room for others.
#[derive(Debug)]
pub(crate) struct Scripts {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    texts: HashMap<Digest, Arc<[u8]>>,
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Scripts {
    /// At most so many bytes of text are kept.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default() }
    }

    /// A script has been loaded; `digest` is what nodes have said.
    pub(crate) fn learn(&self, digest: &[u8], text: &[u8]) {
        let Some(digest) = read(digest).filter(|_| text.len() <= self.bytes_max) else { return };
        let mut kept = self.kept();
        if kept.texts.contains_key(&digest) {
            return;
        }
        kept.bytes += text.len();
        kept.texts.insert(digest, text.into());
        kept.order.push_back(digest);
        while kept.bytes > self.bytes_max {
            let Some(oldest) = kept.order.pop_front() else { return };
            kept.bytes -= kept.texts.remove(&oldest).map_or(0, |text| text.len());
        }
    }

    /// The text of the script with this digest.
    pub(crate) fn text(&self, digest: &[u8]) -> Option<Arc<[u8]>> {
        self.kept().texts.get(&read(digest)?).cloned()
    }

    /// Nobody is to know any of them.
    pub(crate) fn forget(&self) {
        *self.kept() = Kept::default();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(digest: &[u8]) -> Option<Digest> {
    let mut digest: Digest = digest.try_into().ok()?;
    digest.make_ascii_lowercase();
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_make_room_for_the_last() {
        let scripts = Scripts::new(10);
        let digest = |letter: u8| [letter; 40];
        scripts.learn(&digest(b'a'), b"12345");
        scripts.learn(&digest(b'A'), b"12345");
        scripts.learn(&digest(b'b'), b"67890");
        assert_eq!(scripts.text(&digest(b'A')).as_deref(), Some(&b"12345"[..]));
        scripts.learn(&digest(b'c'), b"1");
        let known = |letter| scripts.text(&digest(letter)).is_some();
        assert_eq!((known(b'a'), known(b'b'), known(b'c')), (false, true, true));
        scripts.learn(&digest(b'd'), b"more than there is room");
        scripts.learn(b"no digest", b"1");
        assert_eq!((known(b'b'), known(b'd'), scripts.kept().bytes), (true, false, 6));
        scripts.forget();
        assert!(!known(b'b') && scripts.text(b"").is_none());
    }
}
