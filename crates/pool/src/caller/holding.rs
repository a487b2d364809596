//! What a caller holds of replies once it has them: those of several jobs, and what is made of them.

use std::future::poll_fn;

use crate::{
    bounds::{
        reply_memory::{Held, Room},
        share::Share,
    },
    caller::caller::Caller,
    error::JobError,
};

impl Caller {
    /// Has `share` cover replies of `bytes`, besides `others` that are held as well, as far as all of them are more than is
    /// [free](crate::REPLY_FREE_BYTES). Waits for room as long as on an exclusive connection: nobody else waits for it.
    ///
    /// # Errors
    /// There is none, or these are more than `reply_bytes_max`. Nothing is covered then.
    ///
    /// # Cancel safety
    /// Nothing is covered then.
    pub async fn make_room(&self, share: &mut Option<Box<Share>>, bytes: usize, others: usize) -> Result<(), JobError> {
        let mut held = Held::of(share.take().map(|share| *share));
        let shared = self.shared();
        let room = || Room::new(&shared.settings.borrow(), &shared.reply_bytes);
        poll_fn(|cx| held.poll(cx, bytes, others, room)).await?;
        *share = held.take().map(Box::new);
        Ok(())
    }
}
