//! The load test as a library, so that its tests can hold the pieces against known truth.
//!
//! The principal types are [`load::Load`], what to do to a target; [`drive::drive`], which does it;
//! and [`measure::outcome::Outcome`], what came of it. `compare` and `tune` are series of such loads.
//!
//! The rooms from the top to the ground, each of which uses only those behind it: `cli`, `run`, `compare`,
//! `tune`, `serve`, `report`, `drive`, `traffic`, `measure`, `load`, `system`, `target`.

pub mod cli;
pub mod compare;
pub mod drive;
pub mod load;
pub mod measure;
pub mod report;
pub mod run;
pub mod serve;
pub mod system;
pub mod target;
pub mod traffic;
pub mod tune;
