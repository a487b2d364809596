//! A real Redis: a process of its own on a port of the system's choice, in a directory of its own, that
//! can be killed, started again and frozen. Without `redis-server` the test fails and says how to get it.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use super::{Client, process::Process, wait};

/// Another process may take a port between our look and Redis's start.
const ATTEMPTS: usize = 10;

pub struct Redis {
    process: Process,
    port: u16,
    args: Vec<String>,
    directory: TempDir,
}

impl Redis {
    /// Starts one and waits until it answers. `args` go on its command line.
    pub fn start(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let port = free_port();
        let mut redis = Self { process: spawn(port, &args, &directory), port, args, directory };
        for _ in 0..ATTEMPTS {
            if redis.wait_until_ready() {
                return redis;
            }
            redis.port = free_port();
            redis.process = spawn(redis.port, &redis.args, &redis.directory);
        }
        panic!("redis-server did not start {ATTEMPTS} times");
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// A connection that does not pass the gateway.
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Kills it in the middle of what it does.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again, on the same port and directory.
    pub fn restart(&mut self) {
        self.process = spawn(self.port, &self.args, &self.directory);
        assert!(self.wait_until_ready(), "redis-server did not start again");
    }

    /// As `restart`, with further arguments, and without waiting until it answers.
    pub fn restart_slowly(&mut self, args: &[&str]) {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self.process = spawn(self.port, &self.args, &self.directory);
    }

    /// Stops it where it is; its kernel still takes connections and bytes.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// False if it ended instead.
    fn wait_until_ready(&mut self) -> bool {
        wait("redis-server to answer", || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            let mut client = Client::try_connect(self.address()).ok()?;
            client.try_send_raw(b"INFO server\r\nPING\r\n").ok()?;
            let (info, pong) = (client.try_read_reply().ok()??, client.try_read_reply().ok()??);
            if info.starts_with(b"-NOAUTH") {
                // Without leave to ask, the port alone has to do.
                return Some(true);
            }
            let mine = format!("process_id:{}\r\n", self.process.id());
            // While it loads its data it answers INFO but not PING.
            (String::from_utf8_lossy(&info).contains(&mine) && pong == b"+PONG\r\n").then_some(true)
        })
    }
}

/// A port that nobody has now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn spawn(port: u16, args: &[String], directory: &TempDir) -> Process {
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--daemonize", "no"]);
    command.args(["--port", &port.to_string()]).arg("--dir").arg(directory.path());
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Process::new(child),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("these tests need redis-server: apt-get install redis-server, or run tests/run, which does")
        }
        Err(error) => panic!("cannot start redis-server: {error}"),
    }
}
