//! A service as it runs in earnest: a primary, two replicas and three sentinels, each a process of its own on a port
//! and in a directory of its own. They know each other from the start, so that nobody waits for them to meet.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::{Client, DEADLINE, Process, Redis, free_port, within};

/// The name that sentinels have for it.
pub const SERVICE: &str = "orders";
/// How long a sentinel waits before it takes a silent primary for dead.
const DOWN_AFTER_MS: u64 = 1_000;
/// Sentinels look at each other and at replicas in their own time. On a busy machine they may take a primary for dead
/// that is not, and let ten seconds pass before they demote it.
const READY: Duration = DEADLINE;

/// How often sentinels look at the nodes, and how often while a test waits for them.
const LOOK: Duration = Duration::from_secs(10);
const LOOK_OFTEN: Duration = Duration::from_millis(200);

/// One sentinel.
pub struct Sentinel {
    process: Process,
    port: u16,
    password: Option<String>,
    directory: TempDir,
}

/// All of them. The first node is the primary at the start.
pub struct Service {
    pub nodes: Vec<Redis>,
    pub sentinels: Vec<Sentinel>,
    password: Option<String>,
}

/// How sentinels are to be set up.
struct Setting<'s> {
    failover_timeout: Duration,
    /// Of the nodes, and of the sentinels.
    passwords: Option<(&'s str, &'s str)>,
}

/// A connection that is logged in.
fn logged_in(address: SocketAddr, password: Option<&str>) -> io::Result<Client> {
    let mut client = Client::try_connect(address)?;
    if let Some(password) = password {
        let reply = client.try_line(&format!("AUTH {password}"))?;
        assert_eq!(reply, b"+OK\r\n", "the password is right");
    }
    Ok(client)
}

impl Sentinel {
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub fn client(&self) -> Client {
        self.try_client().expect("connects")
    }

    fn try_client(&self) -> io::Result<Client> {
        logged_in(self.address(), self.password.as_deref())
    }

    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again, with what it knew.
    pub fn restart(&mut self) {
        self.process = spawn(&self.directory);
    }

    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// How often it asks the nodes what they are, every ten seconds otherwise: an older one keeps to that.
    fn look_every(&self, period: Duration) -> io::Result<Vec<u8>> {
        self.try_client()?.try_line(&format!("SENTINEL DEBUG INFO-PERIOD {}", period.as_millis()))
    }

    /// The address that it names for the primary.
    pub fn named(&self) -> SocketAddr {
        let reply = self.client().line(&format!("SENTINEL GET-MASTER-ADDR-BY-NAME {SERVICE}"));
        let text = String::from_utf8_lossy(&reply).into_owned();
        let words: Vec<&str> = text.split("\r\n").collect();
        format!("{}:{}", words[2], words[4]).parse().expect("an address and port")
    }
}

impl Service {
    /// Starts it with `args` for each node, and waits until a failover could succeed.
    pub fn start(args: &[&str]) -> Self {
        Self::start_with(args, Duration::from_secs(10))
    }

    /// The same; a sentinel gives a failover up that takes longer than `failover_timeout`.
    pub fn start_with(args: &[&str], failover_timeout: Duration) -> Self {
        Self::set_up(args, &Setting { failover_timeout, passwords: None })
    }

    /// With one password for the nodes and another for the sentinels.
    pub fn start_locked(of_nodes: &str, of_sentinels: &str) -> Self {
        let args = ["--requirepass", of_nodes, "--masterauth", of_nodes];
        let passwords = Some((of_nodes, of_sentinels));
        Self::set_up(&args, &Setting { failover_timeout: Duration::from_secs(10), passwords })
    }

    fn set_up(args: &[&str], setting: &Setting<'_>) -> Self {
        let primary = Redis::start(args);
        let of = format!("127.0.0.1 {}", primary.address().port());
        let replica = || Redis::start(&[args, &["--replicaof", &of, "--repl-diskless-sync-delay", "0"]].concat());
        let nodes = vec![primary, replica(), replica()];
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let sentinels = (0..3).map(|index| Sentinel::start(index, &ports, &nodes, setting)).collect();
        let service = Self { nodes, sentinels, password: setting.passwords.map(|(node, _)| node.to_owned()) };
        service.wait_until_ready();
        service
    }

    /// A connection to the node of this index that does not pass the gateway.
    pub fn direct(&self, node: usize) -> Client {
        self.try_direct(node).expect("connects")
    }

    fn try_direct(&self, node: usize) -> io::Result<Client> {
        logged_in(self.nodes[node].address(), self.password.as_deref())
    }

    /// Starts a node again that was killed, as a replica of another.
    pub fn rejoin(&mut self, node: usize, primary: usize) {
        let of = format!("127.0.0.1 {}", self.nodes[primary].address().port());
        self.nodes[node].restart_slowly(&["--replicaof", &of]);
    }

