//! The promise about the primary: requests follow it wherever sentinels name it, no client is disconnected for it, and
//! no write goes to a node that is not the primary any more.

mod choice;
mod lent;
mod load;
mod lost;
mod measure;
mod measure_kills;
mod planned;
mod service;
mod shown;
pub(super) mod trial;
