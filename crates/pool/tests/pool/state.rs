//! A job finds its connection in the state it needs: database and protocol version. What cannot be
//! brought about fails that job alone; a connection to what became a replica is replaced.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use pool::{Burst, Endpoint, JobError, Needs, Pool, Protocol, Sent};

use crate::upstream::{Peer, SPEAKS_RESP3, burst, burst_in, echo, replies, resp3, settings, settle};

#[tokio::test(start_paused = true)]
async fn a_job_of_another_database_waits_for_a_select_whose_reply_is_swallowed() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    let (answer, ()) = tokio::join!(caller.call(burst_in(3, &["GET", "a"])), async {
        assert_eq!(peer.written().await, [["SELECT", "3"]], "the job waits");
        peer.reply("+OK\r\n").await;
        assert_eq!(peer.echo_next().await, ["GET", "a"]);
    });
    assert_eq!(replies(answer), "+GET a\r\n");
    for (db, select) in [(3, None), (0, Some("0")), (3, Some("3"))] {
        let (answer, ()) = tokio::join!(caller.call(burst_in(db, &["GET", "b"])), async {
            if let Some(db) = select {
                assert_eq!(peer.written().await, [["SELECT", db]], "known to exist, and the job waits all the same");
                peer.reply("+OK\r\n").await;
            }
            assert_eq!(peer.written().await, [["GET", "b"]]);
            peer.reply("+b\r\n").await;
        });
        assert_eq!(replies(answer), "+b\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_of_many_databases_share_a_connection_and_each_runs_in_its_own() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut calls = Vec::new();
    for number in 0..60_u32 {
        let mut caller = pool.caller();
        calls.push(tokio::spawn(async move {
            for turn in 0..20 {
                let db = (number * 7 + turn) % 5;
                let answer = replies(caller.call(burst_in(db, &["GET", &number.to_string()])).await);
                assert_eq!(answer, format!("+{db} GET {number}\r\n"));
            }
        }));
    }
    let upstream = tokio::spawn(async move {
        let mut db = "0".to_owned();
        while let Some(request) = peer.next().await {
            if request[0] == "SELECT" {
                db.clone_from(&request[1]);
                peer.reply("+OK\r\n").await;
            } else {
                peer.reply(format!("+{db} {}\r\n", request.join(" "))).await;
            }
        }
    });
    for call in calls {
        call.await.unwrap();
    }
    upstream.abort();
}

#[tokio::test(start_paused = true)]
async fn a_refused_select_fails_its_job_alone_and_without_running_it() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let (mut before, mut caller, mut other) = (pool.caller(), pool.caller(), pool.caller());
    let (first, answer, fine, ()) = tokio::join!(
        before.call(burst(&["GET", "before"])),
        caller.call(burst_in(99, &["DEL", "a"])),
        other.call(burst(&["GET", "b"])),
        async {
            assert_eq!(peer.echo_next().await, ["GET", "before"]);
            assert_eq!(peer.echo_next().await, ["GET", "b"], "it waits for nothing");
            assert_eq!(peer.next().await.unwrap(), ["SELECT", "99"]);
            peer.reply("-ERR DB index is out of range\r\n").await;
            assert_eq!(peer.written().await, [[""; 2]; 0]);
        }
    );
    assert_eq!(replies(first), "+GET before\r\n");
    assert_eq!(answer.failure, Some(JobError::StateRefused("ERR DB index is out of range".into())));
    assert_eq!(answer.failure.unwrap().sent(), Sent::No);
    assert_eq!(replies(fine), "+GET b\r\n");
    let (after, request) = tokio::join!(before.call(burst(&["GET", "after"])), peer.echo_next());
    assert_eq!((replies(after).as_str(), request.len()), ("+GET after\r\n", 2), "in the database from before");
    assert_eq!(pool.status().lost, 0);
}

