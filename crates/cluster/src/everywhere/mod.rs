//! What all primaries are asked on connections of their own: one request, which overtakes what others wait for (`at_once`), and
//! what they execute with a transaction at one of them (`within`).

pub(crate) mod at_once;
pub(crate) mod within;
