//! A cluster: what its nodes say is read right, and whatever order that comes in, a request finds its way.

mod answers;
mod orders;
