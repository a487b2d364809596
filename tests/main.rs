//! The integration tests: the built gateway, real Redis processes and scripted upstreams, a room for each
//! promise. The fixtures are in `support`. Every name is a claim; a seed is printed where chance is used.

mod at_most_once;
mod bounded_memory;
mod drain;
mod house;
mod isolation;
mod one_answer;
mod operation;
mod order;
mod parity;
mod support;
