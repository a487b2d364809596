//! Commands that listen instead of putting a load on: endpoints that other commands measure.

mod canned;
pub mod event_loop;
pub mod floor;
pub mod relay;
