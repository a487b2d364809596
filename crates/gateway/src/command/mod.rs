//! What a request is, and the words for one that cannot be served: the class of each command (`class`, `classify`),
//! which of its options decide that (`stream_read`, `info_sections`), how long it may wait (`blocking_time`), how it is
//! shown (`full_name`), what the upstream has said of it (`told`), what a replica says (`refusal`), what the
//! embedded upstream takes, and every error reply of the gateway's own (`errors`). Knows requests and nothing else.
//! `client` asks it about every request; all rooms above use its classes and errors.

pub(crate) mod blocking_time;
pub(crate) mod class;
pub(crate) mod classify;
pub(crate) mod embedded_limits;
pub(crate) mod errors;
pub(crate) mod full_name;
pub(crate) mod info_sections;
pub(crate) mod refusal;
pub(crate) mod stream_read;
pub(crate) mod told;
