//! What becomes of one burst: `routes` tells where its requests go while it is gathered, and `straight` sends them there as
//! they are, in memory that the thread has `kept`. If that is not all, `unit` reads its requests and says what is to be sent
//! where, `round` has that done (by `sending`) and done again where a node sends it elsewhere, `verdict` tells what a reply
//! means for that, and `answer` makes the replies of the burst, within the room that `holding` finds for them.

mod answer;
mod holding;
mod kept;
mod keys;
mod reading;
pub(crate) mod round;
pub(crate) mod routes;
mod sending;
mod state;
mod straight;
mod unit;
mod verdict;

pub(crate) use answer::{items, write_of_all, write_parts};
pub(crate) use holding::beside;
pub(crate) use keys::{fault_within, has_slot, may_be_of_node, refusal};
pub(crate) use unit::is_info;
