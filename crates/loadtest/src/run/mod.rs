//! One load and its report: the commands `run`, on an endpoint, and `pool`, in this process. Called by the
//! command line.

pub mod arguments;
pub mod endpoint;
pub mod in_process;
