//! The promise of order: a client's requests are executed, and answered, in the order in which it sent them.

mod pipelining;
mod replica_reads;
