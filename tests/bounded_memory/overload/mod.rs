//! Overload: more is asked for than the upstream, the gateway's memory or a client's share allow. What is
//! refused is told so in time, memory stays under its stated bound, and nobody else pays for it.

mod load;
mod memory;
mod share;

use crate::support::Client;

/// A figure of `RESPOOL POOLS`.
fn pools_figure(operator: &mut Client, key: &str) -> usize {
    let pools = String::from_utf8_lossy(&operator.line("RESPOOL POOLS")).into_owned();
    let (_, rest) = pools.split_once(&format!("{key}\r\n:")).expect("the gateway tells");
    rest.split_once('\r').and_then(|(number, _)| number.parse().ok()).expect("a number")
}
