//! `SCAN` over all shards, one after another: the cursor that a client is given tells where it is.

use resp::{Request, write_array, write_bulk};

use crate::{
    replies::{bulk, items, replies},
    slot::SLOTS,
};

/// Bits of a client's cursor that name the shard: by a slot that it has, so that the shard is found again when others
/// are added or slots move.
const SLOT_BITS: u32 = SLOTS.trailing_zeros();

/// Where a scan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// A slot of the shard that is at hand.
    pub slot: u16,
    /// The cursor of that shard itself.
    pub inner: u64,
}

impl Cursor {
    /// Reads the cursor of a client's `SCAN`; `None` where it is none that was given out.
    pub fn read(request: &Request<'_>) -> Option<Self> {
        let text = std::str::from_utf8(request.arg(1)?).ok()?;
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = text.parse().ok().filter(|_| digits)?;
        let slot = u16::try_from(number & u64::from(SLOTS - 1)).ok()?;
        Some(Self { slot, inner: number >> SLOT_BITS })
    }

    /// As the client gets it. `None` where the shard's own has no room beside its slot.
    pub fn number(self) -> Option<u64> {
        let inner = self.inner.checked_mul(u64::from(SLOTS))?;
        Some(inner | u64::from(self.slot))
    }

    /// Appends the request to the shard at hand, which is the client's with another cursor.
    pub fn write(self, request: &Request<'_>, out: &mut Vec<u8>) {
        write_array(out, request.len());
        for (at, arg) in request.args().enumerate() {
            if at == 1 {
                write_bulk(out, self.inner.to_string().as_bytes());
            } else {
                write_bulk(out, arg);
            }
        }
    }
}

/// A shard's reply to its `SCAN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanReply<'r> {
    /// The shard's own next cursor; 0 when it has nothing more.
    pub inner: u64,
    keys: &'r [u8],
}

impl<'r> ScanReply<'r> {
    /// Reads it; `None` for an error, and for what is no such reply.
    pub fn read(reply: &'r [u8]) -> Option<Self> {
        let (2, body) = items(reply)? else { return None };
        let mut parts = replies(body);
        let inner = std::str::from_utf8(bulk(parts.next()?)?).ok()?.parse().ok()?;
        Some(Self { inner, keys: parts.next()? })
    }

    /// Appends the reply that the client gets, whose next cursor is `next`.
    pub fn write(self, next: u64, out: &mut Vec<u8>) {
        write_array(out, 2);
        write_bulk(out, next.to_string().as_bytes());
        out.extend_from_slice(self.keys);
    }
}
