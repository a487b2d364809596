//! Any request that is split, executed in parts and put together again, has the answer and the effect that it has in one
//! piece.

use std::collections::BTreeMap;

use proptest::prelude::*;
use resp::{write_array, write_bulk, write_error, write_integer, write_null, write_simple};
use route::{Merge, Plan, Reach, merge, replies, slot};

use crate::told::{commands, requests, with};

type Store = BTreeMap<Vec<u8>, Vec<u8>>;

/// What Redis does with these, in one node.
fn execute(store: &mut Store, args: &[Vec<u8>]) -> Vec<u8> {
    let (mut out, keys) = (Vec::new(), &args[1..]);
    match args[0].to_ascii_uppercase().as_slice() {
        b"MGET" => {
            write_array(&mut out, keys.len());
            for key in keys {
                match store.get(key) {
                    Some(value) => write_bulk(&mut out, value),
                    None => write_null(&mut out, resp::Protocol::Resp2),
                }
            }
        }
        b"MSET" if keys.len() % 2 == 1 => write_error(&mut out, "ERR wrong number of arguments for 'mset' command"),
        b"MSET" => {
            keys.chunks(2).for_each(|pair| drop(store.insert(pair[0].clone(), pair[1].clone())));
            write_simple(&mut out, "OK");
        }
        b"DEL" => write_integer(&mut out, count(keys, |key| store.remove(key).is_some())),
        b"EXISTS" => write_integer(&mut out, count(keys, |key| store.contains_key(key))),
        other => panic!("{other:?}"),
    }
    out
}

fn count(keys: &[Vec<u8>], mut counts: impl FnMut(&Vec<u8>) -> bool) -> i64 {
    i64::try_from(keys.iter().filter(|key| counts(key)).count()).expect("few")
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-d]{1,2}".prop_map(String::into_bytes),
        "[a-d]\\{[xy]\\}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ]
}

fn request() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let keys = prop::collection::vec(key(), 1..12);
    let name = prop::sample::select(vec!["MGET", "DEL", "exists"]);
    let plain = (name, keys).prop_map(|(name, keys)| [vec![name.as_bytes().to_vec()], keys].concat());
    let pairs = prop::collection::vec((key(), prop::collection::vec(any::<u8>(), 0..5)), 1..12);
    // Now and then the last value is missing, and nothing is to be set.
    let mset = (pairs, 0..4_u8).prop_map(|(pairs, lacks)| {
        let flat = pairs.into_iter().flat_map(|(key, value)| [key, value]);
        let mut args: Vec<Vec<u8>> = [b"MSET".to_vec()].into_iter().chain(flat).collect();
        args.truncate(args.len() - usize::from(lacks == 0 && args.len() > 3));
        args
    });
    prop_oneof![plain, mset]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_split_and_merged_is_the_answer_of_one_node(asked in prop::collection::vec(request(), 1..6)) {
        let (mut whole, mut parted) = (Store::new(), Store::new());
        for args in &asked {
            let expected = execute(&mut whole, args);
            let answer = with(args, |request| {
                let command = commands().find(request).expect("known");
                let Reach::Split(how) = command.reach() else { panic!("{args:?}") };
                let plan = Plan::of(command, request).expect("it can be split");
                let mut answers = Vec::new();
                for part in &plan.parts {
                    let mut bytes = Vec::new();
                    plan.write(part, request, &mut bytes);
                    let [sent] = &requests(&bytes)[..] else { panic!("one request a part") };
                    let mut keys = sent[1..].iter().step_by(if how == Merge::AllSucceeded { 2 } else { 1 });
                    assert!(keys.all(|key| slot(key) == part.slot));
                    answers.push(execute(&mut parted, sent));
                }
                let parts: Vec<&[u8]> = answers.iter().map(Vec::as_slice).collect();
                let mut out = b"before".to_vec();
                merge(how, &parts, plan.order(), &mut out).expect("they fit together");
                out.split_off(6)
            });
            prop_assert_eq!(answer, expected);
            prop_assert_eq!(&parted, &whole);
        }
    }

    #[test]
    fn no_bytes_make_it_fail_otherwise_than_by_saying_so(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..4),
        order in prop::collection::vec(0..5_u32, 0..5),
    ) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        for how in [Merge::AllSucceeded, Merge::And, Merge::Sum, Merge::Concat, Merge::ByKey, Merge::Counts] {
            let mut out = b"before".to_vec();
            let merged = merge(how, &parts, &order, &mut out);
            prop_assert!(out.starts_with(b"before") && (merged.is_ok() || out.len() == 6));
        }
        let _ = replies(parts.concat().as_slice()).count();
    }
}
