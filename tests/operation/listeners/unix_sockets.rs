//! The file of a unix socket: who may connect, what becomes of a file that is there already, and who takes it away.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use crate::support::{Client, DEADLINE, Gateway, Process, Redis, users, wait};

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
fn a_process_is_the_user_that_its_system_user_stands_for() {
    let (redis, (directory, path)) = (Redis::start(&[]), place());
    let own = fs::metadata(directory.path()).expect("it is there").uid();
    let more = |uid: u32| format!("[auth]\npeers = [\"{uid}:app\"]\nadmins = [\"app\"]\n");
    let start = |uid: u32| {
        let config = format!("listen = [\"unix:{}\", \"127.0.0.1:0\"]\n{}", path.display(), more(uid));
        Gateway::builder().upstream(&redis.url()).config(&config).config(&users(&[("app", "secret")])).start()
    };
    let mut gateway = start(own);
    let mut client = Client::try_connect_unix(&path).expect("connects");
    client.expect("PING", "+PONG\r\n");
    assert!(String::from_utf8_lossy(&client.line("CLIENT INFO")).contains(" user=app "));
    client.expect("RESPOOL CONFIG GET auth.admins", "*2\r\n$11\r\nauth.admins\r\n$7\r\n[\"app\"]\r\n");
    gateway.client().expect("PING", "-NOAUTH Authentication required.\r\n");
    // Another system user counts for those who come after the reload.
    gateway.rewrite(&more(own + 1));
    gateway.hang_up();
    gateway.logs().wait_for("configuration in force", DEADLINE);
    let mut next = Client::try_connect_unix(&path).expect("connects");
    next.expect("PING", "-NOAUTH Authentication required.\r\n");
    next.expect("AUTH app secret", "+OK\r\n");
    client.expect("PING", "+PONG\r\n");
}

#[test]
fn whoever_comes_through_a_balancer_is_not_the_user_of_the_balancer() {
    let (redis, (directory, path)) = (Redis::start(&[]), place());
    let own = fs::metadata(directory.path()).expect("it is there").uid();
    let listen = format!("listen = [\"unix:{}?proxy_protocol=on\", \"127.0.0.1:0\"]\n", path.display());
    let config = format!("{listen}[auth]\npeers = [\"{own}:app\"]");
    let gateway = Gateway::builder().upstream(&redis.url()).config(&config).config(&users(&[("app", "secret")]));
    let _gateway = gateway.allow("auth.peers: ").start();
    for header in ["PROXY UNKNOWN\r\n", "PROXY TCP4 127.0.0.1 127.0.0.1 5 6\r\n"] {
        let mut client = Client::try_connect_unix(&path).expect("connects");
        client.send_raw(header.as_bytes());
        client.expect("PING", "-NOAUTH Authentication required.\r\n");
    }
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
