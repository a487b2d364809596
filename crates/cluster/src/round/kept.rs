//! What a thread keeps of one burst for the next, which takes what was used last: that is in the cache still. Among it
//! buffers for the parts of bursts, as large as a part needs.

use std::{cell::RefCell, thread::LocalKey};

/// So many buffers are kept on a thread, and none that has room for more bytes than these: a mebibyte together.
const BUFFERS_MAX: usize = 256;
const BUFFER_BYTES: usize = 4 * 1024;

/// At most so many of a kind. Kept by the thread.
#[derive(Debug)]
pub(super) struct Kept<T, const MAX: usize>(RefCell<Vec<T>>);

impl<T, const MAX: usize> Kept<T, MAX> {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// The one that was kept last, if there is any.
    pub(super) fn take(of: &'static LocalKey<Self>) -> Option<T> {
        of.with(|Self(kept)| kept.try_borrow_mut().ok()?.pop())
    }

    /// Keeps it, if there is room for it.
    pub(super) fn keep(of: &'static LocalKey<Self>, used: T) {
        // The thread may be about to end.
        let _ = of.try_with(|Self(kept)| {
            if let Ok(mut kept) = kept.try_borrow_mut()
                && kept.len() < MAX
            {
                kept.push(used);
            }
        });
    }
}

thread_local! {
    static BUFFERS: Kept<Vec<u8>, BUFFERS_MAX> = const { Kept::new() };
}

/// An empty buffer; where none is kept, one of this `capacity`.
pub(super) fn lend_buffer(capacity: usize) -> Vec<u8> {
    Kept::take(&BUFFERS).unwrap_or_else(|| Vec::with_capacity(capacity))
}

/// A buffer is used no more.
pub(super) fn give_back_buffer(mut buffer: Vec<u8>) {
    if (1..=BUFFER_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        Kept::keep(&BUFFERS, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_empty_and_what_is_kept_has_a_bound() {
        give_back_buffer(vec![1; BUFFER_BYTES + 1]);
        assert_eq!(lend_buffer(0).capacity(), 0, "it was too large");
        for _ in 0..2 * BUFFERS_MAX {
            give_back_buffer(vec![1; 9]);
        }
        for number in 0..2 * BUFFERS_MAX {
            let buffer = lend_buffer(0);
            assert!(buffer.is_empty() && (buffer.capacity() > 0) == (number < BUFFERS_MAX));
        }
    }
}
