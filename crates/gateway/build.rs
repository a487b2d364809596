//! What `respool --version` says: the version and, in a release build, the commit that it was built from. A build from
//! a package of crates.io has it from cargo, one from a checkout from git, any other from `RESPOOL_COMMIT`.

use std::{env, fs, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RESPOOL_COMMIT");
    let version = env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    // Not in a debug build, which would be built again for each commit.
    let released = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = released.then(|| given().or_else(packaged).or_else(checked_out)).flatten();
    let shown = match commit {
        Some(commit) => format!("{version} ({})", commit.get(..12).unwrap_or(&commit)),
        None => version,
    };
    println!("cargo::rustc-env=RESPOOL_VERSION={shown}");
}

fn given() -> Option<String> {
    env::var("RESPOOL_COMMIT").ok().filter(|commit| !commit.is_empty())
}

/// What cargo wrote into the package: `{"git": {"sha1": "…"}, …}`.
fn packaged() -> Option<String> {
    let text = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, behind) = text.split_once("\"sha1\"")?;
    behind.split('"').nth(1).map(str::to_owned)
}

fn checked_out() -> Option<String> {
    // In a checkout of something else, what git says would be of that.
    git(&["ls-files", "--error-unmatch", "Cargo.toml"])?;
    let log = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?;
    if fs::exists(&log).is_ok_and(|exists| exists) {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
