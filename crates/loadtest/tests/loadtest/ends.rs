//! Targets that are not there, die, fail or answer errors: a result or an error, never a hang.

use std::time::{Duration, Instant};

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::{LoadError, Until},
    measure::outcome::Ended,
    target::Target,
};

use crate::scripted::{Act, Scripted};

#[tokio::test]
async fn an_unreachable_target_is_an_error() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let load = loadtest::load::Load::new(Target::loopback(port));
    let error = drive(&load, &Interrupt::never(), |_| {}).await.unwrap_err();
    assert!(matches!(error, LoadError::Target(_)), "{error}");
    assert!(error.to_string().contains(&format!("cannot connect to redis://127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn a_dying_target_ends_the_load_and_leaves_the_partial_result() {
    let upstream = Scripted::start(|index, _| if index >= 1_000 { Act::Die } else { Act::Answer }).await;
    let mut load = upstream.load();
    load.until = Until::Time(Duration::from_secs(60));
    let begun = Instant::now();
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((outcome.ended, outcome.exit_code()), (Ended::Dead, 2));
    assert!((990..=1_000).contains(&outcome.operations), "{}", outcome.operations);
    assert!(outcome.counts.last_loss.unwrap().contains("refused"));
}

#[tokio::test]
async fn error_replies_are_counted_and_named() {
    let upstream =
        Scripted::start(
            |index, _| {
                if index % 2 == 1 { Act::Say(b"-NOAUTH Authentication required.\r\n") } else { Act::Answer }
            },
        )
        .await;
    let mut load = upstream.load();
    load.until = Until::Count(1_000);
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!((outcome.operations, outcome.counts.error_replies, outcome.exit_code()), (500, 500, 2));
    assert_eq!(outcome.counts.error_texts.get("NOAUTH Authentication required."), Some(&500));
}

#[tokio::test]
async fn what_is_no_resp_is_a_loss() {
    let upstream =
        Scripted::start(|index, _| if index == 10 { Act::Say(b"HTTP/1.1 400\r\n") } else { Act::Answer }).await;
    let mut load = upstream.load();
    load.until = Until::Count(1_000);
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!((outcome.counts.connections_lost, outcome.counts.reconnects, outcome.exit_code()), (1, 1, 2));
    assert!(outcome.counts.last_loss.unwrap().contains("unknown type"));
}

#[tokio::test]
async fn connections_are_renewed_as_often_as_asked() {
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let mut load = upstream.load();
    (load.until, load.reconnect_every, load.verify) = (Until::Count(1_000), Some(10), true);
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!((outcome.operations, outcome.counts.wrong_total(), outcome.counts.connections_lost), (1_000, 0, 0));
    assert!((96..=100).contains(&outcome.counts.reconnects), "{}", outcome.counts.reconnects);
}
