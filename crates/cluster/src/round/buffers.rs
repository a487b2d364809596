//! Memory for the parts of bursts, lent by the thread. What was used last is lent first: it is in the cache still, and as
//! large as a part needs.

use std::cell::RefCell;

/// So many buffers are kept on a thread, and none that has room for more bytes than these: a mebibyte together.
const KEPT_MAX: usize = 256;
const KEPT_BYTES: usize = 4 * 1024;

thread_local! {
    static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer; where none is kept, one of this `capacity`.
pub(super) fn lend(capacity: usize) -> Vec<u8> {
    KEPT.with(|kept| kept.try_borrow_mut().ok()?.pop()).unwrap_or_else(|| Vec::with_capacity(capacity))
}

/// A buffer is used no more.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > KEPT_BYTES {
        return;
    }
    buffer.clear();
    // The thread may be about to end.
    let _ = KEPT.try_with(|kept| {
        if let Ok(mut kept) = kept.try_borrow_mut()
            && kept.len() < KEPT_MAX
        {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lent_is_empty_and_what_is_kept_has_a_bound() {
        give_back(vec![1; KEPT_BYTES + 1]);
        assert_eq!(lend(0).capacity(), 0, "it was too large");
        for _ in 0..2 * KEPT_MAX {
            give_back(vec![1; 9]);
        }
        for number in 0..2 * KEPT_MAX {
            let buffer = lend(0);
            assert!(buffer.is_empty() && (buffer.capacity() > 0) == (number < KEPT_MAX));
        }
    }
}
