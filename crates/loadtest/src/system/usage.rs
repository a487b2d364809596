//! What a process has used, from `/proc`.

use std::{collections::HashSet, fs};

/// Processor time and memory of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// User and system time of all its threads so far, in seconds.
    pub cpu_s: f64,
    /// The part of it that was spent in the program itself and not in the kernel.
    pub user_s: f64,
    /// The largest resident size since [`reset_peak`], in bytes.
    pub peak_bytes: u64,
}

/// Reads the usage of a process; nothing if it is gone.
pub fn usage(pid: u32) -> Option<Usage> {
    let [user, system, ..] = seconds(pid)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let peak_bytes = peak.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    Some(Usage { cpu_s: user + system, user_s: user, peak_bytes })
}

/// Processor time that this process's children have used which have ended, in seconds.
pub fn children_cpu_s() -> f64 {
    seconds(std::process::id()).map_or(0.0, |[.., user, system]| user + system)
}

/// User and system time of a process and of its children that have ended, in seconds.
fn seconds(pid: u32) -> Option<[f64; 4]> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; times are the fields from 14 on, counted from 1.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    #[expect(clippy::cast_precision_loss, reason = "a hundred or so")]
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    let mut next = || Some(f64::from(fields.next()?.parse::<u32>().ok()?) / per_second);
    Some([next()?, next()?, next()?, next()?])
}

/// Begins a new peak, where the kernel allows it.
pub fn reset_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").ok();
}

/// How many TCP connections a process has to a port, from the socket table.
pub fn connections_to(pid: u32, port: u16) -> Option<usize> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
    let sockets: HashSet<String> = files
        .filter_map(|file| {
            fs::read_link(file.path()).ok()?.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned)
        })
        .collect();
    let remote = format!(":{port:04X}");
    // Columns: number, local, remote, state (01 is established), queues, timer, retransmissions, owner, timeout, inode.
    let is_one = |line: &str| {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        fields.len() > 9 && fields[2].ends_with(&remote) && fields[3] == "01" && sockets.contains(fields[9])
    };
    let tables =
        ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default());
    Some(tables.iter().flat_map(|table| table.lines()).filter(|line| is_one(line)).count())
}

/// Lets this process and its children have as many files as the machine allows.
pub fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it is refused, the limit is met later, with a message of its own.
    setrlimit(Resource::Nofile, limit).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_their_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let _clients = [(); 3].map(|()| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap());
        assert_eq!(connections_to(std::process::id(), port), Some(3));
    }

    #[test]
    fn this_process_uses_something() {
        let found = usage(std::process::id()).unwrap();
        assert!(found.peak_bytes > 100_000, "{found:?}");
        assert!(usage(u32::MAX).is_none());
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done";
        let before = children_cpu_s();
        assert!(std::process::Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(children_cpu_s() > before);
    }
}
