//! A primary that dies, or freezes and comes back: clients wait and go on, and what the new primary was given it keeps.

use std::time::{Duration, Instant};

use super::{
    load::{CLIENTS, Told, more_load, under_load},
    service::Service,
};
use crate::support::{DEADLINE, Gateway, pass, within};

/// A sentinel takes a second to notice, and some more to act; on a busy machine much more.
const PROMOTED: Duration = DEADLINE;

/// Each client has one request out, or one pipeline, which may have been executed.
const REQUESTS_OUT: usize = 4;

fn gateway(service: &Service) -> Gateway {
    let config = "[upstream]\nfailover_wait_ms = 60_000\n[pool]\nqueue_timeout_ms = 60_000";
    Gateway::builder()
        .upstream(&service.url())
        .config(config)
        .allow_lost_upstream()
        .allow("sentinel does not answer")
        .start()
}

/// How often the gateway went to another primary.
fn moves(gateway: &Gateway) -> usize {
    gateway.logs().count("primary is another")
}

fn wait_for_move(gateway: &Gateway, before: usize) {
    within(PROMOTED, "the gateway to find the new primary", || (moves(gateway) > before).then_some(()));
}

/// Writes that were acknowledged after `moment` are all there.
#[track_caller]
fn assert_kept_since(told: &Told, moment: Instant, service: &Service, sentinels: &[usize]) {
    let primary = service.primary(sentinels);
    let lost = told.lost(&mut service.direct(primary));
    let late = lost.iter().filter(|write| write.at > moment).count();
    assert_eq!(late, 0, "of {} lost writes these were acknowledged too late to blame replication", lost.len());
    assert!(told.errors.len() <= CLIENTS * REQUESTS_OUT, "{} errors", told.errors.len());
    told.assert_only_sent_failed();
    told.assert_counted_once();
}

#[test]
fn a_primary_that_is_killed_costs_only_what_was_under_way() {
    let mut service = Service::start(&[]);
    let gateway = gateway(&service);
    let mut killed = Instant::now();
    let told = under_load(&gateway, |rounds| {
        more_load(rounds, 20);
        let before = moves(&gateway);
        service.nodes[0].kill9();
        killed = Instant::now();
        wait_for_move(&gateway, before);
        more_load(rounds, 50);
    });
    assert_kept_since(&told, killed, &service, &[0, 1, 2]);
}

#[test]
fn a_primary_that_froze_and_comes_back_gets_no_write_whatever_it_calls_itself() {
    let service = Service::start(&[]);
    let gateway = gateway(&service);
    let mut frozen = Instant::now();
    let told = under_load(&gateway, |rounds| {
        more_load(rounds, 20);
        let before = moves(&gateway);
        service.nodes[0].freeze();
        frozen = Instant::now();
        wait_for_move(&gateway, before);
        more_load(rounds, 20);
        service.nodes[0].thaw();
        // It calls itself a primary until the sentinels tell it, ten seconds later.
        let mut old = service.direct(0);
        within(PROMOTED, "the old primary to be told", || {
            let role = old.try_line("ROLE").unwrap_or_default();
            old = service.direct(0);
            (!role.windows(6).any(|word| word == b"master")).then_some(())
        });
        more_load(rounds, 20);
    });
    assert_kept_since(&told, frozen, &service, &[0, 1, 2]);
}

#[test]
fn nobody_notices_that_replicas_and_sentinels_die() {
    let mut service = Service::start(&[]);
    let gateway = gateway(&service);
    let told = under_load(&gateway, |rounds| {
        more_load(rounds, 10);
        service.nodes[2].kill9();
        more_load(rounds, 10);
        service.sentinels[0].kill9();
        more_load(rounds, 10);
        service.sentinels[1].freeze();
        more_load(rounds, 10);
        service.nodes[1].freeze();
        more_load(rounds, 10);
        service.sentinels[2].kill9();
        more_load(rounds, 10);
    });
    told.assert_no_error();
    assert_eq!(told.lost(&mut service.direct(0)).len(), 0);
    service.sentinels[1].thaw();
}

#[test]
fn two_sentinels_of_three_are_enough_to_follow() {
    let mut service = Service::start(&[]);
    let gateway = gateway(&service);
    let mut killed = Instant::now();
    let told = under_load(&gateway, |rounds| {
        more_load(rounds, 10);
        service.sentinels[1].kill9();
        service.nodes[0].kill9();
        killed = Instant::now();
        wait_for_move(&gateway, 1);
        more_load(rounds, 20);
    });
    assert_kept_since(&told, killed, &service, &[0, 2]);
}

#[test]
fn without_a_next_primary_requests_wait_as_long_as_they_may_and_say_what_for() {
    let mut service = Service::start(&[]);
    let config = "[upstream]\nfailover_wait_ms = 700";
    let gateway = Gateway::builder().upstream(&service.url()).config(config).allow_lost_upstream().start();
    let mut client = gateway.client();
    client.expect("SET k 1", "+OK\r\n");
    service.nodes[1..].iter_mut().for_each(crate::support::Redis::kill9);
    service.nodes[0].kill9();
    gateway.logs().wait_for("upstream is down", DEADLINE);
    for request in ["SET k 2", "GET k", "BLPOP l 1"] {
        let began = Instant::now();
        let reply = String::from_utf8_lossy(&client.line(request)).into_owned();
        assert!(reply.starts_with("-ERR respool: no primary within failover_wait_ms (700 ms): "), "{reply}");
        assert!(began.elapsed() >= Duration::from_millis(700), "{request} waited {:?}", began.elapsed());
    }
}

#[test]
fn requests_that_may_not_wait_fail_at_once() {
    let mut service = Service::start(&[]);
    let config = "[upstream]\nfailover_wait_ms = 0";
    let gateway = Gateway::builder().upstream(&service.url()).config(config).allow_lost_upstream().start();
    let mut client = gateway.client();
    within(DEADLINE, "the primary to be found", || (client.line("SET k 1") == b"+OK\r\n").then_some(()));
    service.nodes[0].kill9();
    gateway.logs().wait_for("upstream is down", DEADLINE);
    let reply = String::from_utf8_lossy(&client.line("SET k 2")).into_owned();
    assert!(reply.starts_with("-ERR respool: upstream is down: "), "{reply}");
    within(PROMOTED, "the next primary", || (client.line("SET k 3") == b"+OK\r\n").then_some(()));
    pass(Duration::from_millis(100));
    client.expect("GET k", "$1\r\n3\r\n");
}
