//! Two users at once, many clients each, while all that may change does: the configuration and the passwords, connections
//! that are killed, an upstream that stands still or dies. No reply, key or right of one reaches the other.
//! `./tests/run soak` does it for as long as it is told to, with two hundred clients of each.

use std::{
    env, fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::actor::{Actor, Found, User};
use crate::support::{Client, Gateway, Redis, pass, raise_descriptor_limit, seeded, wait};

/// Requests are given up after so long.
const REPLY_TIMEOUT: Duration = Duration::from_millis(400);

/// Between two faults.
const PAUSE: Duration = Duration::from_millis(150);

const CONFIG: &str =
    "[auth]\nmode = \"upstream\"\nfailure_delay_ms = 1\nfailures_max = 1000\n[pool]\nreply_timeout_ms = 400";

/// Who keeps its users where a restart finds them.
fn redis(users: &[User; 2]) -> (Redis, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("users.acl");
    let ops = "user default on nopass ~* &* +@all\nuser ops on >ops ~* &* +@all\n".to_owned();
    let text = users.iter().fold(ops, |text, user| {
        let name = user.name;
        text + &format!("user {name} on >{name}0 ~{name}:* &{name}.* +@all -@admin -@dangerous\n")
    });
    fs::write(&path, text).expect("written");
    let redis = Redis::start(&["--aclfile", path.to_str().expect("text")]);
    (redis, directory)
}

/// Does something to everybody.
struct Trouble<'t> {
    redis: Redis,
    gateway: Gateway,
    users: &'t [User; 2],
    rng: Rng,
    caused: usize,
}

impl Trouble<'_> {
    fn direct(&self) -> Client {
        wait("a connection", || Client::try_connect(self.redis.address()).ok())
    }

    fn cause(&mut self) {
        self.caused += 1;
        let user = &self.users[self.rng.usize(..2)];
        match self.rng.usize(..6) {
            0 | 1 => {
                let workers = self.rng.usize(1..4);
                self.gateway.rewrite(&format!(
                    "[users.{}]\nworkers = {workers}\n[auth]\ncache_ms = {}",
                    user.name,
                    50 * workers
                ));
                self.gateway.hang_up();
            }
            2 => {
                let (name, next) = (user.name, format!("{}{}", user.name, self.caused));
                let mut direct = self.direct();
                direct.expect(&format!("ACL SETUSER {name} resetpass >{next}"), "+OK\r\n");
                direct.expect("ACL SAVE", "+OK\r\n");
                *user.password.lock().expect("nobody panics with it") = next;
                direct.line(&format!("CLIENT KILL USER {name}"));
            }
            3 => drop(self.direct().line(&format!("CLIENT KILL USER {}", user.name))),
            4 => {
                self.redis.freeze();
                pass(REPLY_TIMEOUT.mul_f64(0.5 + self.rng.f64()));
                self.redis.thaw();
            }
            _ => {
                self.redis.kill9();
                self.redis.restart();
            }
        }
    }
}

/// Has `clients` of each user go on for `time`.
fn together(clients: usize, time: Duration) {
    raise_descriptor_limit();
    let users = [User::new("ada", "bob"), User::new("bob", "ada")];
    let (redis, _directory) = redis(&users);
    let url = redis.url().replace("redis://", "redis://ops:ops@");
    let builder = Gateway::builder().upstream(&url).config(CONFIG).allow_lost_upstream();
    let gateway = builder.allow("login refused").allow("reply_timeout_ms").start();
    let address = gateway.address();
    let mut trouble = Trouble { redis, gateway, users: &users, rng: seeded("two users"), caused: 0 };
    let (over, found) = (AtomicBool::new(false), [Found::default(), Found::default()]);
    thread::scope(|scope| {
        let actors = Actor::begin_all(scope, clients, address, (&users, &found), &over);
        let ends = Instant::now() + time;
        while Instant::now() < ends && !actors.iter().any(thread::ScopedJoinHandle::is_finished) {
            pass(PAUSE);
            trouble.cause();
        }
        over.store(true, Ordering::Relaxed);
    });
    users.iter().zip(&found).for_each(|(user, found)| found.tell(user));
    println!("{} times something was done to them", trouble.caused);
}

#[test]
fn no_reply_key_or_right_of_one_user_reaches_another_whatever_breaks() {
    together(8, Duration::from_secs(6));
}

#[test]
#[ignore = "takes as long as it is told to, by ./tests/run soak"]
fn soak() {
    let seconds = env::var("RESPOOL_SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    together(200, Duration::from_secs(seconds.unwrap_or(60)));
}
