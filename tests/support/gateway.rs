//! The built gateway as a process, on a port of the system's choice. When the fixture goes it asks for the
//! end, and demands a clean one: exit code 0 in time, and no warning or error that the test did not allow.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;
use toml::Table;

use super::{Client, DEADLINE, logs::Logs, process::Process};

/// What the gateway says when it loses an upstream or cannot reach it.
const OF_LOST_UPSTREAMS: [&str; 4] =
    ["upstream is down", "connection lost", "connection attempt failed", "upstream is not ready"];

/// What it says of requests that failed and of clients that reached a bound: the test's clients have got an error, or
/// their end, for each.
const OF_CLIENTS: [&str; 4] =
    ["requests failed", "_max was reached", "write_timeout_ms passed", "the upstream ended subscriptions"];

/// What it says where a machine is so busy that somebody is not heard in time.
const OF_BUSY_MACHINES: [&str; 2] = ["no answer within", "does not answer within"];

/// What it says of the system, which may allow less than ten thousand clients and as many connections.
const OF_SYSTEM: &str = "too few file descriptors";

pub struct Gateway {
    process: Process,
    address: SocketAddr,
    logs: Logs,
    allowed: Vec<String>,
    exit_code: i32,
    /// Set once the test has waited for the end itself.
    ended: Option<ExitStatus>,
    directory: TempDir,
    config: Table,
}

/// How a gateway is to be started.
pub struct Builder {
    config: Table,
    allowed: Vec<String>,
    bare: bool,
    sockets: Vec<OwnedFd>,
    environment: Vec<(&'static str, OsString)>,
    /// As a shell's `ulimit` names it, and how much.
    limit: Option<(char, u64)>,
}

impl Builder {
    pub fn upstream(self, url: &str) -> Self {
        self.config(&format!("[upstream]\nurl = \"{url}\""))
    }

    /// Adds to the configuration file, as TOML.
    pub fn config(mut self, toml: &str) -> Self {
        merge(&mut self.config, toml.parse().expect("the test's configuration is TOML"));
        self
    }

    /// Expects log lines above `info` that hold `text`.
    pub fn allow(mut self, text: &str) -> Self {
        self.allowed.push(text.to_owned());
        self
    }

    /// Expects the log lines that tell of an upstream that is lost or cannot be reached.
    pub fn allow_lost_upstream(mut self) -> Self {
        self.allowed.extend(OF_LOST_UPSTREAMS.iter().map(|text| (*text).to_owned()));
        self
    }

    /// Shows metrics, on a port of the system's choice.
    pub fn metrics(self) -> Self {
        self.config("[metrics]\nlisten = \"127.0.0.1:0\"")
    }

    /// No configuration file: the defaults hold, but for the port.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    /// Passes a socket to listen on, as systemd does.
    pub fn socket(mut self, socket: &impl AsFd) -> Self {
        self.sockets.push(socket.as_fd().try_clone_to_owned().expect("a socket can be held twice"));
        self
    }

    /// The system gives it no more than `kib` of address space.
    pub fn address_space_max(mut self, kib: u64) -> Self {
        self.limit = Some(('v', kib));
        self
    }

    /// The system gives it no more descriptors than `max`.
    pub fn descriptors_max(mut self, max: u64) -> Self {
        self.limit = Some(('n', max));
        self
    }

    /// Sets a variable of its environment.
    pub fn environment(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// Has it run with a shared library of `package`, found by its file's name, in front of the system's own.
    pub fn preload(self, package: &str, library: &str) -> Self {
        self.environment("LD_PRELOAD", shared_library(package, library))
    }

    pub fn start(self) -> Gateway {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let passes = self.sockets.len();
        let mut command = match self.limit {
            _ if passes > 0 => inheriting(self.sockets),
            Some((what, max)) => confined(what, max),
            None => Gateway::command(),
        };
        if self.bare {
            command.args(["--listen", "127.0.0.1:0"]);
        } else {
            command.arg("--config").arg(write_config(&directory, &self.config));
        }
        command.envs(self.environment).stderr(Stdio::piped());
        if passes < 2 {
            command.stdout(Stdio::null());
        }
        let mut child = command.spawn().expect("the gateway can be started");
        let logs = Logs::read(child.stderr.take().expect("piped"));
        let mut gateway = Gateway {
            process: Process::new(child),
            address: ([127, 0, 0, 1], 0).into(),
            logs,
            allowed: self.allowed,
            exit_code: 0,
            ended: None,
            directory,
            config: self.config,
        };
        gateway.address =
            *addresses_of(&gateway.logs.wait_for("listening", DEADLINE)).first().unwrap_or(&gateway.address);
        gateway
    }
}

/// The program with one socket as its descriptor 3, or two as 3 and 4, which a shell puts there before it becomes the
/// program.
fn inheriting(sockets: Vec<OwnedFd>) -> Command {
    let moved = if sockets.len() == 1 { "3<&0 0</dev/null" } else { "3<&0 0</dev/null 4<&1 1>/dev/null" };
    let count = sockets.len();
    let pass = format!("exec {moved}; export LISTEN_FDS={count} LISTEN_PID=$$; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &pass, env!("CARGO_BIN_EXE_respool")]);
    let mut sockets = sockets.into_iter();
    command.stdin(sockets.next().map_or(Stdio::null(), Stdio::from));
    command.stdout(sockets.next().map_or(Stdio::null(), Stdio::from));
    assert!(sockets.next().is_none(), "a shell passes two at most");
    command
}

/// The program with no more of something than `max`, which a shell takes from it before it becomes the program.
fn confined(what: char, max: u64) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -{what} {max}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_respool")]);
    command
}

/// Puts the keys of `from` into `into`, section by section.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(section)), toml::Value::Table(more)) => merge(section, more),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

fn write_config(directory: &TempDir, config: &Table) -> PathBuf {
    let path = directory.path().join("respool.toml");
    let text = toml::to_string(config).expect("a table is TOML");
    // At once: whoever reads meanwhile, because of a signal, reads the one or the other and never a half.
    let whole = directory.path().join("respool.toml.next");
    fs::write(&whole, text).expect("the temporary directory can be written");
    fs::rename(&whole, &path).expect("the temporary directory can be written");
    path
}

/// The TCP addresses that a line tells of, in the format of lines or of JSON.
fn addresses_of(line: &str) -> Vec<SocketAddr> {
    let listen = Logs::field(line, "listen").unwrap_or_else(|| line.replace("listen=", " ").replace('"', " "));
    let addresses = listen.split_whitespace().map(|word| word.strip_prefix("tls://").unwrap_or(word));
    addresses.filter_map(|word| word.parse().ok()).collect()
}

impl Gateway {
    pub fn builder() -> Builder {
        let config = "listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"".parse().expect("valid");
        Builder {
            config,
            allowed: OF_CLIENTS.into_iter().chain(OF_BUSY_MACHINES).chain([OF_SYSTEM]).map(str::to_owned).collect(),
            bare: false,
            sockets: Vec::new(),
            environment: Vec::new(),
            limit: None,
        }
    }

