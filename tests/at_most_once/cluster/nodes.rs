//! A cluster as it runs in earnest: three primaries and three replicas, each a process of its own on ports and in a
//! directory of its own.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Client, Gateway, Process, free_port, pass, within};

/// How many of each.
pub const SHARDS: usize = 3;
/// How long a node is silent before the others take it for dead.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(1);
/// Nodes meet in their own time.
pub const READY: Duration = Duration::from_secs(60);

/// A node that does not answer within this time will not.
const STARTED: Duration = Duration::from_secs(15);

/// One process.
pub struct Node {
    process: Process,
    port: u16,
    bus: u16,
    directory: TempDir,
}

/// All of them: the primaries of the beginning first, then a replica of each.
pub struct Nodes(pub Vec<Node>);

impl Node {
    /// Starts one and waits until it answers. Another process may take one of its ports first, or be reached at one; then
    /// it gets others.
    pub fn start() -> Self {
        let mut attempts = 0;
        within(READY, "a node to start", || {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let (port, bus) = (free_port(), free_port());
            let mut node = Self { process: spawn(port, bus, &directory), port, bus, directory };
            attempts += 1;
            let began = Instant::now();
            while !node.is_there() && node.process.ended().is_none() && began.elapsed() < STARTED {
                pass(Duration::from_millis(5));
            }
            assert!(attempts < 10, "redis-server does not start");
            node.is_there().then_some(node)
        })
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    fn is_there(&self) -> bool {
        let Ok(mut client) = Client::try_connect(self.address()) else { return false };
        client.read_timeout(STARTED);
        client.try_line("PING").is_ok_and(|reply| reply == b"+PONG\r\n")
    }

    pub fn try_line(&self, line: &str) -> Option<Vec<u8>> {
        Client::try_connect(self.address()).ok()?.try_line(line).ok()
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    pub fn restart(&mut self) {
        self.process = spawn(self.port, self.bus, &self.directory);
    }

    /// Its name in the cluster.
    pub fn id(&self) -> String {
        text(&self.client().line("CLUSTER MYID"))
    }

    pub fn is_primary(&self) -> bool {
        self.try_line("ROLE").is_some_and(|role| role.starts_with(b"*3\r\n$6\r\nmaster"))
    }

    /// It says that a replica is online before it sends that what is written.
    fn feeds_its_replica(&self) -> bool {
        let heard = |mut client: Client| {
            client.try_line("FUNCTION FLUSH")?;
            client.try_line("WAIT 1 1000")
        };
        Client::try_connect(self.address()).and_then(heard).is_ok_and(|reply| reply == b":1\r\n")
    }

    fn is_ready(&self) -> bool {
        let says = |line: &str, words: &[&str]| {
            self.try_line(line).is_some_and(|said| {
                let said = String::from_utf8_lossy(&said).into_owned();
                words.iter().all(|word| said.contains(word))
            })
        };
        says("CLUSTER INFO", &["cluster_state:ok", "cluster_slots_ok:16384", "cluster_known_nodes:6"])
            && says("INFO replication", &[if self.is_primary() { "state=online" } else { "master_link_status:up" }])
            && (!self.is_primary() || self.feeds_its_replica())
    }
}

/// The text of a bulk string.
pub fn text(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).lines().nth(1).unwrap_or_default().to_owned()
}

fn spawn(port: u16, bus: u16, directory: &TempDir) -> Process {
    let log = fs::File::create(directory.path().join("log")).expect("a log file");
    let (port, bus, timeout) = (port.to_string(), bus.to_string(), NODE_TIMEOUT.as_millis().to_string());
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &port, "--cluster-port", &bus, "--cluster-enabled", "yes", "--save", ""])
        .args(["--cluster-node-timeout", &timeout, "--repl-diskless-sync-delay", "0"])
        .args(["--cluster-require-full-coverage", "no", "--enable-debug-command", "local"])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(log);
    Process::new(command.spawn().expect("redis-server is installed: apt-get install redis-server"))
}

