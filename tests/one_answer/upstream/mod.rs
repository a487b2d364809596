//! The promise of one upstream: the gateway knows what the node behind it is and says so, goes by what that node says
//! of itself and by nothing else, and leaves it alone where it refuses.

mod login;
mod overtaking;
mod ready;
mod role;
