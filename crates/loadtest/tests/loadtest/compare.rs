//! `compare` on the real systems, briefly.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

fn compare(args: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
    command.arg("compare").args(args).env("TMPDIR", directory);
    command
}

fn json(args: &[&str], directory: &Path) -> serde_json::Value {
    let output = compare(args, directory).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rows(comparison: &serde_json::Value) -> Vec<&serde_json::Value> {
    let tables = comparison["tables"].as_array().unwrap();
    tables.iter().flat_map(|table| table["rows"].as_array().unwrap()).collect()
}

#[test]
fn systems_are_set_side_by_side_and_all_end() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["--systems", "direct,bare,nutcracker,haproxy", "--workloads", "c1,c50,open", "--open-rate", "2000"];
    let more = ["--rounds", "1", "--seconds", "0.3", "--verify"];
    let found = json(&[&args[..], &more].concat(), directory.path());
    assert_eq!(found["systems"].as_array().unwrap().len() + found["skipped"].as_array().unwrap().len(), 4);
    for row in rows(&found) {
        assert!(row["medians"]["rate"].as_f64().unwrap() > 100.0, "{row}");
        assert!(row["rate_to_direct"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["rounds"][0]["outcome"]["verified"].as_u64().unwrap() > 0, "{row}");
        if row["system"] == "bare" {
            assert_eq!(row["medians"]["upstream_connections"].as_f64(), Some(1.0), "{row}");
        }
    }
    assert!(found["tables"][2]["load"].as_str().unwrap().contains("open loop at 2000/s"), "{found}");
    assert!(found["tables"][2]["rows"][0]["medians"]["lag_p99_us"].as_f64().unwrap() > 0.0, "{found}");
    assert_eq!(processes_of(directory.path()), Vec::<String>::new());
}

#[test]
fn systems_meet_their_clients_over_tls_and_unix_sockets() {
    let respool = Path::new(env!("CARGO_BIN_EXE_respool-loadtest")).with_file_name("respool");
    assert!(respool.is_file(), "build the gateway first: cargo build -p respool");
    let directory = tempfile::tempdir().unwrap();
    let args = ["--systems", "direct,respool,haproxy,stunnel", "--transport", "tls,unix", "--workloads", "c50,churn"];
    let found = json(&[&args[..], &["--rounds", "1", "--seconds", "0.5"]].concat(), directory.path());
    let is_there = |name: &&str| found["systems"].as_array().unwrap().iter().any(|system| system[0] == *name);
    let over = |names: [&'static str; 4]| names.into_iter().filter(is_there).collect::<Vec<_>>();
    let tables = found["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 4, "{found}");
    for table in tables {
        let title = table["title"].as_str().unwrap();
        let rows = table["rows"].as_array().unwrap();
        let names: Vec<_> = rows.iter().map(|row| row["system"].as_str().unwrap()).collect();
        // stunnel has no unix socket here.
        let wanted = if title.ends_with("over TLS") {
            over(["direct", "respool", "haproxy", "stunnel"])
        } else {
            over(["direct", "respool", "haproxy", ""])
        };
        assert_eq!(names, wanted, "{title}");
        for row in rows {
            let outcome = &row["rounds"][0]["outcome"];
            assert!(row["medians"]["rate"].as_f64().unwrap() > 10.0, "{title}: {row}");
            assert_eq!(outcome["reconnects"].as_u64().unwrap() > 0, title.starts_with("churn"), "{title}: {row}");
        }
    }
    assert_eq!(processes_of(directory.path()), Vec::<String>::new());
}

#[test]
fn respool_takes_part_once_for_each_setting() {
    let respool = Path::new(env!("CARGO_BIN_EXE_respool-loadtest")).with_file_name("respool");
    assert!(respool.is_file(), "build the gateway first: cargo build -p respool");
    let directory = tempfile::tempdir().unwrap();
    let args = ["--systems", "direct,respool", "--workloads", "p16", "--respool-workers", "1,3"];
    let found = json(&[&args[..], &["--rounds", "1", "--seconds", "0.5"]].concat(), directory.path());
    let names: Vec<_> = rows(&found).iter().map(|row| row["system"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["direct", "respool w1", "respool w3"]);
    assert!(found["systems"][2][1].as_str().unwrap().starts_with("workers 3, "), "{found}");
    assert_eq!(rows(&found)[1]["medians"]["upstream_connections"].as_f64(), Some(1.0));
    assert_eq!(rows(&found)[2]["medians"]["upstream_connections"].as_f64(), Some(3.0));
}

#[test]
fn systems_are_measured_against_the_floor() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["--systems", "direct,floor,haproxy", "--workloads", "large,open", "--open-rate", "2000"];
    let found = json(&[&args[..], &["--rounds", "1", "--seconds", "0.5"]].concat(), directory.path());
    for row in rows(&found).into_iter().filter(|row| row["system"] == "floor") {
        assert_eq!((row["cpu_to_floor"].as_f64(), row["p50_to_floor"].as_f64()), (Some(1.0), Some(1.0)), "{row}");
        assert!(row["medians"]["redis_cpu_us"].is_null(), "{row}");
    }
    // Its values are as large as the others'.
    let received = |row: &serde_json::Value| {
        let outcome = &row["rounds"][0]["outcome"];
        outcome["received_per_s"].as_f64().unwrap() / outcome["rate"].as_f64().unwrap()
    };
    let (direct, floor) = (received(rows(&found)[0]), received(rows(&found)[1]));
    assert!((direct / floor - 1.0).abs() < 0.05, "{direct} {floor}");
    let text = compare(&[&args[..], &["--rounds", "1", "--seconds", "0.3", "--verify"]].concat(), directory.path());
    let text = String::from_utf8({ text }.output().unwrap().stdout).unwrap();
    assert!(text.contains("skipped: floor: --verify would find its canned replies wrong"), "{text}");
}

#[test]
fn workloads_go_over_tls_and_unix_sockets() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["--systems", "direct,haproxy", "--workloads", "c50", "--transport", "tls,unix"];
    let found = json(&[&args[..], &["--rounds", "1", "--seconds", "0.3", "--verify"]].concat(), directory.path());
    let titles: Vec<_> = found["tables"].as_array().unwrap().iter().map(|table| table["title"].to_string()).collect();
    assert_eq!(titles.len(), 2);
    assert!(titles[0].contains("over TLS") && titles[1].contains("over a unix socket"), "{titles:?}");
    for row in rows(&found) {
        assert!(row["rounds"][0]["outcome"]["verified"].as_u64().unwrap() > 100, "{row}");
    }
    assert_eq!(processes_of(directory.path()), Vec::<String>::new());
}

#[test]
fn redis_benchmark_may_put_the_load_on() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["--systems", "direct", "--workloads", "c1,open", "--generator", "redis-benchmark"];
    let found = json(&[&args[..], &["--rounds", "1", "--seconds", "0.3"]].concat(), directory.path());
    let titles: Vec<_> = found["tables"].as_array().unwrap().iter().map(|table| table["title"].to_string()).collect();
    assert!(titles.len() == 2 && titles[0].ends_with("SET\"") && titles[1].ends_with("GET\""), "{titles:?}");
    assert!(found["skipped"][0].as_str().unwrap().contains("no open loop"), "{found}");
    for row in rows(&found) {
        let figures = &row["medians"];
        assert!(figures["rate"].as_f64().unwrap() > 100.0 && figures["p99_us"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["rounds"][0]["outcome"].is_null(), "{row}");
    }
}

#[test]
fn ctrl_c_prints_what_there_is() {
    let directory = tempfile::tempdir().unwrap();
    let args = ["--systems", "direct", "--workloads", "c50", "--rounds", "100", "--seconds", "1"];
    let child = compare(&args, directory.path()).stdout(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    wait_until_redis_has_worked(directory.path());
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130), "{text}");
    assert!(text.contains("c50: 50 connections") && text.contains("interrupted"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("direct  ") && line.contains("100 %")), "{text}");
    assert_eq!(processes_of(directory.path()), Vec::<String>::new());
}

/// Waits until the Redis that was started there has used a second of its core: more than filling takes.
fn wait_until_redis_has_worked(directory: &Path) {
    let begun = Instant::now();
    loop {
        let redis = pids_of(directory).into_iter().find(|(_, command)| command.contains("redis-server"));
        let usage = redis.and_then(|(pid, _)| loadtest::system::usage::usage(pid));
        if usage.is_some_and(|usage| usage.cpu_s > 1.0) {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "Redis was not loaded");
        sleep(Duration::from_millis(20));
    }
}

/// Processes that have to do with a directory, with their command lines.
fn pids_of(directory: &Path) -> Vec<(u32, String)> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter_map(|process| {
            let pid = process.file_name()?.to_str()?.parse().ok()?;
            let command = String::from_utf8_lossy(&std::fs::read(process.join("cmdline")).ok()?).replace('\0', " ");
            let is_inside = std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
            (is_inside || command.contains(directory.to_str()?)).then_some((pid, command))
        })
        .collect()
}

/// Their command lines alone.
pub fn processes_of(directory: &Path) -> Vec<String> {
    pids_of(directory).into_iter().map(|(_, command)| command).collect()
}
