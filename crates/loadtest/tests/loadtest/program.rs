//! The program as a user meets it: arguments, exit codes, files, Ctrl-C.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use loadtest::target::Target;
use tokio::task::spawn_blocking;

use crate::scripted::{Act, Scripted};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
    command.args(args);
    command
}

async fn output(args: Vec<String>) -> Output {
    spawn_blocking(move || program(&args.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap())
        .await
        .unwrap()
}

fn run(target: &Target, more: &[&str]) -> Vec<String> {
    let (target, always) =
        (target.url(), ["run", "--seconds", "0.3", "--warmup", "0", "--connections", "4", "--target"]);
    always.into_iter().chain([target.as_str()]).chain(more.iter().copied()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_piped_run_prints_its_table_and_nothing_else() {
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let output = output(run(&upstream.target, &["--verify"])).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("operations/s") && text.contains("none wrong"), "{text}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[tokio::test]
async fn json_and_html_hold_the_result() {
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.html");
    let output = output(run(&upstream.target, &["--json", "--html", page.to_str().unwrap()])).await;
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(json["rate"].as_f64().unwrap() > 0.0 && json["latency"]["p99_us"].as_f64().unwrap() > 0.0);
    let page = std::fs::read_to_string(page).unwrap();
    // Two charts of bars and three plots.
    assert_eq!(page.matches("role=\"img\"").count(), 5);
    assert!(page.contains("Nothing went wrong.") && page.contains("<td>machine</td>"), "{page}");
    assert!(!page.contains("http"), "the page fetches something");
}

#[tokio::test]
async fn exit_codes_tell_what_happened() {
    let wrong = Scripted::start(|_, _| Act::Say(b":1\r\n")).await;
    assert_eq!(output(run(&wrong.target, &["--verify"])).await.status.code(), Some(1));
    let errors = Scripted::start(|_, _| Act::Say(b"-ERR no\r\n")).await;
    assert_eq!(output(run(&errors.target, &[])).await.status.code(), Some(2));
    let bad = output(vec!["run".to_owned(), "--mix".to_owned(), "nonsense".to_owned()]).await;
    assert_eq!(bad.status.code(), Some(64));
    assert!(String::from_utf8(bad.stderr).unwrap().contains("no operation `nonsense`"));
    let absent = output(vec!["run".to_owned(), "--target".to_owned(), "unix:///nowhere/at/all".to_owned()]).await;
    assert_eq!(absent.status.code(), Some(69));
    assert!(String::from_utf8(absent.stderr).unwrap().contains("cannot connect to unix:///nowhere/at/all"));
}

#[tokio::test]
async fn ctrl_c_prints_what_there_is() {
    let (seen, mut first) = tokio::sync::watch::channel(false);
    let upstream = Scripted::start(move |index, _| {
        if index == 1_000 {
            seen.send_replace(true);
        }
        Act::Answer
    })
    .await;
    let target = upstream.target.url();
    let mut child = program(&["run", "--seconds", "60", "--warmup", "0", "--target", &target])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    first.wait_for(|seen| *seen).await.unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let (status, lines) = spawn_blocking(move || {
        let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
        (child.wait().unwrap(), lines)
    })
    .await
    .unwrap();
    assert_eq!(status.code(), Some(130), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("operations/s")), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("interrupted")), "{lines:?}");
}