impl Nodes {
    /// Starts them, and waits until all know all.
    pub fn start() -> Self {
        let nodes = Self((0..2 * SHARDS).map(|_| Node::start()).collect());
        let all = &nodes.0;
        for (shard, node) in all.iter().take(SHARDS).enumerate() {
            let (first, last) = (shard * 16_384 / SHARDS, (shard + 1) * 16_384 / SHARDS - 1);
            assert_eq!(node.client().line(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")), b"+OK\r\n");
            assert_eq!(node.client().line(&format!("CLUSTER SET-CONFIG-EPOCH {}", shard + 1)), b"+OK\r\n");
        }
        for (shard, replica) in all.iter().skip(SHARDS).enumerate() {
            let follow = format!("CLUSTER REPLICATE {}", all[shard].id());
            within(READY, "a replica to know its primary", || {
                all[1..].iter().for_each(|node| nodes.meet(node));
                (replica.try_line(&follow)? == b"+OK\r\n").then_some(())
            });
        }
        nodes.wait_until_ready();
        nodes
    }

    /// One primary that has all slots, and no replica.
    pub fn alone() -> Self {
        let node = Node::start();
        assert_eq!(node.client().line("CLUSTER ADDSLOTSRANGE 0 16383"), b"+OK\r\n");
        let is_up = || String::from_utf8_lossy(&node.client().line("CLUSTER INFO")).contains("cluster_state:ok");
        within(READY, "the node to have all slots", || is_up().then_some(()));
        Self(vec![node])
    }

    /// Has the first node get to know this one, unless it does or is about to: where the machine is busy, it gives that up.
    fn meet(&self, node: &Node) {
        let mut first = self.0[0].client();
        let known = String::from_utf8_lossy(&first.line("CLUSTER NODES")).into_owned();
        if !known.contains(&format!(":{}@{}", node.port, node.bus)) {
            assert_eq!(first.line(&format!("CLUSTER MEET 127.0.0.1 {} {}", node.port, node.bus)), b"+OK\r\n");
        }
    }

    /// A further primary without slots, whom all know.
    pub fn join(&self) -> Node {
        let node = Node::start();
        // Otherwise it becomes a replica when it has given its last slot away.
        assert_eq!(node.client().line("CONFIG SET cluster-allow-replica-migration no"), b"+OK\r\n");
        let known = format!("cluster_known_nodes:{}\r", self.0.len() + 1);
        let knows = |node: &Node| {
            let said = node.try_line("CLUSTER INFO").unwrap_or_default();
            let said = String::from_utf8_lossy(&said).into_owned();
            ["cluster_state:ok", "cluster_slots_ok:16384", &known].iter().all(|word| said.contains(word))
        };
        within(READY, "all to know it", || {
            self.meet(&node);
            self.0.iter().chain([&node]).all(knows).then_some(())
        });
        node
    }

    /// Has all forget it.
    pub fn part(&self, mut node: Node) {
        let forget = format!("CLUSTER FORGET {}", node.id());
        // Whoever hears of it from others meanwhile forgets it again.
        within(READY, "all to forget it", || {
            self.0.iter().for_each(|other| drop(other.try_line(&forget)));
            let knows = |other: &Node| {
                other
                    .try_line("CLUSTER INFO")
                    .is_some_and(|said| String::from_utf8_lossy(&said).contains("cluster_known_nodes:7"))
            };
            (!self.0.iter().any(knows)).then_some(())
        });
        node.kill9();
    }

    pub fn wait_until_ready(&self) {
        // One that was a primary and does not know yet that it is none would be counted too.
        let is_whole =
            || self.0.iter().all(Node::is_ready) && self.0.iter().filter(|node| node.is_primary()).count() == 3;
        within(READY, "the cluster to be whole", || is_whole().then_some(()));
    }

    /// As the gateway is told of them.
    pub fn url(&self) -> String {
        let seeds: Vec<String> = self.0.iter().take(2).map(|node| node.address().to_string()).collect();
        format!("redis-cluster://{}", seeds.join(","))
    }

    /// A gateway in front of them, with the longest patience that there is.
    pub fn gateway(&self) -> Gateway {
        self.gateway_that_waits(30_000, "")
    }

    /// One that waits so long for a primary, with further sections of its configuration.
    pub fn gateway_that_waits(&self, wait_ms: u32, more: &str) -> Gateway {
        let patience =
            format!("failover_wait_ms = {wait_ms}\n[pool]\nqueue_timeout_ms = 40000\nreply_timeout_ms = 40000");
        Gateway::builder()
            .config(&format!("[upstream]\nurl = \"{}\"\n{patience}\n{more}", self.url()))
            .metrics()
            .allow_lost_upstream()
            .start()
    }

    /// Has a replica take over by order. On a busy machine its primary may not hand over in time, and is asked again.
    pub fn fail_over(&self, replica: usize) {
        let node = &self.0[replica];
        let mut asked: Option<Instant> = None;
        within(READY, "the replica to take over", || {
            if asked.is_none_or(|at| at.elapsed() > Duration::from_secs(6)) {
                asked = Some(Instant::now());
                node.try_line("CLUSTER FAILOVER")?;
            }
            node.is_primary().then_some(())
        });
        self.wait_until_ready();
    }

    /// Moves a slot from one node to another as `redis-cli --cluster reshard` does, key by key; `meanwhile` is called
    /// between all steps.
    pub fn move_slot(&self, slot: u16, from: &Node, to: &Node, mut meanwhile: impl FnMut(&str)) {
        let (mut source, mut target) = (from.client(), to.client());
        // One that has just taken over may be a replica still, as the other one knows it.
        let begins = |client: &mut Client, line: String| {
            within(READY, "the other node to be known as a primary", || {
                (client.line(&line) == b"+OK\r\n").then_some(())
            });
        };
        begins(&mut target, format!("CLUSTER SETSLOT {slot} IMPORTING {}", from.id()));
        meanwhile("importing");
        begins(&mut source, format!("CLUSTER SETSLOT {slot} MIGRATING {}", to.id()));
        meanwhile("migrating");
        loop {
            let found = source.line(&format!("CLUSTER GETKEYSINSLOT {slot} 1"));
            if found == b"*0\r\n" {
                break;
            }
            let key = String::from_utf8_lossy(&found).lines().nth(2).expect("a key").to_owned();
            let moved = source.line(&format!("MIGRATE 127.0.0.1 {} {key} 0 5000", to.port));
            assert_eq!(moved, b"+OK\r\n", "{key}");
            meanwhile("a key moved");
        }
        assert_eq!(target.line(&format!("CLUSTER SETSLOT {slot} NODE {}", to.id())), b"+OK\r\n");
        meanwhile("taken");
        assert_eq!(source.line(&format!("CLUSTER SETSLOT {slot} NODE {}", to.id())), b"+OK\r\n");
        meanwhile("given");
    }

    /// Waits until all know who has the slot: a replica that takes over before it knows takes the slot back.
    pub fn wait_until_known(&self, slot: u16, owner: &Node) {
        let (exists, moved) = (format!("EXISTS {}", key_of(slot)), format!("-MOVED {slot} {}\r\n", owner.address()));
        let knows = |node: &Node| node.try_line(&exists).is_some_and(|said| said == moved.as_bytes());
        within(READY, "all to know who has the slot", || {
            self.0.iter().filter(|node| node.port != owner.port).all(knows).then_some(())
        });
    }
}

/// A key of this slot, the same every time.
pub fn key_of(slot: u16) -> String {
    (0..).map(|number: u32| format!("k{number}")).find(|key| route::slot(key.as_bytes()) == slot).expect("there is one")
}