    /// Waits until a failover could succeed. Sentinels look at the nodes more often meanwhile.
    pub fn wait_until_ready(&self) {
        within(READY, "replicas and sentinels to be ready", || {
            let follows = |node: &usize| {
                let role = self.try_direct(*node).and_then(|mut client| client.try_line("ROLE")).unwrap_or_default();
                String::from_utf8_lossy(&role).contains("\r\nconnected\r\n")
            };
            let followers = (0..self.nodes.len()).filter(follows).count();
            (followers + 1 == self.nodes.len()).then_some(())?;
            // A replica says that it is connected a second before the primary begins to send it what is written.
            let primary = (0..self.nodes.len()).find(|node| !follows(node))?;
            let info = self.try_direct(primary).ok()?.try_line("INFO replication").ok()?;
            let info = String::from_utf8_lossy(&info).into_owned();
            let is_fed = |line: &&str| line.contains("state=online") && !line.contains("offset=0,");
            let fed = info.lines().filter(|line| line.starts_with("slave")).filter(is_fed).count();
            (fed == followers).then_some(())?;
            // It may say that it does before it does: nothing may be written that a failover would lose.
            let mut primary = self.try_direct(primary).ok()?;
            primary.try_line("FUNCTION FLUSH").ok()?;
            (primary.try_line(&format!("WAIT {followers} 1000")).ok()? == format!(":{followers}\r\n").as_bytes())
                .then_some(())?;
            let knows = |sentinel: &Sentinel| {
                sentinel.look_every(LOOK_OFTEN).ok()?;
                let mut client = sentinel.try_client().ok()?;
                let replicas = client.try_line(&format!("SENTINEL REPLICAS {SERVICE}")).ok()?;
                let table = client.try_line(&format!("SENTINEL MASTER {SERVICE}")).ok()?;
                let (replicas, table) = (String::from_utf8_lossy(&replicas), String::from_utf8_lossy(&table));
                let healthy = replicas.matches("master-link-status\r\n$2\r\nok").count() == 2
                    && replicas.matches("flags\r\n$5\r\nslave\r\n").count() == 2;
                (healthy && table.contains("num-other-sentinels\r\n$1\r\n2")).then_some(())
            };
            self.sentinels.iter().try_for_each(knows)
        });
        for sentinel in &self.sentinels {
            sentinel.look_every(LOOK).expect("it was there a moment ago");
        }
    }

    /// The upstream's URL with these sentinels.
    pub fn url_by(&self, sentinels: &[SocketAddr]) -> String {
        let list: Vec<String> = sentinels.iter().map(ToString::to_string).collect();
        format!("redis-sentinel://{}/{SERVICE}", list.join(","))
    }

    /// With all of them.
    pub fn url(&self) -> String {
        self.url_by(&self.sentinels.iter().map(Sentinel::address).collect::<Vec<_>>())
    }

    /// Has the sentinel of this index begin a planned failover.
    pub fn fail_over(&self, sentinel: usize) {
        within(READY, "a sentinel to begin a failover", || {
            let reply = self.sentinels[sentinel].client().line(&format!("SENTINEL FAILOVER {SERVICE}"));
            (reply == b"+OK\r\n").then_some(())
        });
    }

    /// The index of another node than `former` that all sentinels name, once it says that it is a primary.
    pub fn primary_but(&self, former: usize) -> usize {
        let old = self.nodes[former].address();
        within(READY, "all sentinels to name another", || {
            self.sentinels.iter().all(|sentinel| sentinel.named() != old).then_some(())
        });
        self.primary(&[0, 1, 2])
    }

    /// The index of the node that all sentinels name, once it says that it is a primary.
    pub fn primary(&self, sentinels: &[usize]) -> usize {
        within(READY, "all sentinels to name one primary", || {
            let named = self.sentinels[sentinels[0]].named();
            let agreed = sentinels.iter().all(|index| self.sentinels[*index].named() == named);
            let index = self.nodes.iter().position(|node| node.address() == named)?;
            let role = self.try_direct(index).ok()?.try_line("ROLE").ok()?;
            (agreed && role.windows(6).any(|word| word == b"master")).then_some(index)
        })
    }
}

impl Sentinel {
    fn start(index: usize, ports: &[u16], nodes: &[Redis], setting: &Setting<'_>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let id = |index: usize| format!("{:040x}", 0xa0 + index);
        let mut config = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel myid {}\nsentinel monitor {SERVICE} 127.0.0.1 {} 2\n\
             sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\nsentinel failover-timeout {SERVICE} {}\n",
            ports[index],
            directory.path().display(),
            id(index),
            nodes[0].address().port(),
            setting.failover_timeout.as_millis()
        );
        if let Some((node, sentinel)) = setting.passwords {
            config += &format!("requirepass {sentinel}\nsentinel auth-pass {SERVICE} {node}\n");
        }
        for node in &nodes[1..] {
            config += &format!("sentinel known-replica {SERVICE} 127.0.0.1 {}\n", node.address().port());
        }
        for (other, port) in ports.iter().enumerate().filter(|(other, _)| *other != index) {
            config += &format!("sentinel known-sentinel {SERVICE} 127.0.0.1 {port} {}\n", id(other));
        }
        fs::write(directory.path().join("sentinel.conf"), config).expect("the temporary directory can be written");
        let password = setting.passwords.map(|(_, sentinel)| sentinel.to_owned());
        Self { process: spawn(&directory), port: ports[index], password, directory }
    }
}

fn spawn(directory: &TempDir) -> Process {
    let mut command = Command::new("redis-server");
    command.arg(directory.path().join("sentinel.conf")).arg("--sentinel");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Process::new(command.spawn().expect("redis-server can be started"))
}
