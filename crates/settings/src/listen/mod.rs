//! Where clients come: the addresses to listen on, and who stands in front of them. Read by `meaning`; the gateway's
//! `listener` opens what stands here.

pub(crate) mod list;
pub(crate) mod listen;
pub(crate) mod passed;
pub(crate) mod place;
pub(crate) mod trusted;
