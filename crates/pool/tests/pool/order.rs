//! Replies reach those who asked for them, in order, whatever becomes of others: time-outs, callers that
//! go away, cut-up replies, and a number of workers that changes under load.

use std::{collections::HashMap, sync::Arc, time::Duration};

use pool::{Endpoint, JobError, Pool, Sent, Settings};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::upstream::{Act, Peer, Upstream, burst, burst_of, echo, replies, settings, settle};

#[tokio::test(start_paused = true)]
async fn a_late_reply_after_a_time_out_shifts_nothing() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    for late in ["+late\r\n", "$11\r\nlate\r\n+late\r\n", "*2\r\n+la\r\n+te\r\n"] {
        let started = Instant::now();
        let answer = caller.call(burst(&["INCR", "slow"])).await;
        assert_eq!(answer.failure, Some(JobError::ReplyTimeout(Duration::from_secs(10))));
        assert_eq!(answer.failure.unwrap().sent(), Sent::Maybe);
        assert!((10_000..10_020).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
        assert_eq!(peer.written().await, [["INCR", "slow"]]);
        let (head, tail) = late.split_at(late.len() / 2);
        peer.reply(head).await;
        settle().await;
        let (answer, ()) = tokio::join!(caller.call(burst(&["INCR", "next"])), async {
            assert_eq!(peer.next().await.unwrap(), ["INCR", "next"]);
            peer.reply(tail).await;
            settle().await;
            peer.reply("+next\r\n").await;
        });
        assert_eq!(replies(answer), "+next\r\n");
    }
    assert_eq!(pool.status().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_in_the_middle_of_a_reply_shifts_nothing() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let (mut one, mut two) = (pool.caller(), pool.caller());
    let (first, second, ()) = tokio::join!(
        one.call(burst_of(&[&["GET", "a"], &["GET", "b"]])),
        async {
            sleep(Duration::from_secs(9)).await;
            two.call(burst(&["GET", "c"])).await
        },
        async {
            assert_eq!(peer.written().await.len(), 2);
            peer.reply("+a\r\n$4\r\nbb").await;
            sleep(Duration::from_secs(12)).await;
            peer.reply("bb\r\n+c\r\n").await;
        }
    );
    assert_eq!(first.failure, Some(JobError::ReplyTimeout(Duration::from_secs(10))));
    assert_eq!(replies(second), "+c\r\n");
}

#[tokio::test(start_paused = true)]
async fn replies_cut_at_every_byte_are_the_same_replies() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let (first, second) = ("*2\r\n$3\r\na\r\n\r\n:-7\r\n$-1\r\n-ERR x\r\n", "+second\r\n");
    let (mut one, mut two) = (pool.caller(), pool.caller());
    for cut in 1..first.len() + second.len() {
        let requests = burst_of(&[&["A"], &["B"], &["C"]]);
        let (three, one_more, ()) = tokio::join!(one.call(requests), two.call(burst(&["D"])), async {
            for _ in 0..4 {
                peer.next().await.unwrap();
            }
            let all = [first, second].concat();
            peer.reply(&all[..cut]).await;
            settle().await;
            peer.reply(&all[cut..]).await;
        });
        assert_eq!(replies(three), first, "cut at {cut}");
        assert_eq!(replies(one_more), second, "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_at_any_moment_shifts_nothing_and_is_executed() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { pipeline_depth: 2, ..settings(endpoint) });
    let upstream = Upstream::start(arrivals, |_| Act::EchoAfter(Duration::from_millis(10)));
    let mut tasks = JoinSet::new();
    for number in 0..20_u64 {
        let mut caller = pool.caller();
        tasks.spawn(async move {
            for turn in 0..20_u64 {
                let args = ["SET", &format!("{number}"), &format!("{turn}")];
                let patience = Duration::from_millis((number * 7 + turn * 13) % 400);
                if let Ok(answer) = timeout(patience, caller.call(burst(&args))).await {
                    assert_eq!(replies(answer).as_bytes(), echo(&args));
                }
                let args = ["GET", &format!("{number}"), &format!("{turn}")];
                assert_eq!(replies(caller.call(burst(&args)).await).as_bytes(), echo(&args));
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(pool.status().lost, 0);
    let mut times = HashMap::new();
    upstream.seen().into_iter().for_each(|seen| *times.entry(seen.request).or_insert(0) += 1);
    assert!(times.values().all(|times| *times == 1), "nothing is executed twice");
    let gets = times.keys().filter(|request| request[0] == "GET").count();
    let sets = times.keys().filter(|request| request[0] == "SET").count();
    assert_eq!(gets, 400);
    // A call that was dropped before it had a place in the queue is not; all had room here.
    assert!(sets > 380, "{sets}");
}

#[tokio::test(start_paused = true)]
async fn no_worker_starves_and_none_takes_more_than_it_can_write() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 4, pipeline_depth: 2, ..settings(endpoint) });
    let upstream = Upstream::start(arrivals, |_| Act::EchoAfter(Duration::from_millis(10)));
    settle().await;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..80 {
        let mut caller = pool.caller();
        tasks.spawn(async move {
            let args = ["INCR", &format!("{number}")];
            assert_eq!(replies(caller.call(burst(&args)).await).as_bytes(), echo(&args));
        });
    }
    tasks.join_all().await;
    let mut share = [0; 4];
    upstream.seen().iter().for_each(|seen| share[seen.connection] += 1);
    assert!(share.iter().all(|share| (15..=25).contains(share)), "{share:?}");
    // 80 requests of 10 ms over 4 connections.
    assert!(started.elapsed() < Duration::from_millis(260), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn changing_the_number_of_workers_under_load_loses_and_reorders_nothing() {
    const CALLERS: usize = 40;
    const TURNS: usize = 150;
    let (endpoint, arrivals) = Endpoint::memory();
    let base = Settings { pipeline_depth: 8, ..settings(endpoint) };
    let pool = Arc::new(Pool::start(base.clone()));
    let upstream = Upstream::start(arrivals, |seen| {
        Act::EchoAfter(Duration::from_micros(100 + 50 * (seen.connection as u64 % 5)))
    });
    let mut tasks = JoinSet::new();
    for number in 0..CALLERS {
        let mut caller = pool.caller();
        tasks.spawn(async move {
            for turn in 0..TURNS {
                let (number, turn) = (number.to_string(), turn.to_string());
                let requests: [&[&str]; 2] = [&["SET", &number, &turn], &["GET", &number, &turn]];
                let answer = replies(caller.call(burst_of(&requests)).await);
                assert_eq!(answer.as_bytes(), [echo(requests[0]), echo(requests[1])].concat());
            }
        });
    }
    let mut most = 0;
    for workers in [8, 2, 5, 1, 8, 2] {
        pool.reconfigure(Settings { workers, ..base.clone() });
        sleep(Duration::from_millis(60)).await;
        assert!(!tasks.is_empty(), "the load lasts longer than the changes");
        most = most.max(upstream.open());
        assert_eq!(upstream.open(), workers, "connections follow the number of workers under load");
    }
    tasks.join_all().await;
    assert_eq!((most, pool.status().lost, pool.status().retried), (8, 0, 0));
    settle().await;
    assert_eq!(upstream.open(), 2);
    let mut last: HashMap<String, (usize, bool)> = HashMap::new();
    for seen in upstream.seen() {
        let turn: usize = seen.request[2].parse().unwrap();
        let now = (turn, seen.request[0] == "GET");
        let before = last.insert(seen.request[1].clone(), now);
        let due = before.map_or((0, false), |(turn, got)| if got { (turn + 1, false) } else { (turn, true) });
        assert_eq!(now, due, "each exactly once, in its caller's order");
    }
    assert!(last.values().all(|last| *last == (TURNS - 1, true)));
}
