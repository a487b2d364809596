//! One test for each bug that was found, which it names; it fails where the bug is back.

use std::{
    io::{BufRead, BufReader, Write},
    sync::mpsc,
    thread,
    time::Duration,
};

use pool::{Endpoint, JobError, Pool, Sent, Settings, Stage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::upstream::{
    Peer, UNKNOWN, burst, burst_in, burst_of, calls, echo, read_only, replies, resp3, settings, settle,
};

const SECOND: Duration = Duration::from_secs(1);

/// Bug: attempts that had failed before a connection was made still slowed down its renewal.
#[tokio::test(start_paused = true)]
async fn an_orderly_renewal_is_not_slowed_down_by_failures_of_long_ago() {
    let (endpoint, arrivals) = Endpoint::memory();
    let (lifetime, delay) = (500 * SECOND, 60 * SECOND);
    let delays = Settings { reconnect_delay_min: delay, reconnect_delay_max: delay, ..settings(endpoint) };
    let pool = Pool::start(Settings { lifetime, ..delays });
    for _ in 0..2 {
        drop(arrivals.recv().await);
    }
    let mut peer = Peer::accept(&arrivals).await;
    assert!(peer.next().await.is_none());
    let ended = Instant::now();
    let _next = Peer::accept(&arrivals).await;
    assert!(ended.elapsed() < SECOND, "{:?}", ended.elapsed());
    drop(pool);
}

/// Bug: a caller whose call was dropped while its job was queued gave its next job the same ticket, so
/// that the next job was thrown away, and answered that its worker was gone.
#[tokio::test(start_paused = true)]
async fn a_caller_is_good_for_further_calls_after_one_was_dropped() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { pipeline_depth: 1, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let (mut busy, mut caller) = (pool.caller(), pool.caller());
    let busy = tokio::spawn(async move { busy.call(burst(&["A"])).await });
    settle().await;
    assert!(timeout(Duration::from_millis(5), caller.call(burst(&["B"]))).await.is_err(), "B is queued and dropped");
    let third = tokio::spawn(async move { caller.call(burst(&["C"])).await });
    for request in ["A", "B", "C"] {
        assert_eq!(peer.echo_next().await, [request]);
    }
    assert_eq!(replies(busy.await.unwrap()), "+A\r\n");
    assert_eq!(replies(third.await.unwrap()), "+C\r\n");
}

/// Bug: each job got a ticket that those who look on did not know, so that a client whose request was with the
/// upstream was shown as waiting for a worker.
#[tokio::test(start_paused = true)]
async fn onlookers_see_that_a_job_is_in_flight() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { pipeline_depth: 1, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let (mut first, mut second) = (pool.caller(), pool.caller());
    let (sees_first, sees_second) = (first.progress(), second.progress());
    let first = tokio::spawn(async move { (first.call(burst(&["A"])).await, first.call(burst(&["B"])).await) });
    settle().await;
    let second = tokio::spawn(async move { second.call(burst(&["C"])).await });
    settle().await;
    assert!(matches!(sees_first.stage(), Stage::InFlight(_)), "{:?}", sees_first.stage());
    assert!(matches!(sees_second.stage(), Stage::Waiting(_)), "{:?}", sees_second.stage());
    peer.echo_next().await;
    settle().await;
    assert!(matches!(sees_second.stage(), Stage::InFlight(_)), "{:?}", sees_second.stage());
    peer.echo_next().await;
    settle().await;
    assert!(matches!(sees_first.stage(), Stage::InFlight(_)), "with its second job: {:?}", sees_first.stage());
    peer.echo_next().await;
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!((sees_first.stage(), sees_second.stage()), (Stage::Idle, Stage::Idle));
}

/// Bug: a read-only burst that was lost after `queue_timeout` had passed was queued once more with no
/// time left, and its caller told that no worker had taken it.
#[tokio::test(start_paused = true)]
async fn what_only_reads_and_was_lost_late_says_that_it_was_sent() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { queue_timeout: 2 * SECOND, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    let (answer, ()) = tokio::join!(caller.call(read_only(&["GET", "a"])), async {
        peer.next().await.unwrap();
        sleep(6 * SECOND).await;
        drop(peer);
        std::mem::forget(Peer::accept(&arrivals).await);
    });
    assert!(matches!(answer.failure, Some(JobError::ConnectionLost { sent: Sent::Maybe, .. })), "{:?}", answer.failure);
}

/// Bug: what was still queued at the end of the grace period was left to the callers' own deadlines.
#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_grace_period_everything_is_answered_at_once() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings {
        pipeline_depth: 1,
        queue_capacity: 2,
        queue_timeout: 60 * SECOND,
        reply_timeout: 60 * SECOND,
        ..settings(endpoint)
    });
    let mut peer = Peer::accept(&arrivals).await;
    let caller = pool.caller();
    let calls = calls(&pool, 0..5).await;
    settle().await;
    let started = Instant::now();
    let drained = pool.drain(3 * SECOND).await;
    assert_eq!(started.elapsed(), 3 * SECOND);
    assert_eq!(drained.abandoned, 3, "one in flight and two queued; those at the door were refused");
    let mut sent = Vec::new();
    for call in calls {
        sent.push(call.await.unwrap().failure.unwrap().sent());
    }
    assert_eq!(sent.iter().filter(|sent| **sent == Sent::Maybe).count(), 1, "{sent:?}");
    assert!(started.elapsed() < 3 * SECOND + SECOND / 10, "{:?}", started.elapsed());
    assert_eq!(peer.written().await.len(), 1);
    assert!(peer.is_closed().await);
    drop(caller);
}

