//! Which class a command is of, and where its options stand. Asked by `session` for every request.

pub(crate) mod class;
pub(crate) mod embedded_limits;
