//! Where clients come: several addresses, unix sockets, sockets that are passed, and what is known of a client there.

mod addresses;
mod haproxy;
mod passed;
mod proxy_protocol;
mod unix_sockets;
