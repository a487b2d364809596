//! Finding a route allocates nothing, and what nodes say later is joined with what they have said.

use resp::Value;
use route::{Commands, Route};

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

#[test]
fn what_one_node_does_not_know_another_may() {
    let described = |names: &[(&str, i64)]| {
        let item = |(name, arity): &(&str, i64)| {
            let flags = vec![Value::Simple("readonly".into())];
            let mut parts = vec![Value::Bulk((*name).to_owned().into()), Value::Integer(*arity), Value::Array(flags)];
            parts.extend([1, 1, 1].map(Value::Integer));
            Value::Array(parts)
        };
        Commands::read(&Value::Array(names.iter().map(item).collect())).expect("commands")
    };
    let mut known = described(&[("get", 2), ("old", 2)]);
    assert!(!known.join(described(&[("get", 2)])), "nothing is new");
    assert!(known.join(described(&[("get", -2), ("json.get", -2)])));
    let goes = |line: &[&str]| with(line, |request| matches!(known.route(request), Route::Slot(_)));
    assert!(goes(&["JSON.GET", "k", "$"]) && goes(&["GET", "k", "more"]) && goes(&["OLD", "k"]));
}
