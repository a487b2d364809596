//! A caller's second job, which follows the first into the same connection, and replies that are taken early.

use std::{task::Context, time::Duration};

use pool::{Burst, Caller, Endpoint, Further, JobError, Out, Pool, Settings};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::upstream::{Peer, Upstream, burst, burst_in, burst_of, calls, read_only, settings, settle};

const MS: Duration = Duration::from_millis(1);

/// More than an in-memory stream holds.
const LARGE: usize = 100_000;

/// What became of a burst and of the one that was to follow it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// Replies that were taken before the answer.
    early: String,
    first: String,
    failure: Option<JobError>,
    followed: bool,
    second: String,
    second_failure: Option<JobError>,
}

/// Has a caller send `first`, and `second` behind it as soon as that can be or, if it cannot, afterwards; takes replies
/// early. Tells when `second` has followed.
fn two(mut caller: Caller, mut first: Burst, mut second: Burst) -> (JoinHandle<Outcome>, mpsc::Receiver<()>) {
    let (told, followed) = mpsc::channel(1);
    let both = tokio::spawn(async move {
        let (mut early, mut further) = (Vec::new(), None::<Further>);
        let (early_ref, further_ref, second_ref) = (&mut early, &mut further, &mut second);
        let mut again = Box::pin(sleep(MS));
        let follow = |cx: &mut Context<'_>, out: Out<'_>| {
            out.poll_replies(cx, early_ref);
            if further_ref.is_none() {
                *further_ref = out.follow(second_ref);
                if further_ref.is_some() {
                    told.try_send(()).expect("once");
                }
                // The take of a job wakes nobody.
                while further_ref.is_none() && again.as_mut().poll(cx).is_ready() {
                    again.as_mut().reset(Instant::now() + MS);
                }
            }
        };
        let failure = caller.execute_meanwhile(&mut first, None, follow).await.err();
        let followed = further.is_some();
        let second_failure = caller.execute_meanwhile(&mut second, further, |_, _| ()).await.err();
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let (early, first, second) = (text(early), text(first.replies), text(second.replies));
        Outcome { early, first, failure, followed, second, second_failure }
    });
    (both, followed)
}

#[tokio::test(start_paused = true)]
async fn a_second_job_goes_behind_the_first_on_its_connection() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 2, ..settings(endpoint) });
    let mut peers = [Peer::accept(&arrivals).await, Peer::accept(&arrivals).await];
    for turn in 0..20_u32 {
        let (both, mut followed) = two(pool.caller(), burst(&["INCR", "a"]), burst(&["INCR", "b"]));
        followed.recv().await.expect("it follows");
        settle().await;
        let mut seen = Vec::new();
        for peer in &mut peers {
            let written = peer.written().await;
            if !written.is_empty() {
                seen.push(written);
                peer.reply("+a\r\n").await;
                if turn % 2 == 0 {
                    settle().await;
                }
                peer.reply("+b\r\n").await;
            }
        }
        assert_eq!(seen, [[["INCR", "a"], ["INCR", "b"]]], "both on one connection");
        let both = both.await.expect("it ends");
        assert_eq!((both.first.as_str(), both.second.as_str()), ("+a\r\n", "+b\r\n"));
    }
    let totals = pool.control().totals().together();
    assert_eq!((totals.requests, totals.replied, totals.under_way()), (40, 40, 0));
}

#[tokio::test(start_paused = true)]
async fn replies_that_are_taken_early_are_not_in_the_answer() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let three = burst_of(&[&["INCR", "a"], &["INCR", "a"], &["INCR", "a"]]);
    let (both, mut followed) = two(pool.caller(), three, burst(&["INCR", "b"]));
    followed.recv().await.expect("it follows");
    for part in [":1\r\n", ":2\r", "\n:3", "\r\n", ":9\r\n"] {
        peer.reply(part).await;
        settle().await;
    }
    let both = both.await.expect("it ends");
    assert_eq!((both.early.as_str(), both.first.as_str(), both.second.as_str()), (":1\r\n:2\r\n", ":3\r\n", ":9\r\n"));
    assert_eq!((both.failure, both.second_failure), (None, None));
    assert_eq!(pool.control().totals().reply_bytes, 16);
}

#[tokio::test(start_paused = true)]
async fn a_second_job_that_comes_back_waits_for_the_first() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { workers: 2, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let other = Upstream::echoing(arrivals);
    settle().await;
    // The first is written in part, and its connection is silent then: what was not written comes back.
    let (both, mut followed) = two(pool.caller(), burst(&["SET", "a", &"x".repeat(LARGE)]), burst(&["GET", "a"]));
    followed.recv().await.expect("it follows");
    sleep(200 * MS).await;
    assert_eq!(other.seen().len(), 0, "it must not overtake the first");
    assert_eq!(peer.next().await.expect("written")[..2], ["SET", "a"]);
    settle().await;
    peer.reply("+OK\r\n").await;
    settle().await;
    let seen: Vec<_> = other.seen().into_iter().map(|seen| seen.request).collect();
    let here = if seen.is_empty() { peer.written().await } else { Vec::new() };
    assert_eq!([here, seen].concat(), [["GET", "a"]], "once, behind the first");
    peer.reply("+GET a\r\n").await;
    let both = both.await.expect("it ends");
    assert_eq!((both.first.as_str(), both.second.as_str()), ("+OK\r\n", "+GET a\r\n"));
    assert_eq!(pool.status().retried, 1, "it came back");
}

