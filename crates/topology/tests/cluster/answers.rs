//! What nodes of a cluster say.

use resp::Value;
use topology::{Address, ClusterError, Layout, Redirection, Shard, View};

fn value(wire: String) -> Value {
    Value::decode(&wire.into()).expect("a reply").0
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn node(host: &str, port: u16) -> String {
    let host = if host == "nil" { "$-1\r\n".to_owned() } else { bulk(host) };
    format!("*4\r\n{host}:{port}\r\n{}*0\r\n", bulk("id"))
}

fn range(first: u16, last: u16, nodes: &[String]) -> String {
    format!("*{}\r\n:{first}\r\n:{last}\r\n{}", 2 + nodes.len(), nodes.concat())
}

const NODES: &str = "aa 10.0.0.1:7000@17000,one.local myself,master - 0 0 4 connected 0-99\n\
    bb 10.0.0.2:7000@17000,two.local,shard-id=x slave aa 0 1 4 connected\n\
    cc :7002@17002 master - 0 1 9 connected 100-16383 [5->-aa]\n\
    ee 10.0.0.5:7005@17005 master,fail? - 0 1 2 connected\n\
    dd 10.0.0.4:0@0 noaddr,master,fail - 0 1 3 disconnected\n";

#[test]
fn the_views_of_nodes() {
    let asked = Address::new("10.0.0.9", 7009);
    let ranges = [
        range(0, 99, &[node("one.local", 7000), node("10.0.0.2", 7000)]),
        range(100, 200, &[node("", 7002)]),
        range(300, 16_383, &[node("nil", 7002)]),
    ];
    let slots = value(format!("*3\r\n{}", ranges.concat()));
    let View { layout, epoch, failing } = View::read(&slots, &value(bulk(NODES)), &asked).expect("a view");
    assert_eq!((epoch, failing), (9, vec![Address::new("10.0.0.5", 7005)]));
    assert_eq!(layout.shards().len(), 2);
    assert_eq!(layout.primary_of(0), Some(&Address::new("one.local", 7000)));
    assert_eq!(layout.shards()[0].replicas, [Address::new("10.0.0.2", 7000)]);
    let unnamed = Address::new("10.0.0.9", 7002);
    assert_eq!(layout.primary_of(200), Some(&unnamed), "where it was asked");
    assert_eq!((layout.primary_of(201), layout.primary_of(16_383)), (None, Some(&unnamed)));
    assert_eq!((layout.slots(0), layout.slots(1), layout.uncovered()), (100, 16_185, 99));
    assert_eq!(layout.first_slot(1), Some(100));
    for known in ["10.0.0.1:7000", "one.local:7000", "two.local:7000", "10.0.0.9:7002"] {
        assert!(layout.has(&known.parse().unwrap()), "{known}");
    }
    assert!(!layout.has(&"10.0.0.4:0".parse().unwrap_or(Address::new("10.0.0.4", 0))));
}

#[test]
fn each_slot_has_the_owner_that_was_told_wherever_the_ranges_end() {
    let ends = [0, 63, 64, 65, 127, 200, 16_319, 16_383];
    for (first, last) in ends.iter().flat_map(|first| ends.iter().map(move |last| (*first, *last))) {
        let (one, other) = (Address::new("one", 1), Address::new("other", 1));
        let shard = |primary: &Address| Shard { primary: primary.clone(), replicas: Vec::new() };
        let ranges = [(shard(&one), vec![(0, 16_300)]), (shard(&other), vec![(first, last)])];
        let layout = Layout::new(ranges, []);
        let is_other = |slot: u16| first <= slot && slot <= last;
        let expected = |slot: u16| if is_other(slot) { Some(&other) } else { Some(&one).filter(|_| slot <= 16_300) };
        assert!((0..16_384).all(|slot| layout.primary_of(slot) == expected(slot)), "{first} to {last}");
        let moved = layout.moved(first, &one);
        assert!(
            moved.primary_of(first) == Some(&one)
                && (first..16_384).skip(1).all(|slot| moved.primary_of(slot) == expected(slot))
        );
        assert_eq!(moved.moved(first, &other).primary_of(first), Some(&other));
    }
}

#[test]
fn what_is_no_view() {
    let (asked, nodes) = (Address::new("h", 1), value(bulk(NODES)));
    let refused = value("-ERR This instance has cluster support disabled\r\n".into());
    let said = ClusterError::Refused("ERR This instance has cluster support disabled".into());
    assert_eq!(View::read(&refused, &nodes, &asked), Err(said));
    for wire in ["+OK\r\n", "*1\r\n:1\r\n", "*1\r\n*2\r\n:0\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:70000\r\n*0\r\n"] {
        assert_eq!(View::read(&value(wire.into()), &nodes, &asked), Err(ClusterError::Malformed), "{wire}");
    }
    let none = View::read(&value("*0\r\n".into()), &value(bulk("")), &asked).expect("a view of nothing");
    assert_eq!((none.layout.shards().len(), none.layout.uncovered()), (0, 16_384));
}

#[test]
fn words_that_send_elsewhere() {
    let from = Address::new("10.0.0.1", 7000);
    let read = |reply: &str| Redirection::read(reply.as_bytes(), &from);
    let to = Address::new("10.0.0.2", 7001);
    assert_eq!(read("-MOVED 3999 10.0.0.2:7001\r\n"), Some(Redirection::Moved { slot: 3999, to: to.clone() }));
    assert_eq!(read("-ASK 3999 10.0.0.2:7001\r\n"), Some(Redirection::Ask { slot: 3999, to }));
    let here = Address::new("10.0.0.1", 7001);
    assert_eq!(read("-MOVED 1 :7001\r\n"), Some(Redirection::Moved { slot: 1, to: here.clone() }));
    assert_eq!(read("-MOVED 1 ?:7001\r\n"), Some(Redirection::Moved { slot: 1, to: here }));
    let six = Address::new("fe80::2", 7001);
    assert_eq!(read("-MOVED 1 fe80::2:7001\r\n"), Some(Redirection::Moved { slot: 1, to: six }));
    assert_eq!(read("-TRYAGAIN Multiple keys request during rehashing of slot\r\n"), Some(Redirection::TryAgain));
    assert_eq!(read("-CLUSTERDOWN Hash slot not served\r\n"), Some(Redirection::Down));
    assert_eq!(read("-LOADING Redis is loading the dataset in memory\r\n"), Some(Redirection::Loading));
    for text in ["The cluster is down", "The cluster is down and only accepts read commands"] {
        assert_eq!(read(&format!("-CLUSTERDOWN {text}\r\n")), Some(Redirection::Down));
    }
    assert_eq!(read("-LOADING Valkey is loading the dataset in memory\r\n"), Some(Redirection::Loading));
    // What a script may have said that was executed.
    for other in [
        "-MOVED 1 10.0.0.1:7000\r\n",
        "-ASK 1 :7000\r\n",
        "-TRYAGAIN\r\n",
        "-TRYAGAIN x\r\n",
        "-TRYAGAIN Multiple keys request during rehashing of slot, or so\r\n",
        "-CLUSTERDOWN x\r\n",
        "-LOADING x\r\n",
        "-LOADING\r\n",
        "-MASTERDOWN x\r\n",
    ] {
        assert_eq!(read(other), None, "{other}");
    }
    for other in ["+MOVED 1 h:1\r\n", "-MOVED\r\n", "-MOVED x h:1\r\n", "-MOVED 1 h\r\n", "-ERR MOVED 1 h:1\r\n"] {
        assert_eq!(read(other), None, "{other}");
    }
    for reply in ["-MOVED 1 h:1\r\n", "-ASK 1 h:1\r\n", "-TRYAGAIN\r\n", "-CLUSTERDOWN\r\n", "-LOADING x\r\n"] {
        assert!(Redirection::is_possible(reply.as_bytes()), "{reply}");
    }
}
