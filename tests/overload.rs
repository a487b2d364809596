//! Overload: more is asked for than the upstream, the gateway's memory or a client's share allow. What is
//! refused is told so in time, memory stays under its stated bound, and nobody else pays for it.

mod load;
mod memory;
mod share;
