//! Replies that are wrong are found, each kind by its name, and make the exit code 1.

use std::sync::Mutex;

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::Until,
    measure::{outcome::Outcome, wrong::Wrong},
};

use crate::scripted::{Act, Scripted};

/// A verified load of 2000 operations on an upstream with this script.
async fn verified(mix: &str, script: impl Fn(u64, &[Vec<u8>]) -> Act + Send + Sync + 'static) -> Outcome {
    let upstream = Scripted::start(script).await;
    let mut load = upstream.load();
    (load.verify, load.pipeline, load.until) = (true, 4, Until::Count(2_000));
    load.keys = 20;
    load.mix = mix.parse().unwrap();
    drive(&load, &Interrupt::never(), |_| {}).await.unwrap()
}

fn found(outcome: &Outcome, wrong: Wrong) -> u64 {
    outcome.counts.wrong.get(&wrong).copied().unwrap_or(0)
}

#[tokio::test]
async fn right_replies_are_found_right() {
    let outcome = verified("get:4,set:4,incr:2,ping", |_, _| Act::Answer).await;
    assert_eq!((outcome.counts.verified, outcome.counts.wrong_total(), outcome.exit_code()), (2_000, 0, 0));
    assert_eq!(outcome.by_operation.len(), 4);
}

#[tokio::test]
async fn two_swapped_replies_are_caught() {
    let outcome =
        verified(
            "get,set",
            |index, _| if (1_000..1_020).contains(&index) && index % 5 == 0 { Act::Swap } else { Act::Answer },
        )
        .await;
    assert!(outcome.counts.wrong_total() > 0, "{:?}", outcome.counts.wrong);
    assert_eq!(outcome.exit_code(), 1);
    let outcome =
        verified(
            "incr",
            |index, _| if (1_000..1_020).contains(&index) && index % 5 == 0 { Act::Swap } else { Act::Answer },
        )
        .await;
    assert!(found(&outcome, Wrong::Invented) > 0, "{:?}", outcome.counts.wrong);
}

#[tokio::test]
async fn a_dropped_reply_is_missing() {
    for mix in ["get,set", "set", "ping"] {
        let outcome = verified(mix, |index, _| if index == 1_000 { Act::Drop } else { Act::Answer }).await;
        assert!(found(&outcome, Wrong::Missing) > 0, "{mix}: {:?}", outcome.counts.wrong);
        assert_eq!((outcome.exit_code(), outcome.counts.reconnects), (1, 1));
    }
}

#[tokio::test]
async fn another_keys_value_is_crossed() {
    let last = Mutex::new(None::<Vec<u8>>);
    let outcome = verified("get,set", move |index, args| {
        // From a certain point, once: what a GET gets is what was stored at another key.
        match (args, &mut *last.lock().unwrap()) {
            ([_, _, value], last) if last.is_none() => *last = Some(value.clone()),
            ([_, _], Some(value)) if value.is_empty() => {}
            ([name, key], Some(value)) if index > 1_000 && !key.ends_with(&value[21..23]) && name == b"GET" => {
                let value = std::mem::take(value);
                return Act::Say(
                    format!("${}\r\n{}\r\n", value.len(), String::from_utf8(value).unwrap()).leak().as_bytes(),
                );
            }
            _ => {}
        }
        Act::Answer
    })
    .await;
    assert_eq!(
        (found(&outcome, Wrong::Crossed), outcome.counts.wrong_total()),
        (1, 1),
        "{:?}",
        outcome.counts.wrong_examples
    );
    assert!(outcome.counts.wrong_examples[0].contains("was answered with key"), "{:?}", outcome.counts.wrong_examples);
}

#[tokio::test]
async fn stale_lost_and_invented_values_are_told_apart() {
    let first = Mutex::new(None::<(Vec<u8>, Vec<u8>)>);
    let outcome = verified("get,set", move |index, args| {
        let mut first = first.lock().unwrap();
        match args {
            [_, key, value] if first.is_none() => *first = Some((key.clone(), value.clone())),
            [_, key] if index > 1_500 => match &mut *first {
                Some((old, value)) if old == key && !value.is_empty() => {
                    let value = String::from_utf8(std::mem::take(value)).unwrap();
                    return Act::Say(format!("${}\r\n{value}\r\n", value.len()).leak().as_bytes());
                }
                _ => {}
            },
            _ => {}
        }
        Act::Answer
    })
    .await;
    assert_eq!(
        (found(&outcome, Wrong::Stale), outcome.counts.wrong_total()),
        (1, 1),
        "{:?}",
        outcome.counts.wrong_examples
    );
    let once = |say: &'static [u8]| {
        let said = Mutex::new(false);
        move |index: u64, args: &[Vec<u8>]| {
            let mut said = said.lock().unwrap();
            // By then every key has been written.
            if index > 1_500 && args.len() == 2 && !*said {
                *said = true;
                return Act::Say(say);
            }
            Act::Answer
        }
    };
    let outcome = verified("get,set", once(b"$-1\r\n")).await;
    assert_eq!(
        (found(&outcome, Wrong::Lost), outcome.counts.wrong_total()),
        (1, 1),
        "{:?}",
        outcome.counts.wrong_examples
    );
    let outcome = verified("get,set", once(b"$3\r\nfoo\r\n")).await;
    assert_eq!(
        (found(&outcome, Wrong::Invented), outcome.counts.wrong_total()),
        (1, 1),
        "{:?}",
        outcome.counts.wrong_examples
    );
    let outcome = verified("get,set", once(b":1\r\n")).await;
    assert_eq!(
        (found(&outcome, Wrong::Shape), outcome.counts.wrong_total()),
        (1, 1),
        "{:?}",
        outcome.counts.wrong_examples
    );
}

#[tokio::test]
async fn a_reply_too_many_is_surplus() {
    let outcome =
        verified("ping", |index, _| if index == 1_999 { Act::Say(b"+PONG\r\n+PONG\r\n") } else { Act::Answer }).await;
    assert_eq!((found(&outcome, Wrong::Surplus), outcome.exit_code()), (1, 1), "{:?}", outcome.counts.wrong);
}
