//! Redis's own load generator, as a known tool to repeat figures with and to hold this one against.
//! Runs it as a child, and reads what it prints.

use std::{path::PathBuf, process::Command, time::Duration};

use tokio::time::sleep;

use crate::{
    drive::interrupt::Interrupt,
    load::{Load, LoadError, mix::Operation},
    system::{SystemError, find, process::Process, usage::children_cpu_s},
};

/// Between two looks at whether it has ended.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// The program.
#[derive(Debug, Clone)]
pub struct RedisBenchmark(PathBuf);

/// What it found.
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Found {
    pub operations: u64,
    pub seconds: f64,
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    /// Its own processor time, in seconds.
    pub cpu_s: f64,
}

impl RedisBenchmark {
    /// Finds it.
    ///
    /// # Errors
    /// It is not installed.
    pub fn find() -> Result<Self, SystemError> {
        let absent = SystemError::Absent("redis-benchmark", "apt-get install redis-tools, or https://redis.io");
        find("redis-benchmark").map(Self).ok_or(absent)
    }

    /// Sends `requests` times one operation, `GET` or `SET`, with the connections, pipeline, keys and value
    /// size of `load` to its target.
    ///
    /// # Errors
    /// It cannot be started or fails, or Ctrl-C came.
    pub async fn run(
        &self,
        load: &Load,
        operation: Operation,
        requests: u64,
        interrupt: &Interrupt,
    ) -> Result<Found, LoadError> {
        let directory = tempfile::tempdir()?;
        let log = directory.path().join("log");
        let mut command = Command::new(&self.0);
        let address = load.target.address_text();
        let Some((host, port)) = address.rsplit_once(':') else {
            return Err(LoadError::Arguments(format!("redis-benchmark loads TCP addresses, not {address}")));
        };
        command.args(["-h", host, "-p", port, "-t", operation.name()]);
        for (option, number) in [
            ("-c", load.connections as u64),
            ("-P", load.pipeline as u64),
            ("-d", load.sizes.max as u64),
            ("-r", load.keys),
            ("-n", requests),
        ] {
            command.args([option, &number.to_string()]);
        }
        let cpu_before = children_cpu_s();
        let failed = |what: String| LoadError::Generator(format!("redis-benchmark {what}"));
        let mut process = Process::start(command, &log).map_err(|error| failed(error.to_string()))?;
        let status = loop {
            if let Some(status) = process.ended() {
                break status;
            }
            tokio::select! {
                () = sleep(LOOK_PAUSE) => {}
                () = interrupt.come() => return Err(LoadError::Interrupted),
            }
        };
        let text = process.log();
        let found = if status.success() { read(&text) } else { None };
        let found = found.ok_or_else(|| failed(format!("ended ({status}){}", process.log_tail())))?;
        Ok(Found { cpu_s: children_cpu_s() - cpu_before, ..found })
    }
}

/// Reads its report. What it overwrites on a terminal comes first, behind carriage returns.
fn read(text: &str) -> Option<Found> {
    let mut found = Found::default();
    for line in text.lines().map(|line| line.rsplit('\r').next().unwrap_or(line).trim()) {
        if let Some((count, rest)) = line.split_once(" requests completed in ") {
            found.operations = count.parse().ok()?;
            found.seconds = rest.strip_suffix(" seconds")?.parse().ok()?;
        } else if let Some(rate) = line.strip_prefix("throughput summary: ") {
            found.rate = rate.strip_suffix(" requests per second")?.parse().ok()?;
        } else if let Some((percent, rest)) = line.split_once("% <= ") {
            let Some((ms, _)) = rest.split_once(" milliseconds (cumulative count") else { continue };
            let (percent, us) = (percent.parse::<f64>().ok()?, ms.parse::<f64>().ok()? * 1e3);
            for (due, figure) in [(50.0, &mut found.p50_us), (99.0, &mut found.p99_us), (99.9, &mut found.p99_9_us)] {
                // The first that is reached; all that follow are higher.
                if percent >= due && *figure == 0.0 {
                    *figure = us;
                }
            }
        }
    }
    (found.operations > 0 && found.rate > 0.0 && found.p99_9_us > 0.0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_report_is_read() {
        let text = "GET: rps=0.0 (overall: 0.0)\r====== GET ======\n  2000 requests completed in 0.02 seconds\n\
                    Latency by percentile distribution:\n0.000% <= 0.103 milliseconds (cumulative count 4)\n\
                    50.000% <= 0.207 milliseconds (cumulative count 1004)\n98.438% <= 0.4 milliseconds (cumulative count 1)\n\
                    99.219% <= 0.511 milliseconds (cumulative count 1)\n100.000% <= 0.599 milliseconds (cumulative count 2000)\n\
                    Cumulative distribution of latencies:\n0.200% <= 0.103 milliseconds (cumulative count 4)\n\
                    100.000% <= 0.607 milliseconds (cumulative count 2000)\n\
                    Summary:\n  throughput summary: 95238.10 requests per second\n";
        let found = read(text).unwrap();
        assert_eq!(
            (found.operations, found.p50_us as u64, found.p99_us as u64, found.p99_9_us as u64),
            (2_000, 207, 511, 599)
        );
        assert!((found.rate - 95_238.1).abs() < 0.01 && (found.seconds - 0.02).abs() < 1e-9);
        assert!(read("Could not connect to Redis at 127.0.0.1:1: Connection refused\n").is_none());
    }
}
