//! What clients have in common and one of them could take from the others: who holds how much of it, by client and by
//! the user and host that a client counts with. Part of what `observe::published` holds.

pub(crate) mod account;
pub(crate) mod accounts;
mod holders;
pub(crate) mod input_memory;
pub(crate) mod nodes;
pub(crate) mod party;
mod ranking;
pub(crate) mod readers;
pub(crate) mod shares;