#[tokio::test(start_paused = true)]
async fn nobody_goes_past_those_who_wait_in_the_queue() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { pipeline_depth: 2, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let before = calls(&pool, ["one"]).await;
    let (both, mut followed) = two(pool.caller(), burst(&["INCR", "a"]), burst(&["INCR", "b"]));
    followed.recv().await.expect("there was nobody when it was sent");
    settle().await;
    let behind = calls(&pool, ["two", "three"]).await;
    let mut order = Vec::new();
    for _ in 0..5 {
        order.push(peer.next().await.expect("written").remove(1));
        peer.reply("+x\r\n").await;
        settle().await;
    }
    assert_eq!(order, ["one", "a", "two", "three", "b"]);
    assert_eq!(both.await.expect("it ends").second, "+x\r\n");
    for call in before.into_iter().chain(behind) {
        assert_eq!(call.await.expect("it ends").failure, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_needs_another_state_does_not_follow() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let (both, mut followed) = two(pool.caller(), burst(&["INCR", "a"]), burst_in(3, &["INCR", "b"]));
    assert!(timeout(5 * MS, followed.recv()).await.is_err());
    assert_eq!(peer.written().await, [["INCR", "a"]]);
    peer.reply("+a\r\n").await;
    settle().await;
    assert_eq!(peer.written().await, [["SELECT", "3"]]);
    peer.reply("+OK\r\n").await;
    settle().await;
    assert_eq!(peer.written().await, [["INCR", "b"]]);
    peer.reply("+b\r\n").await;
    assert_eq!(both.await.expect("it ends").second, "+b\r\n");
}

#[tokio::test(start_paused = true)]
async fn what_only_reads_is_sent_again_without_what_has_been_taken() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let first = Burst { read_only: true, ..burst_of(&[&["GET", "a"], &["GET", "b"], &["GET", "c"]]) };
    let (both, mut followed) = two(pool.caller(), first, read_only(&["GET", "d"]));
    followed.recv().await.expect("it follows");
    assert_eq!(peer.written().await.len(), 4);
    peer.reply("+a\r\n").await;
    settle().await;
    peer.reply("+b\r\n+").await;
    drop(peer);
    let mut peer = Peer::accept(&arrivals).await;
    let seen = peer.next().await.expect("sent again");
    let again = if seen == ["GET", "b"] { ["+b\r\n", "+c\r\n"].concat() } else { "+c\r\n".to_owned() };
    peer.reply(&again).await;
    let (outcome, ()) = tokio::join!(both, async {
        settle().await;
        assert_eq!(peer.written().await.last().expect("sent"), &["GET", "d"]);
        peer.reply("+d\r\n").await;
    });
    let both = outcome.expect("it ends");
    assert_eq!(
        ([both.early.as_str(), &both.first].concat().as_str(), both.second.as_str()),
        ("+a\r\n+b\r\n+c\r\n", "+d\r\n")
    );
    assert_eq!((both.failure, both.second_failure), (None, None));
}

#[tokio::test(start_paused = true)]
async fn what_writes_is_not_sent_again_and_says_which_replies_are_missing() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let (both, mut followed) = two(pool.caller(), burst_of(&[&["INCR", "a"], &["INCR", "a"]]), burst(&["INCR", "b"]));
    followed.recv().await.expect("it follows");
    assert_eq!(peer.written().await.len(), 3);
    peer.reply(":1\r\n").await;
    settle().await;
    drop(peer);
    let both = both.await.expect("it ends");
    assert_eq!((both.early.as_str(), both.first.as_str()), (":1\r\n", ""));
    assert!(both.failure.is_some() && both.second_failure.is_some(), "{both:?}");
    let totals = pool.control().totals().together();
    assert_eq!((totals.replied, totals.failed, totals.under_way()), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_second_job_whose_caller_has_gone_is_executed_and_counted() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let (both, mut followed) = two(pool.caller(), burst(&["INCR", "a"]), burst(&["INCR", "b"]));
    followed.recv().await.expect("it follows");
    both.abort();
    assert!(both.await.is_err());
    settle().await;
    assert_eq!(peer.written().await, [["INCR", "a"], ["INCR", "b"]]);
    let after = calls(&pool, ["c"]).await.remove(0);
    peer.reply("+a\r\n+b\r\n+c\r\n").await;
    assert_eq!(crate::upstream::replies(after.await.expect("it ends")), "+c\r\n");
    let totals = pool.control().totals().together();
    assert_eq!((totals.requests, totals.failed, totals.under_way()), (3, 2, 0));
}