/// Bug: every further job that was written to a silent connection made it good for another while, so
/// that under steady load it was never given up.
#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_given_up_under_load_as_well() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { reply_timeout: 3 * SECOND, ..settings(endpoint) });
    let _silent = Peer::accept(&arrivals).await;
    let started = Instant::now();
    let load = tokio::spawn(async move {
        let mut calls = Vec::new();
        loop {
            let mut caller = pool.caller();
            calls.push(tokio::spawn(async move { caller.call(burst(&["GET", "a"])).await }));
            sleep(SECOND).await;
        }
    });
    let _next = Peer::accept(&arrivals).await;
    assert!((5990..7020).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
    load.abort();
}

/// Bug: reads that filled the buffer to the last byte did not count as a sign of life.
#[tokio::test(start_paused = true)]
async fn a_connection_that_sends_without_end_is_not_silent() {
    const CHUNK: usize = 64 * 1024;
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { reply_timeout: 3 * SECOND, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let _gone = timeout(SECOND, pool.caller().call(burst(&["GET", "large"]))).await;
    assert_eq!(peer.next().await.unwrap(), ["GET", "large"]);
    let head = format!("${}\r\n", 20 * CHUNK);
    peer.reply([head.as_bytes(), &vec![b'x'; CHUNK - head.len()]].concat()).await;
    for _ in 0..15 {
        sleep(SECOND).await;
        peer.reply(vec![b'x'; CHUNK]).await;
    }
    peer.reply([&vec![b'x'; 4 * CHUNK + head.len()][..], b"\r\n"].concat()).await;
    settle().await;
    assert_eq!(pool.status().lost, 0);
}

/// Bug: the replies to the first requests of a burst that is still being written were taken for
/// replies to nothing, and the connection was given up.
#[tokio::test(start_paused = true)]
async fn replies_may_come_before_their_burst_is_wholly_written() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let value = "x".repeat(50_000);
    let requests = [["SET", "key", &value]; 4];
    let requests: Vec<&[&str]> = requests.iter().map(<[&str; 3]>::as_slice).collect();
    let mut caller = pool.caller();
    let (answer, ()) = tokio::join!(caller.call(burst_of(&requests)), async {
        for number in 0..4 {
            peer.next().await.unwrap();
            peer.reply(format!(":{number}\r\n")).await;
            settle().await;
        }
    });
    assert_eq!(replies(answer), ":0\r\n:1\r\n:2\r\n:3\r\n");
    assert_eq!(pool.status().lost, 0);
}

/// Bug: `reply_bytes_max` also held for the worker's own requests, so that a refused `SELECT` looked
/// like a granted one and the job ran in another database.
#[tokio::test(start_paused = true)]
async fn reply_bytes_max_hides_no_refused_select() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(Settings { reply_bytes_max: 10, ..settings(endpoint) });
    let mut peer = Peer::accept(&arrivals).await;
    let mut caller = pool.caller();
    let (answer, rest) = tokio::join!(caller.call(burst_in(99, &["SET", "a", "1"])), async {
        assert_eq!(peer.next().await.unwrap(), ["SELECT", "99"]);
        peer.reply("-ERR DB index is out of range\r\n").await;
        let rest = peer.written().await;
        peer.reply("+OK\r\n").await;
        rest
    });
    assert_eq!(answer.failure, Some(JobError::StateRefused("ERR DB index is out of range".into())));
    assert_eq!(rest, [[""; 2]; 0]);
}

/// Bug: `HELLO 3` was sent to an upstream that had refused it at login; the refusal then cost every
/// job on that connection its reply.
#[tokio::test(start_paused = true)]
async fn a_job_of_a_version_that_the_upstream_does_not_speak_fails_alone_and_without_running() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut peer = Peer::accept(&arrivals).await;
    let (mut before, mut caller, mut other) = (pool.caller(), pool.caller(), pool.caller());
    let (first, answer, fine, written) = tokio::join!(
        before.call(burst(&["GET", "before"])),
        caller.call(resp3(&["DEL", "a"])),
        other.call(burst(&["GET", "b"])),
        async {
            let written = peer.written().await;
            for request in &written {
                peer.reply(if request[0] == "HELLO" { b"-NOPROTO\r\n".to_vec() } else { echo(request) }).await;
            }
            written
        }
    );
    assert_eq!(replies(first), "+GET before\r\n");
    assert_eq!(answer.failure.as_ref().map(JobError::sent), Some(Sent::No));
    assert!(matches!(answer.failure, Some(JobError::StateRefused(_))), "{:?}", answer.failure);
    assert_eq!(replies(fine), "+GET b\r\n");
    assert_eq!(written, [["GET", "before"], ["GET", "b"]]);
    assert_eq!(pool.status().lost, 0);
}

