//! `compare` on the real systems, briefly.

use std::process::Command;

#[test]
fn systems_are_set_side_by_side_and_all_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_respool-loadtest"));
    command
        .args(["compare", "--systems", "direct,nutcracker,haproxy", "--workloads", "c50,open"])
        .env("TMPDIR", directory.path());
    let output = command.args(["--rounds", "1", "--seconds", "0.3", "--verify", "--json"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let systems = json["systems"].as_array().unwrap().len();
    assert_eq!(systems + json["skipped"].as_array().unwrap().len(), 3);
    for table in json["tables"].as_array().unwrap() {
        for row in table["rows"].as_array().unwrap() {
            assert!(row["medians"]["rate"].as_f64().unwrap() > 100.0, "{row}");
            assert!(row["rate_to_direct"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["rounds"][0]["outcome"]["verified"].as_u64().unwrap() > 0, "{row}");
        }
    }
    assert_eq!(processes_of(directory.path()), Vec::<String>::new());
}

/// Command lines of the processes that have to do with a directory.
pub fn processes_of(directory: &std::path::Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    processes
        .filter_map(|process| {
            let command = String::from_utf8_lossy(&std::fs::read(process.join("cmdline")).ok()?).replace('\0', " ");
            let is_inside = std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
            (is_inside || command.contains(directory.to_str()?)).then_some(command)
        })
        .collect()
}
