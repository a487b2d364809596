//! What a command leaves behind in its target: it says so, and removes it when asked to.

use std::{path::Path, process::Command, time::Duration};

use loadtest::{
    drive::{drive, interrupt::Interrupt},
    load::{Load, Until},
    system::{System, Wanted, peers},
    target::Target,
};
use resp::Value;

use crate::scripted::{Act, Scripted};

async fn ask(redis: &System, args: &[&str]) -> Value {
    redis.target.ask(args, Duration::from_secs(5)).await.unwrap()
}

/// A load of every operation, of a hundred operations.
fn load(target: &Target) -> Load {
    let mut load = Load::new(target.clone());
    load.mix = "get,set,incr,lpush,transaction,blocking".parse().unwrap();
    (load.connections, load.keys, load.fill) = (4, 1_200, true);
    (load.warmup, load.until) = (Duration::from_millis(100), Until::Count(100));
    load
}

#[tokio::test]
async fn cleaning_removes_what_the_load_has_written_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let redis = peers::redis(directory.path(), &Wanted::default()).await.unwrap();
    ask(&redis, &["SET", "loadtest:mine", "1"]).await;
    let mut load = load(&redis.target);
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    let Value::Integer(left) = ask(&redis, &["DBSIZE"]).await else { panic!("no size") };
    assert!(left > 1_201 && left as u64 <= outcome.keys.at_most, "{left}, {:?}", outcome.keys);
    assert_eq!((outcome.keys.removed, outcome.exit_code()), (None, 0));
    load.clean = true;
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert_eq!(ask(&redis, &["DBSIZE"]).await, Value::Integer(1));
    assert_eq!(ask(&redis, &["GET", "loadtest:mine"]).await, Value::Bulk("1".into()));
    assert!(outcome.keys.removed.unwrap() >= 1_200, "{:?}", outcome.keys);
}

#[tokio::test]
async fn a_target_that_lets_nothing_be_removed_is_named() {
    let upstream = Scripted::start(|_, _| Act::Answer).await;
    let mut load = upstream.load();
    (load.until, load.clean) = (Until::Count(100), true);
    let outcome = drive(&load, &Interrupt::never(), |_| {}).await.unwrap();
    assert!(outcome.keys.not_removed.as_ref().unwrap().contains("DEL"), "{:?}", outcome.keys);
    assert_eq!(outcome.exit_code(), 2);
}

#[tokio::test]
async fn reports_say_what_is_left_and_their_totals_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let redis = peers::redis(directory.path(), &Wanted::default()).await.unwrap();
    let text = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
        let url = redis.target.url();
        command.args(["run", "--seconds", "0.3", "--warmup", "0.2", "--verify", "--target", &url]).args(more);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let found = text(&["--connections", "50", "--pipeline", "20"]);
    assert!(found.contains("up to 10,000 keys that begin with `loadtest:` stay in the target"), "{found}");
    let before = |word: &str| -> u64 {
        let (head, _) = found.split_once(word).unwrap_or_else(|| panic!("no `{word}`: {found}"));
        let digits = head.trim_end().rsplit(['\n', ' ', '(']).next().unwrap().replace(',', "");
        digits.parse().unwrap_or_else(|_| panic!("no number before `{word}`: {found}"))
    };
    let row = |name: &str| -> u64 {
        let line = found.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().replace(',', "").parse().unwrap()
    };
    let late = if found.contains("more were answered") { before(" more were answered") } else { 0 };
    assert_eq!(before(" answered in ") + late, row("all"), "{found}");
    assert_eq!(row("get") + row("set"), row("all"), "{found}");
    assert_eq!(before(" replies verified"), row("all") + before(" operations of the warm-up"), "{found}");
    assert!(text(&["--clean"]).contains("keys that begin with `loadtest:` removed again"));
    assert!(!text(&["--mix", "ping"]).contains("keys that begin"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tuning_removes_what_it_has_written_to_the_upstream() {
    let respool = Path::new(env!("CARGO_BIN_EXE_respool-loadtest")).with_file_name("respool");
    assert!(respool.is_file(), "build the gateway first: cargo build -p respool");
    let directory = tempfile::tempdir().unwrap();
    let redis = peers::redis(directory.path(), &Wanted::default()).await.unwrap();
    let (own, url) = (directory.path().to_owned(), redis.target.url());
    let output = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
        command.args([
            "tune",
            "--upstream",
            &url,
            "--connections",
            "8",
            "--seconds",
            "0.1",
            "--budget",
            "1",
            "--clean",
        ]);
        command.env("TMPDIR", own).output().unwrap()
    })
    .await
    .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("10,000 keys that begin with `loadtest:` removed again"), "{text}");
    assert_eq!(ask(&redis, &["DBSIZE"]).await, Value::Integer(0));
}
