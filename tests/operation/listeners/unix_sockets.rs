//! The file of a unix socket: who may connect, what becomes of a file that is there already, and who takes it away.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crate::support::{Client, DEADLINE, Gateway, Process, Redis, wait};

fn start(redis: &Redis, path: &Path, more: &str) -> Gateway {
    let config = format!("listen = [\"unix:{}?mode=620\", \"127.0.0.1:0\"]\n{more}", path.display());
    Gateway::builder().upstream(&redis.url()).config(&config).start()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("r.sock");
    (directory, path)
}

fn ping(path: &Path) {
    Client::try_connect_unix(path).expect("connects").expect("PING", "+PONG\r\n");
}

#[test]
fn a_file_has_the_permissions_that_are_configured_and_goes_with_the_gateway() {
    let (redis, (directory, path)) = (Redis::start(&[]), place());
    let mut gateway = start(&redis, &path, "");
    assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o620);
    ping(&path);
    gateway.terminate();
    gateway.wait_end(DEADLINE);
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0, "nothing stays behind");
}

#[test]
fn the_file_of_a_killed_gateway_is_replaced() {
    let (redis, (_directory, path)) = (Redis::start(&[]), place());
    let mut command = Gateway::command();
    command.args(["--listen", &format!("unix:{}", path.display()), "--upstream", &redis.url()]).stderr(Stdio::null());
    let mut killed = Process::new(command.spawn().expect("started"));
    wait("the gateway to listen", || Client::try_connect_unix(&path).ok());
    killed.kill9();
    assert!(path.exists());
    let _gateway = start(&redis, &path, "");
    ping(&path);
}

#[test]
fn the_file_of_a_gateway_that_runs_is_left_alone() {
    let (redis, (_directory, path)) = (Redis::start(&[]), place());
    let _gateway = start(&redis, &path, "");
    let listen = format!("unix:{}", path.display());
    let second = Gateway::command().args(["--listen", &listen]).output().expect("started");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains(&listen) && said.contains("another process listens there"), "{said}");
    assert_eq!(second.status.code(), Some(1));
    ping(&path);
}

#[test]
fn a_file_that_came_later_is_not_removed() {
    let (redis, (_directory, path)) = (Redis::start(&[]), place());
    let mut gateway = start(&redis, &path, "");
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "somebody else's").expect("written");
    gateway.terminate();
    gateway.wait_end(DEADLINE);
    assert_eq!(fs::read(&path).expect("still there"), b"somebody else's");
}

#[test]
fn a_new_process_takes_the_file_over_and_no_request_fails() {
    let (redis, (_directory, path)) = (Redis::start(&[]), place());
    let mut gateway = start(&redis, &path, "reuse_port = true");
    let (over, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    ping(&path);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..5 {
            let next = start(&redis, &path, "reuse_port = true");
            gateway.terminate();
            gateway.wait_end(DEADLINE);
            gateway = next;
            let before = served.load(Ordering::Relaxed);
            wait("traffic", || (served.load(Ordering::Relaxed) > before + 50).then_some(()));
        }
        over.store(true, Ordering::Relaxed);
    });
}
