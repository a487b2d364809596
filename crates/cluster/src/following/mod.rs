//! How it is known which node has which slot: `keeper` owns what is known, asks nodes (`asking`) at its `pace`, and hears the
//! `news` of rounds. `seeds` looks once, for those who only want to know. Started by `cluster`.

mod asking;
pub(crate) mod keeper;
pub(crate) mod news;
mod pace;
pub(crate) mod seeds;
