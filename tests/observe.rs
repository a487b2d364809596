//! What an operator sees of a running gateway, over real HTTP and over the console: that the totals add
//! up whatever went wrong, and that whoever looks touches no traffic.

mod lookers_on;
mod shown;
mod totals;
