//! The floor: a reply to every request, one system call to read and one to write, and an end when asked.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::{Load, Until},
    system::{Wanted, peers},
    target::Target,
};
use rustix::process::{Pid, Signal, kill_process};

struct Floor {
    child: Child,
    target: Target,
}

impl Floor {
    fn start(more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
        let mut child = command.arg("floor").args(more).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, target: line.trim().parse().unwrap() }
    }

    /// System calls so far that read and that wrote.
    fn calls(&self) -> (u64, u64) {
        let text = std::fs::read_to_string(format!("/proc/{}/io", self.child.id())).unwrap();
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse::<u64>().unwrap()
        };
        (figure("syscr:"), figure("syscw:"))
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

#[tokio::test]
async fn every_request_costs_one_call_to_read_and_one_to_write() {
    let floor = Floor::start(&[]);
    let mut load = Load::new(floor.target.clone());
    (load.connections, load.warmup, load.until) = (4, std::time::Duration::ZERO, Until::Count(2_000));
    let before = floor.calls();
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!((outcome.operations, outcome.exit_code()), (2_000, 0));
    let after = floor.calls();
    // Besides them, a client that closes is read once more.
    assert!((2_000..2_020).contains(&(after.0 - before.0)), "{before:?} {after:?}");
    assert!((2_000..2_020).contains(&(after.1 - before.1)), "{before:?} {after:?}");
}

#[tokio::test]
async fn every_operation_of_the_harness_is_answered_over_both_doors() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("floor");
    let floor = Floor::start(&["--socket", socket.to_str().unwrap()]);
    for target in [floor.target.clone(), Target::unix(socket)] {
        let mut load = Load::new(target);
        load.mix = "ping,get,set,incr,mget,lpush,lrange,transaction,blocking".parse().unwrap();
        // More replies at a time than a socket takes.
        (load.pipeline, load.sizes, load.until) = (100, "60000".parse().unwrap(), Until::Count(3_000));
        (load.connections, load.fill, load.keys, load.clean) = (10, true, 10, true);
        let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
        assert_eq!((outcome.operations, outcome.exit_code()), (3_000, 0), "{:?}", outcome.counts);
    }
}

#[tokio::test]
async fn a_bare_gateway_gives_everybody_the_own_replies_over_one_connection() {
    let directory = tempfile::tempdir().unwrap();
    let redis = peers::redis(directory.path(), &Wanted::default()).await.unwrap();
    let socket = directory.path().join("bare");
    let (upstream, door) = (redis.target.address_text(), socket.to_str().unwrap());
    let bare = Floor::start(&["--socket", door, "--upstream", &upstream]);
    for target in [bare.target.clone(), Target::unix(socket)] {
        let mut load = Load::new(target);
        load.mix = "ping,get:5,set:2,incr,mget,lpush,lrange".parse().unwrap();
        // Requests and replies of more than one read, and clients whose places others take.
        (load.pipeline, load.sizes, load.reconnect_every) = (20, "50-100000".parse().unwrap(), Some(150));
        (load.connections, load.fill, load.keys, load.verify) = (10, true, 50, true);
        (load.until, load.clean) = (Until::Count(5_000), true);
        let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
        assert_eq!((outcome.operations, outcome.exit_code()), (5_000, 0), "{:?}", outcome.counts);
        assert!(outcome.counts.verified > 1_000, "{:?}", outcome.counts);
    }
}
