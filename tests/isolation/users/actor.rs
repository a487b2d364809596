//! A client of one user that says nothing twice: it knows what each reply has to be, whatever breaks meanwhile. What it
//! holds to be wrong fails its test: anything of another client or user, a right that its user does not have, or the lack
//! of one that it has.

use std::{
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{Scope, ScopedJoinHandle},
};

use crate::support::{Client, requests, wait};

/// A user, with what its clients have in common.
pub struct User {
    pub name: &'static str,
    pub other: &'static str,
    /// As the upstream knows it, now or in a moment.
    pub password: Mutex<String>,
}

impl User {
    pub fn new(name: &'static str, other: &'static str) -> Self {
        Self { name, other, password: Mutex::new(format!("{name}0")) }
    }

    fn password(&self) -> String {
        self.password.lock().expect("nobody panics with it").clone()
    }
}

/// What all clients have found.
#[derive(Default)]
pub struct Found {
    pub verified: AtomicU64,
    /// Errors of the gateway's own and lost connections, which the faults explain.
    pub failed: AtomicU64,
}

impl Found {
    /// Says what was found, which has to be something.
    pub fn tell(&self, user: &User) {
        let [verified, failed] = [&self.verified, &self.failed].map(|count| count.load(Ordering::Relaxed));
        println!("{}: {verified} replies verified, {failed} times begun anew", user.name);
        assert!(verified > 100, "{verified}");
    }
}

pub struct Actor<'t> {
    user: &'t User,
    number: usize,
    gateway: SocketAddr,
    found: &'t Found,
    client: Option<Client>,
    turns: u64,
}

/// What a reply that is no error of the gateway's own has to be.
enum Due {
    Exactly(String),
    /// A value of this client, or nothing where the upstream has forgotten it.
    Own,
    NoRight,
}

impl<'t> Actor<'t> {
    fn new(user: &'t User, number: usize, gateway: SocketAddr, found: &'t Found) -> Self {
        Self { user, number, gateway, found, client: None, turns: 0 }
    }

