//! Commands that listen instead of putting a load on: endpoints that other commands measure.

pub mod relay;
