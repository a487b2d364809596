//! Upstreams with a socket, for the typed client: the embedded mini-redis and a real Redis process, each
//! on a port of its own, both gone with the value that stands for them.

use std::{
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use tokio::task::JoinHandle;

/// A mini-redis in this process.
pub struct Embedded {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Embedded {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a loopback port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            mini_redis::server::run(listener, std::future::pending::<()>()).await.expect("mini-redis runs");
        });
        Self { address, task }
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A `redis-server` that keeps nothing.
pub struct Redis {
    pub address: SocketAddr,
    process: Child,
}

impl Redis {
    pub fn start() -> Self {
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
        let address = free.local_addr().expect("bound");
        drop(free);
        let mut process = Command::new("redis-server")
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("redis-server is needed for this test: install it, on Debian with apt-get install redis-server");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let ready = lines.by_ref().any(|line| line.expect("text").contains("Ready to accept connections"));
        assert!(ready, "redis-server ended before it was ready");
        Self { address, process }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It keeps nothing that could be lost.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
