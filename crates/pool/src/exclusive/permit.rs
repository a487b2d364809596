//! The right to borrow an exclusive connection, as long as one is borrowed. It ends, however it comes back,
//! where `exclusive_max` was lowered below what was lent.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::exclusive::exclusives::Exclusives;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) set: Arc<Exclusives>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Place {
    pub(crate) fn new(set: Arc<Exclusives>, permit: OwnedSemaphorePermit) -> Self {
        Self { set, permit: Some(permit) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.set.withdraw()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}
