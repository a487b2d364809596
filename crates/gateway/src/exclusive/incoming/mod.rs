//! What comes on an exclusive connection: messages of several kinds (`message`), what a session that waits for them wakes up
//! to (`event`), and a large reply, which its client gets as it comes (`pieces`).

pub(crate) mod event;
pub(crate) mod message;
pub(crate) mod pieces;
