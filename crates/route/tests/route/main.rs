//! Routes of requests, held against a model of a cluster and against Redis itself.

mod free;
mod hints;
mod merging;
mod redis;
mod splitting;
mod told;
