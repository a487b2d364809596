//! Replies of several shards made one, and scans.

use route::{Cursor, Merge, Mismatch, ScanReply, merge, pick_key};

use crate::told::with;

fn merged(how: Merge, parts: &[&str]) -> Result<String, Mismatch> {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    let mut out = Vec::new();
    merge(how, &parts, &[], &mut out)?;
    Ok(String::from_utf8(out).expect("text"))
}

#[test]
fn each_policy() {
    for (how, parts, expected) in [
        (Merge::AllSucceeded, ["+OK\r\n", "+OK\r\n"], "+OK\r\n"),
        (Merge::AllSucceeded, ["+OK\r\n", "-ERR no\r\n"], "-ERR no\r\n"),
        (Merge::OneSucceeded, ["-NOTBUSY x\r\n", "+OK\r\n"], "+OK\r\n"),
        (Merge::OneSucceeded, ["-NOTBUSY x\r\n", "-NOTBUSY y\r\n"], "-NOTBUSY x\r\n"),
        (Merge::OneSucceeded, ["-NOTBUSY x\r\n", "-UNKILLABLE y\r\n"], "-UNKILLABLE y\r\n"),
        (Merge::Sum, [":3\r\n", ":4\r\n"], ":7\r\n"),
        (Merge::Sum, [":3\r\n", "-CLUSTERDOWN x\r\n"], "-CLUSTERDOWN x\r\n"),
        (Merge::Min, [":3\r\n", ":4\r\n"], ":3\r\n"),
        (Merge::Max, [":3\r\n", ":4\r\n"], ":4\r\n"),
        (Merge::Or, [":0\r\n", ":1\r\n"], ":1\r\n"),
        (Merge::And, ["*2\r\n:1\r\n:1\r\n", "*2\r\n:0\r\n:1\r\n"], "*2\r\n:0\r\n:1\r\n"),
        (
            Merge::Concat,
            ["*1\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$1\r\nc\r\n"],
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
        ),
        (Merge::Concat, ["~1\r\n+a\r\n", "~0\r\n"], "~1\r\n+a\r\n"),
        (Merge::Concat, ["%1\r\n+a\r\n:1\r\n", "%1\r\n+b\r\n:2\r\n"], "%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n"),
        (Merge::Counts, ["*2\r\n$1\r\nc\r\n:1\r\n", "*2\r\n$1\r\nc\r\n:2\r\n"], "*2\r\n$1\r\nc\r\n:3\r\n"),
    ] {
        assert_eq!(merged(how, &parts).as_deref(), Ok(expected), "{how:?} {parts:?}");
    }
}

#[test]
fn what_does_not_fit_together_is_never_made_up() {
    for (how, parts) in [
        (Merge::Sum, [":3\r\n", "+OK\r\n"]),
        (Merge::Sum, [":9223372036854775807\r\n", ":1\r\n"]),
        (Merge::And, ["*2\r\n:1\r\n:1\r\n", "*1\r\n:0\r\n"]),
        (Merge::Concat, ["*1\r\n:1\r\n", "$-1\r\n"]),
        (Merge::Concat, ["*1\r\n:1\r\n", "~1\r\n:1\r\n"]),
        (Merge::Counts, ["*2\r\n$1\r\nc\r\n:1\r\n", "*2\r\n$1\r\nd\r\n:2\r\n"]),
        (Merge::ByKey, ["*1\r\n:1\r\n", "*1\r\n:1\r\n"]),
    ] {
        assert_eq!(merged(how, &parts), Err(Mismatch), "{how:?} {parts:?}");
    }
    assert_eq!(merged(Merge::Sum, &[]), Err(Mismatch));
    let mut out = Vec::new();
    for order in [&[0][..], &[0, 0], &[0, 2], &[0, 1, 2]] {
        assert_eq!(
            merge(Merge::ByKey, &[b"*1\r\n:1\r\n", b"*1\r\n:2\r\n"], order, &mut out),
            Err(Mismatch),
            "{order:?}"
        );
    }
    assert_eq!(merge(Merge::ByKey, &[b"*1\r\n:1\r\n", b"*1\r\n:2\r\n"], &[1, 0], &mut out), Ok(()));
    assert_eq!(out, b"*2\r\n:2\r\n:1\r\n");
}

#[test]
fn a_random_key_is_any_key_and_never_none_while_there_is_one() {
    let keys: [(&[u8], u64); 3] = [(b"$-1\r\n", 0), (b"$1\r\na\r\n", 1), (b"$1\r\nb\r\n", 3)];
    let picked = |random: u64| pick_key(&keys, random).expect("there is one");
    let rounds = 4_000_u64;
    let few = (0..rounds).filter(|at| picked(at * (u64::MAX / rounds)) == b"$1\r\na\r\n").count();
    assert!((990..=1_010).contains(&few), "{few} of {rounds}: a quarter");
    assert_eq!(pick_key(&keys[..1], 7), None);
    assert_eq!(pick_key(&[(b"_\r\n", 5)], 7), None);
    assert_eq!(pick_key(&[(b"$1\r\na\r\n", 0)], u64::MAX), Some(&b"$1\r\na\r\n"[..]), "not counted yet");
}

#[test]
fn a_cursor_tells_the_shard_and_its_own_cursor() {
    let read = |text: &str| with(&["SCAN", text, "COUNT", "7"], Cursor::read);
    assert_eq!(read("0"), Some(Cursor { slot: 0, inner: 0 }));
    for (slot, inner) in [(0, 1), (5_461, 0), (16_383, 1 << 40), (7, (1 << 50) - 1)] {
        let cursor = Cursor { slot, inner };
        assert_eq!(read(&cursor.number().expect("room").to_string()), Some(cursor));
    }
    assert_eq!(Cursor { slot: 1, inner: 1 << 50 }.number(), None);
    for text in ["", "-1", "+1", " 1", "1x", "99999999999999999999"] {
        assert_eq!(read(text), None, "{text}");
    }
    let mut out = Vec::new();
    with(&["SCAN", "16384", "COUNT", "7"], |request| Cursor::read(request).expect("one").write(request, &mut out));
    assert_eq!(out, b"*4\r\n$4\r\nSCAN\r\n$1\r\n1\r\n$5\r\nCOUNT\r\n$1\r\n7\r\n");
}

#[test]
fn a_reply_to_a_scan_gets_another_cursor() {
    let reply = ScanReply::read(b"*2\r\n$2\r\n17\r\n*1\r\n$1\r\na\r\n").expect("a reply");
    assert_eq!(reply.inner, 17);
    let mut out = Vec::new();
    reply.write(99, &mut out);
    assert_eq!(out, b"*2\r\n$2\r\n99\r\n*1\r\n$1\r\na\r\n");
    for other in [&b"-ERR invalid cursor\r\n"[..], b"*0\r\n", b"*2\r\n:1\r\n:2\r\n", b"+OK\r\n"] {
        assert_eq!(ScanReply::read(other), None);
    }
}