    /// A gateway with default settings in front of `url`.
    pub fn start(url: &str) -> Self {
        Self::builder().upstream(url).start()
    }

    /// The program, without arguments.
    pub fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_respool"));
        command.stdin(Stdio::null());
        command
    }

    /// The first address that is none of a unix socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All addresses that are none of unix sockets.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses_of(&self.logs.wait_for("listening", DEADLINE))
    }

    /// Where it shows its metrics.
    pub fn metrics_address(&self) -> SocketAddr {
        let line = self.logs.wait_for("metrics address is open", DEADLINE);
        Logs::field(&line, "metrics").and_then(|address| address.parse().ok()).expect("an address and port")
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    pub fn process(&self) -> &Process {
        &self.process
    }

    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// Expects another exit code than 0.
    pub fn expect_exit_code(&mut self, code: i32) {
        self.exit_code = code;
    }

    /// Asks for the end and returns at once.
    pub fn terminate(&self) {
        self.process.signal(Signal::TERM);
    }

    /// As `terminate`, the way a terminal does.
    pub fn interrupt(&self) {
        self.process.signal(Signal::INT);
    }

    /// Adds to the configuration file, as TOML. The gateway does not know yet.
    pub fn rewrite(&mut self, toml: &str) {
        merge(&mut self.config, toml.parse().expect("the test's configuration is TOML"));
        write_config(&self.directory, &self.config);
    }

    /// The configuration file.
    pub fn config_path(&self) -> PathBuf {
        self.directory.path().join("respool.toml")
    }

    /// What the configuration file would be with `toml` added to it.
    pub fn config_with(&self, toml: &str) -> String {
        let mut config = self.config.clone();
        merge(&mut config, toml.parse().expect("the test's configuration is TOML"));
        toml::to_string(&config).expect("a table is TOML")
    }

    /// Puts `text` in place of the configuration file.
    pub fn overwrite(&self, text: &str) {
        let path = self.directory.path().join("respool.toml");
        fs::write(path, text).expect("the temporary directory can be written");
    }

    /// Takes a key out of a table in a section of the configuration file.
    pub fn forget(&mut self, section: &str, table: &str, key: &str) {
        let section = self.config.get_mut(section).and_then(|section| section.get_mut(table));
        section.and_then(toml::Value::as_table_mut).and_then(|table| table.remove(key)).expect("the key is there");
        write_config(&self.directory, &self.config);
    }

    /// Stops it where it is; its kernel still takes connections and bytes.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Has it find all at once that has come meanwhile.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Asks to read the configuration file again.
    pub fn hang_up(&self) {
        self.process.signal(Signal::HUP);
    }

    /// Waits for the end that was asked for; how long it took.
    #[track_caller]
    pub fn wait_end(&mut self, deadline: Duration) -> Duration {
        let started = Instant::now();
        self.ended = Some(self.process.wait_end(deadline));
        started.elapsed()
    }

    /// What is wrong with how it ended.
    fn faults(&mut self) -> Option<String> {
        self.logs.finish();
        let code = self.ended.and_then(|ended| ended.code());
        if code != Some(self.exit_code) {
            return Some(format!("the gateway ended with {:?}, expected code {}", self.ended, self.exit_code));
        }
        let complaints = self.logs.complaints(&self.allowed);
        (!complaints.is_empty()).then(|| format!("the gateway complained:\n{}", complaints.join("\n")))
    }
}

/// Where a shared library of `package` is, by its file's name.
pub fn shared_library(package: &str, library: &str) -> PathBuf {
    let architectures = fs::read_dir("/usr/lib").expect("the system's libraries");
    let places = architectures.flatten().flat_map(|entry| [entry.path(), entry.path().join(package)]);
    places
        .map(|place| place.join(library))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("this test needs {library}: apt-get install {package}, or run tests/run, which does"))
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if thread::panicking() {
            self.process.kill9();
            let lines = self.logs.lines();
            println!("the last of {} log lines:\n{}", lines.len(), lines[lines.len().saturating_sub(20)..].join("\n"));
            return;
        }
        if self.ended.is_none() {
            self.terminate();
            self.wait_end(DEADLINE);
        }
        if let Some(fault) = self.faults() {
            panic!("{fault}");
        }
    }
}
