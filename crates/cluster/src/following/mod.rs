//! How it is known which node has which slot: `keeper` owns what is known, asks nodes (`asking`) at its `pace`, for their
//! `commands` too, decides which of them is the `anchor`, and hears the `news` of rounds. `trouble` tells whom not to
//! ask, and whom not to believe. `seeds` looks once, for those who only want to know. Started by `cluster`.

mod anchor;
mod asking;
mod commands;
pub(crate) mod keeper;
pub(crate) mod news;
mod pace;
pub(crate) mod seeds;
mod trouble;
