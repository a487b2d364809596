//! The promise of bounds: every queue and buffer has one, and a client that reaches it waits or gets an error.

mod backpressure;
mod limits;
mod overload;
