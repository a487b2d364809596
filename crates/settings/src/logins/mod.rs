//! Who may log in, what a wrong password costs, and what a user may do.

pub(crate) mod failed_logins;
pub(crate) mod limits;
pub(crate) mod peers;
pub(crate) mod rate;
pub(crate) mod users;
