//! Ids of the upstream's connections, as far as one session learns another's: a `CLIENT UNBLOCK` needs the id of the
//! connection on which a session is blocked. An id goes out only together with the assurance that nobody else gets
//! its connection, and an invalidation goes to the session to which another redirects it. Part of what
//! `observe::registry` holds of a session.

pub(crate) mod blocked;
pub(crate) mod inbox;
