//! A directory of pools: one for each key, bounds in common, started when needed and ended when unused.

use std::{future::pending, sync::Arc, time::Duration};

use pool::{At, Endpoint, Key, Login, LoginFailure, LoginWorkers, Logins, NoPool, Pools, Settings};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::upstream::{Act, Arrivals, Peer, Upstream, burst, replies, settings, settle};

const IDLE: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);

fn of(user: &str) -> Key {
    let login = Login::User { name: Some(user.into()), password: "secret".into() };
    Key { at: At::Upstream, login }
}

fn start(change: impl FnOnce(&mut Settings)) -> (Pools, Arrivals) {
    let (endpoint, arrivals) = Endpoint::memory();
    let mut settings = Settings { pools_idle: IDLE, ..settings(endpoint) };
    change(&mut settings);
    (Pools::start_on(&[Handle::current()], settings), arrivals)
}

#[tokio::test(start_paused = true)]
async fn each_key_has_one_pool_with_its_own_login() {
    let (pools, arrivals) = start(|_| ());
    let upstream = Upstream::start(arrivals, |_| Act::Echo);
    settle().await;
    assert_eq!((upstream.open(), upstream.logins().len()), (1, 0), "nothing is started before it is needed");
    let mut callers = Vec::new();
    for user in ["ann", "bob", "ann"] {
        callers.push(pools.find(&of(user)).unwrap().caller_on(0));
    }
    for caller in &mut callers {
        assert_eq!(replies(caller.call(burst(&["INCR", "a"])).await), "+INCR a\r\n");
    }
    assert_eq!(upstream.open(), 3);
    assert_eq!(upstream.logins(), [["AUTH", "ann", "secret"], ["AUTH", "bob", "secret"]]);
    let names: Vec<_> = pools.all().iter().map(|listed| listed.key.login.name().map(str::to_owned)).collect();
    assert_eq!(names, [None, Some("ann".into()), Some("bob".into())]);
    assert!(!format!("{:?} {pools:?}", of("ann")).contains("secret"), "passwords are not shown");
}

