//! The promise of the drain: after SIGTERM every request that was accepted is answered within the grace period,
//! and a new process can take over meanwhile.

mod every_door;
mod shutdown;
mod takeover;
mod without_pause;
