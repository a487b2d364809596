//! `pool`, `tune` and `relay`, briefly.

use std::{path::Path, process::Command, time::Duration};

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::Until,
    serve::relay::Relay,
};

use crate::{
    compare::processes_of,
    scripted::{Act, Scripted},
};

fn json(args: &[&str], directory: &Path) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
    let output = command.args(args).arg("--json").env("TMPDIR", directory).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    assert_eq!(log, "");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn producers_push_through_the_pool_to_the_embedded_upstream() {
    let args = ["pool", "--producers", "100", "--workers", "2", "--queue", "64", "--seconds", "0.4", "--warmup", "0.1"];
    let found = json(&[&args[..], &["--verify"]].concat(), Path::new("/tmp"));
    assert!(found["rate"].as_f64().unwrap() > 100.0, "{found}");
    assert!(found["verified"].as_u64().unwrap() > 0, "{found}");
    let (queued, all) = (&found["queued"]["p50_us"], &found["latency"]["p50_us"]);
    assert!(queued.as_f64().unwrap() <= all.as_f64().unwrap(), "{found}");
}

#[test]
fn the_pool_form_refuses_what_would_hold_it_up() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
    let output = command.args(["pool", "--mix", "blocking"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tuning_writes_its_answer_and_keeps_comments() {
    let respool = Path::new(env!("CARGO_BIN_EXE_respool-loadtest")).with_file_name("respool");
    assert!(respool.is_file(), "build the gateway first: cargo build -p respool");
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let (directory, url) = (tempfile::tempdir().unwrap(), upstream.target.url());
    let file = directory.path().join("respool.toml");
    std::fs::write(&file, "# mine\n[pool]\nworkers = 3 # before\n").unwrap();
    let (path, own) = (file.to_str().unwrap().to_owned(), directory.path().to_owned());
    let tuned = tokio::task::spawn_blocking(move || {
        let args = ["tune", "--upstream", &url, "--write", &path, "--connections", "8", "--seconds", "0.1"];
        json(&[&args[..], &["--budget", "2", "--keys", "100"]].concat(), &own)
    })
    .await
    .unwrap();
    let workers = tuned["choice"]["point"]["workers"].as_u64().unwrap();
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.starts_with(&format!("# mine\n[pool]\nworkers = {workers} # before\n")), "{written}");
    assert!(written.contains("pipeline_depth = "), "{written}");
    assert!(tuned["ended_early"].as_str().unwrap().contains("budget"), "{tuned}");
    assert_eq!(processes_of(directory.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_relay_adds_its_delay_and_nothing_else() {
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let listen = "127.0.0.1:0".parse().unwrap();
    let relay = Relay::bind(listen, upstream.target.clone(), Duration::from_millis(5)).await.unwrap();
    let mut load = upstream.load();
    load.target = relay.target().unwrap();
    (load.verify, load.until) = (true, Until::Count(200));
    let relaying = tokio::spawn(relay.run());
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    relaying.abort();
    assert_eq!((outcome.operations, outcome.counts.wrong_total()), (200, 0));
    assert!((5_000.0..50_000.0).contains(&outcome.latency.p50_us), "{}", outcome.latency.p50_us);
}
