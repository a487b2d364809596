//! Users beside each other: what bounds one of them, and that none takes the turns of another or gets what is another's.

mod actor;
mod limits;
mod mapped;
mod nodes;
mod together;
mod turns;