    /// Has so many clients of each user go on until that is `over`.
    pub fn begin_all<'scope>(
        scope: &'scope Scope<'scope, 't>,
        clients: usize,
        gateway: SocketAddr,
        (users, found): (&'t [User; 2], &'t [Found; 2]),
        over: &'t AtomicBool,
    ) -> Vec<ScopedJoinHandle<'scope, ()>> {
        let begin = |number: usize| {
            scope.spawn(move || {
                let mut actor = Actor::new(&users[number % 2], number / 2, gateway, &found[number % 2]);
                while !over.load(Ordering::Relaxed) {
                    actor.turn();
                }
            })
        };
        (0..2 * clients).map(begin).collect()
    }

    /// What nobody else writes.
    fn own(&self) -> String {
        format!("{}:{}:", self.user.name, self.number)
    }

    fn log_in(&self) -> Client {
        let version = 2 + self.turns % 2;
        wait("a login", || {
            let mut client = Client::try_connect(self.gateway).ok()?;
            let (name, password) = (self.user.name, self.user.password());
            let reply = match self.turns % 3 {
                0 => client.try_line(&format!("HELLO {version} AUTH {name} {password}")),
                _ => client.try_line(&format!("AUTH {name} {password}")),
            };
            let is_in = reply.is_ok_and(|reply| !reply.starts_with(b"-"));
            is_in.then_some(client)
        })
    }

    /// Sends all and holds each reply against what is due. Where one is missing, the client begins anew.
    fn say(&mut self, said: &[(String, Due)]) -> Option<()> {
        let mut client = self.client.take().unwrap_or_else(|| self.log_in());
        let lines: Vec<&str> = said.iter().map(|(line, _)| line.as_str()).collect();
        let mut replies = Vec::new();
        if client.try_send_raw(&requests(&lines)).is_ok() {
            replies.extend(lines.iter().map_while(|_| client.try_read_reply().ok().flatten()));
        }
        let mut is_whole = replies.len() == said.len();
        for (reply, (line, due)) in replies.iter().zip(said) {
            let text = String::from_utf8_lossy(reply);
            if text.starts_with("-ERR respool: ") || text.starts_with("-EXECABORT") {
                is_whole = false;
                continue;
            }
            self.verify(line, &text, due);
            self.found.verified.fetch_add(1, Ordering::Relaxed);
        }
        if is_whole {
            self.client = Some(client);
            return Some(());
        }
        self.found.failed.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn verify(&self, line: &str, reply: &str, due: &Due) {
        let own = self.own();
        let is_right = match due {
            Due::Exactly(expected) => reply == expected,
            Due::Own => {
                let value = reply.rsplit("\r\n").nth(1).unwrap_or_default();
                value.starts_with(&own) || matches!(value, "$-1" | "_" | "*-1")
            }
            Due::NoRight => reply.starts_with('-') && reply.contains("NOPERM"),
        };
        assert!(is_right, "{own} got {reply:?} to {line:?}");
    }

    /// Something of everything, and now and then a connection that vanishes with replies on their way.
    pub fn turn(&mut self) {
        self.turns += 1;
        let key = format!("{}k", self.own());
        if self.turns.is_multiple_of(11)
            && let Some(mut client) = self.client.take()
        {
            let lines = vec![format!("GET {key}"); 50];
            let _ = client.try_send_raw(&requests(&lines.iter().map(String::as_str).collect::<Vec<_>>()));
            client.reset();
        }
        let _ = match self.turns % 4 {
            0 => self.plain(&key),
            1 => self.transactions(&key),
            2 => self.waits(),
            _ => self.others(),
        };
    }

    fn whoami(&self) -> (String, Due) {
        let name = self.user.name;
        ("ACL WHOAMI".to_owned(), Due::Exactly(format!("${}\r\n{name}\r\n", name.len())))
    }

    fn set(&self, key: &str) -> (String, Due) {
        (format!("SET {key} {}{}", self.own(), self.turns), Due::Exactly("+OK\r\n".to_owned()))
    }

    fn plain(&mut self, key: &str) -> Option<()> {
        let get = || (format!("GET {key}"), Due::Own);
        self.say(&[self.whoami(), self.set(key), get(), get()])?;
        let script = format!("EVAL return(redis.call('GET',KEYS[1])) 1 {key}");
        self.say(&[(script, Due::Own), get(), self.whoami()])
    }

    fn transactions(&mut self, key: &str) -> Option<()> {
        let exactly = |line: &str, reply: &str| (line.to_owned(), Due::Exactly(reply.to_owned()));
        let queued = |line: &str| (line.to_owned(), Due::Exactly("+QUEUED\r\n".to_owned()));
        let (ok, get) = ("+OK\r\n", format!("GET {key}"));
        self.say(&[exactly("MULTI", ok), queued(&get), ("EXEC".to_owned(), Due::Own)])?;
        // Step by step, on a connection that is lent.
        self.say(&[exactly(&format!("WATCH {key}"), ok)])?;
        self.say(&[self.whoami(), (get.clone(), Due::Own)])?;
        self.say(&[exactly("MULTI", ok)])?;
        self.say(&[queued(&get)])?;
        self.say(&[("EXEC".to_owned(), Due::Own)])
    }

    fn waits(&mut self) -> Option<()> {
        let (list, other, name) = (format!("{}l", self.own()), self.user.other, self.user.name);
        let exactly = |line: String, reply: &str| (line, Due::Exactly(reply.to_owned()));
        self.say(&[(format!("BLPOP {other}:0:l 1"), Due::NoRight), (format!("PUBLISH {other}.0 x"), Due::NoRight)])?;
        let push = format!("EVAL return(redis.call('RPUSH',KEYS[1],ARGV[1])>0) 1 {list} {}{}", self.own(), self.turns);
        self.say(&[exactly(push, ":1\r\n")])?;
        self.say(&[(format!("BLPOP {list} 1"), Due::Own), self.whoami()])?;
        self.say(&[exactly(format!("PUBLISH {name}.{} x", self.number), ":0\r\n")])
    }

    fn others(&mut self) -> Option<()> {
        let other = self.user.other;
        let no = |line: String| (line, Due::NoRight);
        let script = format!("EVAL return(redis.call('GET','{other}:0:k')) 1 {other}:0:k");
        self.say(&[
            no(format!("GET {other}:0:k")),
            no(format!("SET {other}:0:k {}", self.own())),
            no(script),
            no(format!("SUBSCRIBE {other}.0")),
            no(format!("WATCH {other}:0:k")),
            self.whoami(),
        ])
    }
}
