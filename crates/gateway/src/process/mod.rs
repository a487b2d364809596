//! The process: brings everything up in order, obeys signals and takes it down again.
//! Called by `main`. May use every other room.

pub(crate) mod check;
pub(crate) mod descriptors;
pub(crate) mod embedded;
pub(crate) mod file_watch;
pub(crate) mod health;
pub(crate) mod run;
pub(crate) mod signals;
pub(crate) mod systemd;