/// Where the right to change databases has been taken away, the database in which connections are made is had anew.
#[tokio::test(start_paused = true)]
async fn a_connection_that_may_not_go_back_to_its_first_database_is_replaced() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let (mut caller, mut other) = (pool.caller(), pool.caller());
    let (answer, ()) = tokio::join!(caller.call(burst_in(3, &["GET", "a"])), async {
        assert_eq!(peer.written().await, [["SELECT", "3"]]);
        peer.reply("+OK\r\n").await;
        assert_eq!(peer.echo_next().await, ["GET", "a"]);
    });
    assert_eq!(replies(answer), "+GET a\r\n");
    let refused = "-NOPERM this user has no permissions to run the 'select' command\r\n";
    let (answer, mut peer) = tokio::join!(other.call(burst(&["GET", "b"])), async {
        assert_eq!(peer.written().await, [["SELECT", "0"]]);
        peer.reply(refused).await;
        let mut next = Peer::accept(&arrivals).await;
        assert_eq!(next.echo_next().await, ["GET", "b"]);
        next
    });
    assert_eq!(replies(answer), "+GET b\r\n");
    let (answer, ()) = tokio::join!(caller.call(burst_in(3, &["GET", "c"])), async {
        assert_eq!(peer.written().await, [["SELECT", "3"]]);
        peer.reply(refused).await;
    });
    assert!(matches!(answer.failure, Some(JobError::StateRefused(words)) if words.starts_with("NOPERM")));
}

/// A script that runs for too long, rights that were taken away: what had been granted is refused.
#[tokio::test(start_paused = true)]
async fn what_refuses_a_state_is_news_for_the_jobs_that_need_it_and_for_nobody_else() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept_as(&arrivals, SPEAKS_RESP3).await;
    let (refuses, refused) = (Arc::new(AtomicBool::new(false)), "BUSY not now");
    let flag = Arc::clone(&refuses);
    let upstream = tokio::spawn(async move {
        let mut db = "0".to_owned();
        while let Some(request) = peer.next().await {
            let reply = match request[0].as_str() {
                "SELECT" | "HELLO" if flag.load(Ordering::Relaxed) => format!("-{refused}\r\n"),
                "SELECT" => {
                    db.clone_from(&request[1]);
                    "+OK\r\n".to_owned()
                }
                "HELLO" => "%1\r\n+proto\r\n:3\r\n".to_owned(),
                _ => format!("+{db} {}\r\n", request.join(" ")),
            };
            peer.reply(reply).await;
        }
    });
    let in_both = || Burst { needs: Needs { db: 9, protocol: Protocol::Resp3 }, ..burst(&["GET", "d"]) };
    for is_refused in [false, true, false, true, true, false] {
        assert_eq!(replies(pool.caller().call(burst(&["GET", "before"])).await), "+0 GET before\r\n");
        refuses.store(is_refused, Ordering::Relaxed);
        let (mut one, mut two, mut three, mut four) = (pool.caller(), pool.caller(), pool.caller(), pool.caller());
        let (zero, nine, three, both) = tokio::join!(
            one.call(burst(&["GET", "a"])),
            two.call(burst_in(9, &["GET", "b"])),
            three.call(resp3(&["GET", "c"])),
            four.call(in_both()),
        );
        assert_eq!(replies(zero), "+0 GET a\r\n");
        for (answer, reply) in [(nine, "+9 GET b\r\n"), (three, "+0 GET c\r\n"), (both, "+9 GET d\r\n")] {
            if is_refused {
                assert_eq!(answer.failure, Some(JobError::StateRefused(refused.into())));
                assert_eq!(answer.burst.replies, b"", "it was not run");
            } else {
                assert_eq!(replies(answer), reply);
            }
        }
        refuses.store(false, Ordering::Relaxed);
    }
    assert_eq!(pool.status().lost, 0);
    upstream.abort();
}

