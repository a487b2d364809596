//! The texts of scripts that clients have loaded or run: a primary that has taken over, or has come, or has keys of
//! another slot, does not know them.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write,
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ring::digest;

use crate::hints::Hints;

/// Bytes of memory for one script besides its text.
const SCRIPT_BYTES: usize = 160;

/// By which `EVALSHA` names a script, in lower case.
type Digest = [u8; 40];

/// See the module's documentation. Those that came first make room for others.
#[derive(Debug)]
pub(crate) struct Scripts {
    bytes_max: usize,
    kept: Mutex<Kept>,
    /// Where they are to run, which outlives that they are kept.
    hints: Arc<Hints>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By a hash of each.
    texts: HashMap<u64, Script>,
    /// Hashes of texts, in the order in which they came.
    order: VecDeque<u64>,
    bytes: usize,
    /// Which text a digest names.
    named: HashMap<Digest, u64>,
    /// The last ones, whose digests nobody has asked for yet.
    unnamed: VecDeque<u64>,
}

#[derive(Debug)]
struct Script {
    text: Arc<[u8]>,
    /// Once somebody has asked for one.
    digest: Option<Digest>,
}

impl Scripts {
    /// At most so many bytes of text are kept.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, kept: Mutex::default(), hints: Arc::default() }
    }

    /// What is known of them behind a `SCRIPT FLUSH` that nobody has executed yet.
    pub(crate) fn flushed(&self) -> Self {
        Self { bytes_max: usize::MAX, kept: Mutex::default(), hints: Arc::clone(&self.hints) }
    }

    /// Where they are to run.
    pub(crate) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Whether this is the text of one that is kept, or of one that is too large to be.
    pub(crate) fn has(&self, text: &[u8]) -> bool {
        let kept = self.kept();
        weight(text) > self.bytes_max || kept.texts.contains_key(&kept.hash(text))
    }

    /// A node knows the script with this text.
    pub(crate) fn learn(&self, text: &[u8]) {
        if weight(text) > self.bytes_max {
            return;
        }
        let mut kept = self.kept();
        let hash = kept.hash(text);
        if kept.texts.contains_key(&hash) {
            return;
        }
        kept.bytes += weight(text);
        kept.texts.insert(hash, Script { text: text.into(), digest: None });
        kept.order.push_back(hash);
        kept.unnamed.push_back(hash);
        while kept.bytes > self.bytes_max {
            kept.remove_oldest();
        }
    }

    /// The text of the script with this digest.
    pub(crate) fn text(&self, digest: &[u8]) -> Option<Arc<[u8]>> {
        let mut digest: Digest = digest.try_into().ok()?;
        digest.make_ascii_lowercase();
        let mut kept = self.kept();
        let Kept { texts, named, unnamed, .. } = &mut *kept;
        for hash in unnamed.drain(..) {
            if let Some(script) = texts.get_mut(&hash) {
                let digest = digest_of(&script.text);
                script.digest = Some(digest);
                named.insert(digest, hash);
            }
        }
        texts.get(named.get(&digest)?).map(|script| Arc::clone(&script.text))
    }

    /// Whether the text of the script with this digest is kept.
    pub(crate) fn knows(&self, digest: &[u8]) -> bool {
        self.text(digest).is_some()
    }

    /// A hash of a text, which is another one once all have been forgotten.
    pub(crate) fn hash(&self, text: &[u8]) -> u64 {
        self.kept().hash(text)
    }

    /// Nobody is to know any of them.
    pub(crate) fn forget(&self) {
        *self.kept() = Kept::default();
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn hash(&self, text: &[u8]) -> u64 {
        // With the secret of the map, so that nobody can make two texts that are taken for one.
        self.texts.hasher().hash_one(text)
    }

    fn remove_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        let Some(Script { text, digest }) = self.texts.remove(&oldest) else { return };
        self.bytes -= weight(&text);
        match digest {
            Some(digest) => drop(self.named.remove(&digest)),
            // They came in the same order.
            None => drop(self.unnamed.pop_front()),
        }
    }
}

/// Bytes of memory for one.
fn weight(text: &[u8]) -> usize {
    text.len() + SCRIPT_BYTES
}

/// As Redis says it.
pub(crate) fn digest_of(text: &[u8]) -> Digest {
    let mut hex = String::with_capacity(40);
    for byte in digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text).as_ref() {
        // Nothing can fail that is written into a string.
        let _ = write!(hex, "{byte:02x}");
    }
    hex.as_bytes().try_into().expect("20 bytes have 40 digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_redis() {
        assert_eq!(digest_of(b"return 1"), *b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn the_first_make_room_for_the_last() {
        let scripts = Scripts::new(10 + 2 * SCRIPT_BYTES);
        let known = |text: &[u8]| scripts.text(&digest_of(text).to_ascii_uppercase()).as_deref() == Some(text);
        scripts.learn(b"12345");
        scripts.learn(b"12345");
        scripts.learn(b"67890");
        assert!(known(b"12345") && scripts.has(b"12345"));
        scripts.learn(b"1");
        assert_eq!((known(b"12345"), known(b"67890"), known(b"1")), (false, true, true));
        let large = [b'x'; 3 * SCRIPT_BYTES];
        scripts.learn(&large);
        assert!(scripts.has(&large) && !known(&large));
        assert_eq!((known(b"67890"), scripts.kept().bytes), (true, 6 + 2 * SCRIPT_BYTES));
        scripts.learn(b"as much as");
        let (named, unnamed) = {
            let kept = scripts.kept();
            (kept.named.len(), kept.unnamed.len())
        };
        assert_eq!((named, unnamed), (0, 1));
        scripts.forget();
        assert!(!known(b"as much as") && scripts.text(b"").is_none());
    }
}
