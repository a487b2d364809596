//! Transactions on an exclusive connection: what the upstream has queued (`queued`), what stands there for a request that
//! the gateway answers (`placeholder`), the reply to `EXEC` (`executed`), and what is to be done when it has come (`settle`).
//! Called by `exchange`, `lending` and the session.

mod executed;
pub(crate) mod placeholder;
pub(in crate::exclusive) mod queued;
pub(in crate::exclusive) mod settle;
