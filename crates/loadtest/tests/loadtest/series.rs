//! `pool`, `tune` and `relay`, briefly.

use std::{fs::Permissions, os::unix::fs::PermissionsExt, path::Path, process::Command, time::Duration};

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::Until,
    serve::relay::Relay,
};

use crate::{
    compare::processes_of,
    scripted::{Act, Scripted},
};

/// The exit code and the result.
fn coded_json(args: &[&str], directory: &Path) -> (i32, serde_json::Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
    let output = command.args(args).arg("--json").env("TMPDIR", directory).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    (output.status.code().unwrap(), serde_json::from_slice(&output.stdout).unwrap())
}

fn json(args: &[&str], directory: &Path) -> serde_json::Value {
    let (code, found) = coded_json(args, directory);
    assert_eq!(code, 0, "{found}");
    found
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
async fn tuning_writes_what_it_is_sure_of_and_the_rest_when_told_to() {
    let respool = Path::new(env!("CARGO_BIN_EXE_respool-loadtest")).with_file_name("respool");
    assert!(respool.is_file(), "build the gateway first: cargo build -p respool");
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let (directory, url) = (tempfile::tempdir().unwrap(), upstream.target.url());
    let (real, file) = (directory.path().join("real.toml"), directory.path().join("respool.toml"));
    let before = "# mine\n[pool]\nworkers = 3 # before\n";
    std::fs::write(&real, before).unwrap();
    std::fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink(&real, &file).unwrap();
    let tune = async |more: &'static [&'static str]| {
        let (path, own, url) = (file.to_str().unwrap().to_owned(), directory.path().to_owned(), url.clone());
        tokio::task::spawn_blocking(move || {
            // Two seconds are too few to be sure of anything.
            let args = ["tune", "--upstream", &url, "--write", &path, "--connections", "8", "--seconds", "0.1"];
            coded_json(&[&args[..], &["--budget", "2", "--keys", "100"], more].concat(), &own)
        })
        .await
        .unwrap()
    };
    let (code, tuned) = tune(&[]).await;
    assert_eq!((code, tuned["choice"]["certainty"].as_str()), (3, Some("not-sure")), "{tuned}");
    assert!(tuned["written"]["refused"].as_str().unwrap().contains("not sure; --force"), "{tuned}");
    assert!(tuned["ended_early"].as_str().unwrap().contains("budget"), "{tuned}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let (code, tuned) = tune(&["--force"]).await;
    assert_eq!((code, tuned["written"]["to"].as_str()), (0, file.to_str()), "{tuned}");
    let workers = tuned["choice"]["point"]["workers"].as_u64().unwrap();
    let written = std::fs::read_to_string(&real).unwrap();
    assert!(written.starts_with(&format!("# mine\n[pool]\nworkers = {workers} # before\n")), "{written}");
    assert!(written.contains("pipeline_depth = "), "{written}");
    assert!(file.is_symlink() && real.metadata().unwrap().permissions().mode() & 0o777 == 0o640);
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
