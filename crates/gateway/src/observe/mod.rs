//! What sessions publish for those who look on, and what is logged and exported. Written by the rooms above,
//! read by `console` and `metrics`.

pub(crate) mod address;
pub(crate) mod counts;
pub(crate) mod export;
pub(crate) mod ids;
pub(crate) mod logs;
pub(crate) mod presence;
pub(crate) mod published;
pub(crate) mod registry;
pub(crate) mod requests;
pub(crate) mod sharing;
pub(crate) mod spans;
pub(crate) mod turned_away;
