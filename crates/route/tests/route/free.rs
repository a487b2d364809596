//! Finding a route allocates nothing.

use route::Route;

use crate::told::{commands, with};

#[test]
fn a_route_costs_no_memory() {
    let commands = commands();
    for line in [
        "GET key",
        "SET {user}:1 value",
        "HGETALL user:1",
        "EVAL x 2 a b c",
        "XREAD COUNT 1 STREAMS a b 0 0",
        "MGET a b c d e",
        "OBJECT ENCODING key",
        "CONFIG SET a b",
        "SORT a BY x STORE y",
        "nosuchcommand a",
        "PING",
    ] {
        let args: Vec<&str> = line.split(' ').collect();
        with(&args, |request| {
            let allocated = allocation_counter::measure(|| {
                let route = std::hint::black_box(commands.route(request));
                assert!(!matches!(route, Route::Scan));
            });
            assert_eq!(allocated.count_total, 0, "{line}");
        });
    }
}
