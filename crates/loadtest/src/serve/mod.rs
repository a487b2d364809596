//! Commands that listen instead of putting a load on: endpoints that other commands measure.

pub mod bare;
mod canned;
pub mod event_loop;
pub mod floor;
mod framing;
mod listening;
pub mod relay;
