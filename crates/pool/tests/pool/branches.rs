//! A queue with two branches, as two runtime threads have it. Here both runtimes are that of the test, so that
//! its clock counts for both.

use std::time::Duration;

use pool::{Endpoint, Pool, Settings};
use tokio::{runtime::Handle, task::JoinHandle, time::sleep};

use crate::upstream::{Arrivals, Peer, burst, echo, replies, settings, settle};

/// With a worker in each branch; the first connection is that of the first.
async fn start(settings: Settings, arrivals: &Arrivals) -> (Pool, [Peer; 2]) {
    let pool = Pool::start_on(&[Handle::current(), Handle::current()], Settings { workers: 2, ..settings });
    let peers = [Peer::accept(arrivals).await, Peer::accept(arrivals).await];
    (pool, peers)
}

fn call(pool: &Pool, branch: usize, name: &str) -> JoinHandle<String> {
    let (mut caller, request) = (pool.caller_on(branch), burst(&["INCR", name]));
    tokio::spawn(async move { replies(caller.call(request).await) })
}

#[tokio::test(start_paused = true)]
async fn jobs_go_to_the_workers_of_their_own_branch() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (pool, mut peers) = start(settings(endpoint), &arrivals).await;
    for round in 0..3 {
        for (branch, peer) in peers.iter_mut().enumerate() {
            let name = format!("{branch} {round}");
            let called = call(&pool, branch, &name);
            assert_eq!(peer.echo_next().await, ["INCR", &name]);
            assert_eq!(called.await.unwrap(), format!("+INCR {name}\r\n"));
        }
    }
    let totals = pool.control().totals();
    assert_eq!(totals.together().replied, 6);
    assert_eq!(totals.write_jobs.count(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_branch_without_a_connected_worker_sends_to_another() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (pool, [mut first, second]) = start(settings(endpoint), &arrivals).await;
    drop(second);
    settle().await;
    let called = call(&pool, 1, "elsewhere");
    assert_eq!(first.echo_next().await, ["INCR", "elsewhere"]);
    assert_eq!(called.await.unwrap(), "+INCR elsewhere\r\n");
    let mut second = Peer::accept(&arrivals).await;
    let called = call(&pool, 1, "back");
    assert_eq!(second.echo_next().await, ["INCR", "back"]);
    assert_eq!(called.await.unwrap(), "+INCR back\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_branch_whose_workers_are_silent_sends_to_another_and_keeps_its_jobs_where_all_are() {
    let (endpoint, arrivals) = Endpoint::memory();
    let settings = Settings { workers: 2, ..settings(endpoint) };
    let (pool, [mut first, mut second]) = start(settings.clone(), &arrivals).await;
    let silent = call(&pool, 0, "silent");
    assert_eq!(first.next().await.unwrap(), ["INCR", "silent"]);
    sleep(Duration::from_millis(50)).await;
    let called = call(&pool, 0, "elsewhere");
    assert_eq!(second.next().await.unwrap(), ["INCR", "elsewhere"]);
    sleep(Duration::from_millis(50)).await;
    let at_home = call(&pool, 0, "at home");
    settle().await;
    assert_eq!(first.next().await.unwrap(), ["INCR", "at home"], "all are silent");
    // Where a branch has no worker at all, those who are silent have to do.
    pool.reconfigure(Settings { workers: 1, ..settings });
    second.reply(echo(&["INCR", "elsewhere"])).await;
    assert_eq!(called.await.unwrap(), "+INCR elsewhere\r\n");
    assert!(second.is_closed().await);
    let homeless = call(&pool, 1, "homeless");
    assert_eq!(first.next().await.unwrap(), ["INCR", "homeless"]);
    for (name, call) in [("silent", silent), ("at home", at_home), ("homeless", homeless)] {
        first.reply(echo(&["INCR", name])).await;
        assert_eq!(call.await.unwrap(), format!("+INCR {name}\r\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_lies_in_a_branch_is_executed_elsewhere_when_its_last_worker_leaves() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (pool, [mut first, mut second]) = start(Settings { pipeline_depth: 1, ..settings(endpoint) }, &arrivals).await;
    let sent = call(&pool, 1, "sent");
    assert_eq!(second.next().await.unwrap(), ["INCR", "sent"]);
    let queued = call(&pool, 1, "queued");
    settle().await;
    assert_eq!(pool.status().queued_jobs, 1);
    // It finishes what it has and takes nothing further.
    pool.reconfigure(Settings { workers: 1, ..Settings::clone(&pool.control().settings()) });
    settle().await;
    assert_eq!(first.echo_next().await, ["INCR", "queued"]);
    assert_eq!(queued.await.unwrap(), "+INCR queued\r\n");
    second.reply(echo(&["INCR", "sent"])).await;
    assert_eq!(sent.await.unwrap(), "+INCR sent\r\n");
    assert!(second.is_closed().await);
    let alone = call(&pool, 1, "alone");
    assert_eq!(first.echo_next().await, ["INCR", "alone"]);
    assert_eq!(alone.await.unwrap(), "+INCR alone\r\n");
}

#[tokio::test(start_paused = true)]
async fn jobs_that_waited_for_any_worker_go_to_the_first_that_connects() {
    let (endpoint, arrivals) = Endpoint::memory();
    let both = [Handle::current(), Handle::current()];
    let pool = Pool::start_on(&both, Settings { workers: 2, ..settings(endpoint) });
    let called = [call(&pool, 0, "0"), call(&pool, 1, "1")];
    settle().await;
    let mut only = Peer::accept(&arrivals).await;
    let mut executed = [only.echo_next().await.remove(1), only.echo_next().await.remove(1)];
    executed.sort();
    assert_eq!(executed, ["0", "1"]);
    for (name, called) in called.into_iter().enumerate() {
        assert_eq!(called.await.unwrap(), format!("+INCR {name}\r\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_branch_sends_to_one_with_room() {
    let (endpoint, arrivals) = Endpoint::memory();
    let narrow = Settings { pipeline_depth: 1, queue_capacity: 4, ..settings(endpoint) };
    let (pool, [mut first, mut second]) = start(narrow, &arrivals).await;
    // One is sent, two lie in the branch; a further one is sent by the other branch, and two lie there.
    let mut called = Vec::new();
    for number in 0..6 {
        called.push(call(&pool, 0, &number.to_string()));
        settle().await;
    }
    assert_eq!(pool.status().queued_jobs, 4);
    let waits = call(&pool, 0, "waits");
    settle().await;
    assert_eq!((pool.status().queued_jobs, pool.status().jobs), (4, 7));
    for (peer, names) in [(&mut first, ["0", "1", "2"]), (&mut second, ["3", "4", "5"])] {
        for name in names {
            assert_eq!(peer.echo_next().await, ["INCR", name]);
        }
    }
    assert_eq!(first.echo_next().await, ["INCR", "waits"]);
    for (number, called) in called.into_iter().enumerate() {
        assert_eq!(called.await.unwrap(), format!("+INCR {number}\r\n"));
    }
    assert_eq!(waits.await.unwrap(), "+INCR waits\r\n");
}
