//! Who may log in, and what a wrong password costs.

pub(crate) mod failed_logins;
pub(crate) mod peers;
pub(crate) mod users;
