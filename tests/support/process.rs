//! Child processes by their id: signals, memory, processor time, descriptor limits. What the fixtures for
//! the gateway and for Redis have in common.

use std::{
    fs,
    process::{Child, ExitStatus},
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};

use super::within;

/// A child that is killed, by its id, when the fixture goes.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn new(child: Child) -> Self {
        Self { child }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the process is there until it was waited for");
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_end(&mut self, deadline: Duration) -> ExitStatus {
        within(deadline, "the end of a process", || self.ended())
    }

    /// Ends it without a word and takes it off the system.
    pub fn kill9(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A line of `/proc/PID/status`.
    pub fn status(&self, key: &str) -> String {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).expect("the process lives");
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).expect("the kernel tells");
        line.trim().to_owned()
    }

    /// A figure of `/proc/PID/status`, in bytes.
    fn status_bytes(&self, key: &str) -> u64 {
        let kib = self.status(key);
        kib.trim_end_matches(" kB").parse::<u64>().expect("a number of KiB") * 1024
    }

    /// Memory it has now.
    pub fn rss_bytes(&self) -> u64 {
        self.status_bytes("VmRSS")
    }

    /// The most memory it ever had.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.status_bytes("VmHWM")
    }

    /// Processor time it has used, in user and kernel together.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("the process lives");
        let (_, fields) = stat.rsplit_once(')').expect("the name ends");
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number of ticks")).sum();
        // Linux counts in hundredths of a second for all programs.
        Duration::from_millis(ticks * 10)
    }

    /// Bounds the descriptors it may have from now on.
    pub fn limit_descriptors(&self, max: u64) {
        let limit = Rlimit { current: Some(max), maximum: getrlimit(Resource::Nofile).maximum };
        prlimit(Some(self.pid()), Resource::Nofile, limit).expect("a child's limits can be changed");
    }

    /// Descriptors it has open.
    pub fn descriptors(&self) -> u64 {
        fs::read_dir(format!("/proc/{}/fd", self.id())).expect("the process lives").count() as u64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// Lets this process and the children it starts have as many descriptors as the system allows: tests with
/// a thousand clients need them.
pub fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised to the hard one");
}
