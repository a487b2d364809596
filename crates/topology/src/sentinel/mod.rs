//! What sentinels say: the messages that they publish, and their answers.

pub(crate) mod answer;
pub(crate) mod message;
