//! What goes over a connection: requests, what each reply has to be, and whether it is that. No sockets
//! but to fill and to clean, and no pace. Called by the room `drive` and by the in-process form.

pub mod check;
pub mod clean;
pub mod expected;
pub mod fill;
pub mod ledger;
pub mod replies;
pub mod requests;
pub mod stamp;