/// Bug: what an upstream sent behind the replies to a login was dropped as far as the login had read it,
/// which left the connection in the middle of a reply.
#[tokio::test(start_paused = true)]
async fn a_connection_with_more_replies_than_its_login_asked_for_is_not_used() {
    let (endpoint, arrivals) = Endpoint::memory();
    let pool = Pool::start(settings(endpoint));
    let mut caller = pool.caller();
    let call = tokio::spawn(async move { caller.call(burst(&["GET", "a"])).await });
    let mut peer = Peer::new(arrivals.recv().await.unwrap());
    while let Some(request) = peer.next().await {
        peer.reply(UNKNOWN).await;
        if request[0] == "CONFIG" {
            break;
        }
    }
    peer.reply(format!("+{}\r\n+not for a\r\n", "x".repeat(1000))).await;
    assert!(peer.next().await.is_none(), "nothing is written to it");
    let answer = call.await.unwrap();
    assert!(matches!(&answer.failure, Some(JobError::UpstreamDown(_))), "{:?}", answer.failure);
    assert_eq!(pool.status().opened, 0, "it never counted as connected");
}

/// Bug: a job was written to a connection that the upstream had closed while it was idle, before the news
/// was read: it might have been executed, as far as its caller was told.
#[tokio::test]
async fn a_connection_closed_while_idle_takes_no_job_along() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let pool = Pool::start(settings(Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port())));
    let mut caller = pool.caller();
    let call = tokio::spawn(async move { caller.call(burst(&["INCR", "a"])).await });
    for (first, last) in [(true, false), (false, false), (false, false), (false, true)] {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut login = Vec::new();
        // The first login asks more than those that follow.
        for (end, answers) in if first { &[("worker-1", 2), ("timeout", 2)][..] } else { &[("worker-1", 1)] } {
            while !login.ends_with(format!("{end}\r\n").as_bytes()) {
                stream.read_buf(&mut login).await.unwrap();
            }
            // The last of the replies and the end come at once, and the job is queued already.
            stream.write_all(&UNKNOWN.repeat(*answers)).await.unwrap();
        }
        if last {
            timeout(5 * SECOND, stream.read_buf(&mut login)).await.expect("the job is tried again").unwrap();
            stream.write_all(b":1\r\n").await.unwrap();
            assert_eq!(replies(call.await.unwrap()), ":1\r\n");
            return;
        }
    }
}

/// One request, its arguments.
fn request(upstream: &mut impl BufRead) -> Vec<String> {
    let mut line = || {
        let mut line = String::new();
        upstream.read_line(&mut line).expect("the pool keeps the connection");
        line.trim_end().to_owned()
    };
    let args = line()[1..].parse().expect("an array");
    (0..args).map(|_| (line(), line()).1).collect()
}

/// Bug: the upstream had died before many jobs were written, and only the runtime had not looked yet: all who had just had
/// replies were told that their next request might have been executed.
#[tokio::test]
async fn nothing_is_written_to_an_upstream_that_has_ended() {
    const JOBS: usize = 40;
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let pool = Pool::start(settings(Endpoint::tcp("127.0.0.1", listener.local_addr().unwrap().port())));
    let ((end, is_to_end), (ends, has_ended)) = (mpsc::channel(), mpsc::channel());
    let upstream = thread::spawn(move || {
        for (name, times) in [("GET", 1), ("INCR", JOBS)] {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            for _ in 0..times {
                while request(&mut stream)[0] != name {
                    stream.get_mut().write_all(UNKNOWN).unwrap();
                }
                stream.get_mut().write_all(b":1\r\n").unwrap();
            }
            is_to_end.recv().unwrap();
            drop(stream);
            ends.send(()).unwrap();
        }
    });
    assert_eq!(replies(pool.caller().call(burst(&["GET", "a"])).await), ":1\r\n");
    end.send(()).unwrap();
    // Nothing else runs on this thread meanwhile.
    has_ended.recv().unwrap();
    let mut calls = JoinSet::new();
    for mut caller in (0..JOBS).map(|_| pool.caller()) {
        calls.spawn(async move { caller.call(burst(&["INCR", "a"])).await });
    }
    for answer in calls.join_all().await {
        assert_eq!(replies(answer), ":1\r\n");
    }
    end.send(()).unwrap();
    upstream.join().unwrap();
}
