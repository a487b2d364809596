//! Jobs whose replies may be large: few of them are in flight on a connection, and others go before the rest.

use std::time::Duration;

use pool::{Answer, Burst, Endpoint, Expected, Pool, Settings};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::upstream::{Act, Peer, Request, Upstream, burst, burst_in, replies, settings, settle};

/// What each of a crowd asks for, in one reply.
const LARGE: usize = 300 * 1024;

/// More than may be in flight before anything is known.
const CROWD: usize = 100;

fn large() -> String {
    format!("${LARGE}\r\n{}\r\n", "x".repeat(LARGE))
}

/// Starts calls of `GET name` by callers of their own, in this order.
async fn calls(pool: &Pool, expected: Expected, names: impl Iterator<Item = String>) -> Vec<JoinHandle<Answer>> {
    let mut calls = Vec::new();
    for name in names {
        let mut caller = pool.caller();
        let burst = Burst { expected, ..burst(&["GET", &name]) };
        calls.push(tokio::spawn(async move { caller.call(burst).await }));
        tokio::task::yield_now().await;
    }
    settle().await;
    calls
}

fn crowd(name: &str) -> impl Iterator<Item = String> {
    (0..CROWD).map(move |number| format!("{name}{number}"))
}

fn names(written: Vec<Request>) -> Vec<String> {
    written.into_iter().map(|mut request| request.remove(1)).collect()
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_behind_all_of_a_crowd_that_asks_for_large_replies() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let crowd = calls(&pool, Expected::Unknown, crowd("c")).await;
    let first = names(peer.written().await);
    assert!(first.len() < CROWD / 10, "{} at once", first.len());
    for _ in &first {
        peer.reply(large()).await;
    }
    // One at a time now. Who is known to ask for little does not wait for the rest, nor does who comes last.
    let small = calls(&pool, Expected::Small, ["small".to_owned()].into_iter()).await;
    let late = calls(&pool, Expected::Unknown, ["late".to_owned()].into_iter()).await;
    let mut order = Vec::new();
    for _ in 0..CROWD {
        for name in names(peer.written().await) {
            peer.reply(if name.starts_with('c') { large() } else { "+\r\n".into() }).await;
            order.push(name);
        }
        settle().await;
    }
    let place = |name: &str| order.iter().position(|other| other == name);
    assert!(place("small") <= Some(2) && place("late") <= Some(4), "{order:?}");
    for call in crowd.into_iter().chain(small).chain(late) {
        assert!(!replies(call.await.unwrap()).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn replies_that_prove_to_be_small_make_room_for_more_at_a_time() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let crowd = calls(&pool, Expected::Unknown, crowd("c")).await;
    let mut rounds = Vec::new();
    while rounds.iter().sum::<usize>() < CROWD {
        let written = peer.written().await.len();
        assert!(written > 0, "{rounds:?}");
        peer.reply("+\r\n".repeat(written)).await;
        rounds.push(written);
    }
    assert!(rounds.len() <= 5 && rounds.is_sorted(), "{rounds:?}");
    for call in crowd {
        assert_eq!(replies(call.await.unwrap()), "+\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn large_replies_that_are_expected_come_over_several_connections_and_none_is_forgotten() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 2, ..settings(endpoint) });
    let mut peers = [Peer::accept(&arrivals).await, Peer::accept(&arrivals).await];
    let mut crowd = calls(&pool, Expected::Large, crowd("c")).await;
    let mut served = [0, 0];
    while served.iter().sum::<usize>() < CROWD {
        for (peer, served) in peers.iter_mut().zip(&mut served) {
            let written = names(peer.written().await);
            assert!(written.len() <= 2, "{written:?} at once");
            *served += written.len();
            for _ in written {
                peer.reply(large()).await;
            }
            if let Some(answered) = crowd.iter().position(JoinHandle::is_finished) {
                // Who has got it asks again.
                drop(replies(crowd.remove(answered).await.unwrap()));
                crowd.extend(calls(&pool, Expected::Large, ["again".to_owned()].into_iter()).await);
            }
        }
    }
    assert!(served.iter().all(|served| *served > CROWD / 10), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_large_replies_is_tried_elsewhere_when_its_connection_ends() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let crowd = calls(&pool, Expected::Large, crowd("c")).await;
    let written = peer.written().await.len();
    drop(peer);
    sleep(Duration::from_millis(1)).await;
    let mut peer = Peer::accept(&arrivals).await;
    let (mut again, mut lost) = (0, 0);
    while again + written < CROWD {
        for _ in peer.written().await {
            peer.reply("+\r\n").await;
            again += 1;
        }
    }
    for call in crowd {
        lost += usize::from(call.await.unwrap().failure.is_some());
    }
    assert_eq!((written, lost), (2, 2), "and only what was sent is lost");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever_beside_two_databases_that_take_turns() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 1, ..settings(endpoint) });
    let _upstream = Upstream::start(arrivals, |_| Act::EchoAfter(Duration::from_millis(1)));
    settle().await;
    for db in [0, 1, 0, 1, 0, 1] {
        let mut caller = pool.caller();
        tokio::spawn(async move { while caller.call(burst_in(db, &["GET", "a"])).await.failure.is_none() {} });
    }
    sleep(Duration::from_millis(50)).await;
    for db in [0, 1, 2] {
        let unknown = Burst { expected: Expected::Unknown, ..burst_in(db, &["GET", "new"]) };
        let answer = timeout(Duration::from_millis(50), pool.caller().call(unknown)).await;
        assert!(answer.is_ok_and(|answer| answer.failure.is_none()), "of database {db}");
    }
}