#[tokio::test(start_paused = true)]
async fn a_pool_ends_when_nobody_has_used_it_for_a_while_and_what_it_counted_stays() {
    let (pools, arrivals) = start(|_| ());
    let upstream = Upstream::start(arrivals, |_| Act::Echo);
    let mut caller = pools.find(&of("ann")).unwrap().caller_on(0);
    replies(caller.call(burst(&["INCR", "a"])).await);
    sleep(IDLE * 3).await;
    assert_eq!((pools.all().len(), upstream.open()), (2, 2), "a caller uses it, however quiet");
    drop(caller);
    sleep(IDLE / 2).await;
    let again = pools.find(&of("ann")).unwrap();
    drop(again);
    sleep(IDLE - IDLE / 10).await;
    assert_eq!(pools.all().len(), 2, "its time begins anew");
    sleep(IDLE).await;
    assert_eq!((pools.all().len(), upstream.open()), (1, 1));
    assert_eq!((pools.totals().together().requests, pools.status().opened), (1, 2));
    let mut caller = pools.find(&of("ann")).unwrap().caller_on(0);
    replies(caller.call(burst(&["INCR", "a"])).await);
    assert_eq!((pools.totals().together().requests, pools.status().opened), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_lent_connection_uses_its_pool() {
    let (pools, arrivals) = start(|_| ());
    let _upstream = Upstream::start(arrivals, |_| Act::Echo);
    let lent = pools.find(&of("ann")).unwrap().caller_on(0).lend(Instant::now(), pool::Needs::default()).await.unwrap();
    sleep(IDLE * 3).await;
    assert_eq!(pools.all().len(), 2);
    drop(lent);
    sleep(IDLE * 2).await;
    assert_eq!(pools.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_caller_left_behind_is_executed_before_its_pool_ends() {
    let (pools, arrivals) = start(|settings| settings.pools_idle = Duration::from_millis(1));
    let upstream = Upstream::start(arrivals, |_| Act::EchoAfter(Duration::from_secs(2)));
    let mut caller = pools.find(&of("ann")).unwrap().caller_on(0);
    let call = tokio::spawn(async move { caller.call(burst(&["INCR", "a"])).await });
    settle().await;
    call.abort();
    sleep(Duration::from_secs(4)).await;
    assert_eq!((upstream.seen().len(), upstream.open(), pools.all().len()), (1, 1, 1));
    assert_eq!(pools.status().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_pools_than_there_may_be_and_an_unused_one_makes_room() {
    let (pools, arrivals) = start(|settings| settings.logins_max = 2);
    let _upstream = Upstream::start(arrivals, |_| Act::Echo);
    let (ann, bob) = (pools.find(&of("ann")).unwrap(), pools.find(&of("bob")).unwrap());
    assert_eq!(pools.find(&of("eve")).unwrap_err(), NoPool::Full(2));
    assert!(pools.find(&of("bob")).is_ok() && pools.find(&Key::default()).is_ok());
    drop(ann);
    assert!(pools.find(&of("eve")).is_ok());
    let names: Vec<_> = pools.all().iter().map(|listed| listed.key.login.name().map(str::to_owned)).collect();
    assert_eq!(names, [None, Some("bob".into()), Some("eve".into())]);
    drop(bob);
}

#[tokio::test(start_paused = true)]
async fn who_is_led_to_a_node_stays_who_it_is_and_logins_take_no_place_of_a_nodes_own() {
    let (pools, arrivals) = start(|settings| (settings.logins_max, settings.pools_max) = (2, 3));
    let _upstream = Upstream::start(arrivals, |_| Act::Echo);
    let callers = ["ann", "bob"].map(|user| pools.find(&of(user)).unwrap().caller_on(0));
    let nodes = [1, 2].map(|port| Key::node("127.0.0.1", port));
    let own = nodes.each_ref().map(|node| pools.find(node).unwrap());
    assert_eq!(pools.find(&Key::node("127.0.0.1", 3)).unwrap_err(), NoPool::Full(3));
    let names = || pools.all().iter().map(|pool| (pool.key.at.clone(), pool.key.login.clone())).collect::<Vec<_>>();
    for (at, caller) in callers.iter().enumerate() {
        let led = pools.find_as(caller, &nodes[at]).unwrap().caller_on(0);
        assert!(led.is_guest() && caller.is_guest());
        assert!(names().contains(&(nodes[at].at.clone(), of(["ann", "bob"][at]).login)));
        // The one that nobody uses makes room, and only that.
        let used = pools.find_as(&led, &nodes[at]).unwrap();
        assert!(pools.find_as(&led, &nodes[1 - at]).is_ok() && used.leads_as(&led));
    }
    assert_eq!(pools.all().len(), 1 + 2 + 2 + 2);
    let first = pools.find(&Key::default()).unwrap().caller_on(0);
    assert!(pools.find_as(&first, &nodes[0]).unwrap().leads_as(&own[0].caller_on(0)) && !first.is_guest());
    let held = |at: &Key| {
        pools.all().iter().filter(|pool| pool.key.at == at.at).all(|pool| pool.control.status().held.is_some())
    };
    pools.at(&nodes[0].at, |control| control.hold(Some("it is gone".into())));
    // What has made room is over.
    sleep(IDLE / 5).await;
    let _ann = pools.find_as(&callers[0], &nodes[0]).unwrap();
    assert!(
        held(&nodes[0]) && !held(&nodes[1]) && pools.first().status().held.is_none(),
        "also of those who come later"
    );
}

#[tokio::test(start_paused = true)]
async fn one_user_with_many_passwords_leaves_room_for_others() {
    let (pools, arrivals) = start(|settings| settings.logins_max = 20);
    let _upstream = Upstream::start(arrivals, |_| Act::Echo);
    let with = |password: usize| {
        let login = Login::User { name: Some("ann".into()), password: password.to_string().into() };
        pools.find(&Key { at: At::Upstream, login })
    };
    let mut used: Vec<_> = (0..8).map(|password| with(password).unwrap()).collect();
    assert_eq!(with(8).unwrap_err(), NoPool::UserFull(8));
    assert!(with(0).is_ok() && pools.find(&of("bob")).is_ok());
    used.remove(3);
    assert!(with(8).is_ok() && pools.all().len() == 10);
}

#[tokio::test(start_paused = true)]
async fn a_login_that_was_right_does_not_wait_behind_guesses() {
    let (pools, arrivals) = start(|_| {});
    let upstream = tokio::spawn(async move {
        let mut peers = JoinSet::new();
        while let Ok(stream) = arrivals.recv().await {
            peers.spawn(async move {
                let mut peer = Peer::new(stream);
                while let Some(request) = peer.next().await {
                    match request[0].as_str() {
                        "AUTH" if request[1] != "ann" => pending().await,
                        "AUTH" => peer.reply("+OK\r\n").await,
                        _ => peer.reply("-ERR unknown\r\n").await,
                    }
                }
            });
        }
    });
    let logins = Logins::new(pools.clone());
    let enter = |name: &str| {
        let (logins, login) = (logins.clone(), of(name).login);
        async move { logins.enter(&login, Duration::ZERO).await }
    };
    let _stays = enter("ann").await.unwrap();
    let guesses: Vec<_> = (0..50).map(|number| tokio::spawn(enter(&format!("guess{number}")))).collect();
    settle().await;
    let came = Instant::now();
    assert!(enter("ann").await.is_ok());
    assert!(came.elapsed() < SECOND, "{:?}", came.elapsed());
    for guess in guesses {
        assert!(matches!(guess.await.unwrap(), Err(LoginFailure::Unasked(_))));
    }
    upstream.abort();
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_for_all_pools_together() {
    let one = burst(&["INCR", "a"]).requests.len();
    let (pools, arrivals) = start(|settings| settings.queue_bytes_max = 2 * one + 1);
    let mut first = Peer::accept(&arrivals).await;
    let [ann, bob] = ["ann", "bob"].map(|user| pools.find(&of(user)).unwrap());
    let mut calls = Vec::new();
    for mut caller in [pools.caller_on(0).unwrap(), ann.caller_on(0), bob.caller_on(0)] {
        calls.push(tokio::spawn(async move { caller.call(burst(&["INCR", "a"])).await }));
        settle().await;
    }
    assert_eq!((pools.status().queued_bytes, pools.status().queued_jobs), (2 * one, 1), "one waits for room");
    first.written().await;
    first.reply(":1\r\n").await;
    settle().await;
    assert_eq!((pools.status().queued_bytes, pools.status().queued_jobs), (2 * one, 2));
    assert_eq!(replies(calls.remove(0).await.unwrap()), ":1\r\n");
}

#[tokio::test(start_paused = true)]
async fn one_login_fills_half_of_the_queue_and_keeps_no_other_waiting() {
    let one = burst(&["INCR", "a"]).requests.len();
    let (pools, arrivals) = start(|settings| settings.queue_bytes_max = 8 * one + 1);
    let _upstream = Upstream::start(arrivals, |seen| match seen.request[1].as_str() {
        "a" => Act::EchoAfter(Duration::from_millis(300)),
        _ => Act::Echo,
    });
    let [ann, bob] = ["ann", "bob"].map(|user| pools.find(&of(user)).unwrap());
    let mut calls = Vec::new();
    for mut caller in (0..10).map(|_| ann.caller_on(0)) {
        calls.push(tokio::spawn(async move { caller.call(burst(&["INCR", "a"])).await }));
        settle().await;
    }
    assert_eq!(pools.status().queued_bytes, 4 * one, "the others wait");
    assert_eq!(replies(bob.caller_on(0).call(burst(&["INCR", "b"])).await), "+INCR b\r\n");
    assert_eq!(pools.status().queued_bytes, 4 * one, "nobody had to make room");
    for call in calls {
        assert_eq!(replies(call.await.unwrap()), "+INCR a\r\n");
    }
    assert_eq!(pools.status().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn settings_and_a_pause_reach_all_pools() {
    let (pools, arrivals) = start(|_| ());
    let upstream = Upstream::start(arrivals, |_| Act::Echo);
    let mut ann = pools.find(&of("ann")).unwrap().caller_on(0);
    let login_workers = LoginWorkers { others: 2, named: Arc::default() };
    let workers = Settings { workers: 3, login_workers, ..Settings::clone(&pools.first().settings()) };
    pools.reconfigure(workers);
    sleep(SECOND).await;
    assert_eq!((upstream.open(), upstream.logins().len()), (5, 2), "each with its own login and workers");
    pools.pause();
    let mut bob = pools.find(&of("bob")).unwrap().caller_on(0);
    let held =
        tokio::spawn(async move { (ann.call(burst(&["INCR", "a"])).await, bob.call(burst(&["INCR", "b"])).await) });
    settle().await;
    assert!(upstream.seen().is_empty(), "a pool that starts in a pause is paused");
    pools.resume();
    let (ann, bob) = held.await.unwrap();
    assert_eq!((replies(ann), replies(bob)), ("+INCR a\r\n".into(), "+INCR b\r\n".into()));
}

#[tokio::test(start_paused = true)]
async fn who_looks_for_a_primary_holds_all_pools_at_the_upstream_and_none_at_a_named_node() {
    let (pools, arrivals) = start(|settings| settings.failover_wait = Duration::from_secs(1));
    let _upstream = Upstream::start(arrivals, |_| Act::Echo);
    let (ann, node) = (pools.find(&of("ann")).unwrap(), pools.find(&Key::node("127.0.0.1", 1)).unwrap());
    pools.hold(Some(&Arc::from("a failover")));
    let failure = |access: &pool::Access| {
        let mut caller = access.caller_on(0);
        async move { caller.call(burst(&["INCR", "a"])).await.failure.unwrap().kind() }
    };
    assert_eq!(failure(&ann).await, "failover_timeout");
    assert_eq!(failure(&node).await, "upstream_down");
    pools.hold(None);
    pools.go("127.0.0.1", 2);
    let places: Vec<_> = pools.all().iter().map(|listed| listed.control.settings().endpoint.to_string()).collect();
    assert_eq!(places, ["127.0.0.1:2", "127.0.0.1:2", "127.0.0.1:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_goes_to_another_pool_and_back() {
    let (pools, arrivals) = start(|_| ());
    let upstream = Upstream::start(arrivals, |_| Act::Echo);
    let (mut caller, mut access) = (pools.caller_on(0).unwrap(), pools.find(&of("ann")).unwrap());
    for requests in [1, 1, 2] {
        access.exchange(&mut caller);
        replies(caller.call(burst(&["INCR", "a"])).await);
        let ann = &pools.all()[1].control;
        assert_eq!(ann.totals().together().requests, requests);
    }
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_all_pools_and_none_is_found_afterwards() {
    let (pools, arrivals) = start(|_| ());
    let upstream = Upstream::start(arrivals, |_| Act::EchoAfter(Duration::from_secs(1)));
    let mut ann = pools.find(&of("ann")).unwrap().caller_on(0);
    let call = tokio::spawn(async move { ann.call(burst(&["INCR", "a"])).await });
    settle().await;
    assert_eq!(pools.drain(IDLE).await.abandoned, 0);
    assert_eq!(replies(call.await.unwrap()), "+INCR a\r\n");
    settle().await;
    assert_eq!(upstream.open(), 0);
    assert_eq!(pools.find(&of("ann")).unwrap_err(), NoPool::Closed);
    assert!(pools.caller_on(0).is_none());
    let (endpoint, arrivals) = Endpoint::memory();
    let pools = Pools::start_on(&[Handle::current()], settings(endpoint));
    let _peer = Peer::accept(&arrivals).await;
    let mut ann = pools.find(&of("ann")).unwrap().caller_on(0);
    let call = tokio::spawn(async move { ann.call(burst(&["INCR", "a"])).await });
    settle().await;
    assert_eq!(pools.drain(SECOND).await.abandoned, 1, "its upstream never answered the login");
    assert!(call.await.unwrap().failure.is_some());
}
