//! What an operator sees of a running gateway, over real HTTP and over the console: that the totals add
//! up whatever went wrong.

mod totals;