#[tokio::test(start_paused = true)]
async fn a_switch_is_made_once_for_all_jobs_that_wait_for_it() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut calls = Vec::new();
    for number in 0..30_u32 {
        let mut caller = pool.caller();
        let request = burst_in(number % 3, &["GET", &number.to_string()]);
        calls.push(tokio::spawn(async move { caller.call(request).await }));
    }
    let mut selects = 0;
    while calls.iter().any(|call| !call.is_finished()) {
        for request in peer.written().await {
            selects += usize::from(request[0] == "SELECT");
            peer.reply(echo(&request)).await;
        }
        settle().await;
    }
    assert_eq!(selects, 2);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(replies(call.await.unwrap()), format!("+GET {number}\r\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_without_requests_brings_the_connection_into_its_state() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    for (reply, refused) in [("+OK\r\n", None), ("-ERR no\r\n", Some(JobError::StateRefused("ERR no".into())))] {
        let db = if refused.is_some() { 8 } else { 7 };
        let probe = Burst { needs: Needs { db, ..Default::default() }, ..Default::default() };
        let (answer, ()) = tokio::join!(caller.call(probe), async {
            assert_eq!(peer.next().await.unwrap(), ["SELECT", &db.to_string()]);
            peer.reply(reply).await;
        });
        assert_eq!(answer.failure, refused);
        assert_eq!(answer.burst.replies, b"");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hello_goes_before_a_job_of_another_protocol_version_and_its_reply_is_swallowed() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept_as(&arrivals, SPEAKS_RESP3).await;
    let (mut old, mut new) = (pool.caller(), pool.caller());
    for _ in 0..3 {
        let calls = async { (new.call(resp3(&["GET", "a"])).await, old.call(burst(&["GET", "b"])).await) };
        let ((one, two), ()) = tokio::join!(calls, async {
            for (expected, reply) in [
                (["HELLO", "3"], "%1\r\n+proto\r\n:3\r\n"),
                (["GET", "a"], "%1\r\n+a\r\n,1.5\r\n"),
                (["HELLO", "2"], "*2\r\n+proto\r\n:2\r\n"),
                (["GET", "b"], "+b\r\n"),
            ] {
                assert_eq!(peer.next().await.unwrap(), expected);
                peer.reply(reply).await;
            }
        });
        assert_eq!(replies(one), "%1\r\n+a\r\n,1.5\r\n");
        assert_eq!(replies(two), "+b\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_push_message_answers_nobody() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept_as(&arrivals, SPEAKS_RESP3).await;
    peer.reply(">2\r\n+invalidate\r\n+idle\r\n").await;
    settle().await;
    let mut caller = pool.caller();
    let (answer, ()) = tokio::join!(caller.call(burst(&["GET", "a"])), async {
        peer.next().await.unwrap();
        peer.reply(">2\r\n+invalidate\r\n+busy\r\n+a\r\n>1\r\n+again\r\n").await;
    });
    assert_eq!(replies(answer), "+a\r\n");
    assert_eq!(pool.status().lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_nothing_asked_for_costs_the_connection_and_no_caller_a_wrong_reply() {
    for nonsense in ["+surprise\r\n", "?\r\n"] {
        let (endpoint, arrivals) = Endpoint::memory();
        let pool = Pool::start(settings(endpoint));
        let mut peer = Peer::accept(&arrivals).await;
        peer.reply(nonsense).await;
        let mut caller = pool.caller();
        let (answer, ()) = tokio::join!(caller.call(burst(&["GET", "a"])), async {
            let mut next = Peer::accept(&arrivals).await;
            assert_eq!(next.echo_next().await, ["GET", "a"]);
            assert!(peer.is_closed().await);
        });
        assert_eq!(replies(answer), "+GET a\r\n");
    }
}

/// An id of a connection, say, means nothing to another process.
#[tokio::test(start_paused = true)]
async fn what_one_upstream_alone_is_to_execute_is_not_sent_to_another() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    let (first, _) = tokio::join!(caller.call(burst(&["GET", "a"])), peer.echo_next());
    assert_eq!(replies(first), "+GET a\r\n");
    let generation = pool.control().facts().generation();
    let only_at = |only_at| Burst { only_at, ..burst(&["CLIENT", "UNBLOCK", "7"]) };
    let elsewhere = caller.call(only_at(generation + 1)).await;
    assert!(matches!(elsewhere.failure, Some(JobError::StateRefused(_))), "{:?}", elsewhere.failure);
    let (here, request) = tokio::join!(caller.call(only_at(generation)), peer.echo_next());
    assert_eq!((replies(here).as_str(), request.len()), ("+CLIENT UNBLOCK 7\r\n", 3), "the first that came");
}
