//! Which class a command is of, and what each command may look like. Knows requests and nothing else.
//! `client` asks it about every request; all rooms above use its classes.

pub(crate) mod class;
pub(crate) mod embedded_limits;
pub(crate) mod info_sections;
