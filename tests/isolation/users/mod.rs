//! Users beside each other: what bounds one of them, and that none takes the turns of another.

mod limits;
mod turns;
