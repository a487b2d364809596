//! The service as it is installed: what `config/respool.service` starts, as a user without rights and with files that
//! only root and that user's group can read.

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use rustix::process::{Signal, geteuid};
use tempfile::TempDir;

use crate::support::{Client, DEADLINE, Logs, Process};

/// No user of the system has this number, nor any group.
const STRANGER: u32 = 61_234;

fn shipped(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name);
    fs::read_to_string(path).expect("the file is there")
}

/// The values of a key of a unit, in order.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// A folder with the program and its configuration, as it is after an installation.
struct Installed(TempDir);

impl Installed {
    /// The configuration belongs to root and to the group of the service, with the rights of `mode`.
    fn new(mode: u32) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let installed = Self(directory);
        fs::set_permissions(installed.0.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        // Where cargo has built it, other users may have no right to look.
        let built = env!("CARGO_BIN_EXE_respool");
        if fs::hard_link(built, installed.path("respool")).is_err() {
            fs::copy(built, installed.path("respool")).expect("copied");
        }
        installed.write("respool.toml", "listen = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\n", mode);
        installed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
        if is_root() {
            chown(&path, Some(0), Some(STRANGER)).expect("root may give it away");
        }
    }

    /// What the unit runs, as its user does; as whoever runs the tests, if that is not root.
    fn command(&self, line: &str) -> Command {
        let line = line.replace("/etc/respool/respool.toml", self.path("respool.toml").to_str().expect("text"));
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), Some("respool"), "{line}");
        let mut command = Command::new(self.path("respool"));
        command.args(words).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        if is_root() {
            command.uid(STRANGER).gid(STRANGER);
        }
        command
    }

    fn output(&self, line: &str) -> Output {
        self.command(line).output().expect("it can be started")
    }
}

fn is_root() -> bool {
    geteuid().is_root()
}

#[test]
fn the_unit_starts_as_a_user_without_rights_and_reloads() {
    let unit = shipped("respool.service");
    let installed = Installed::new(0o640);
    let start = values(&unit, "ExecStart");
    let mut child = installed.command(start[0]).spawn().expect("it can be started");
    let logs = Logs::read(child.stderr.take().expect("piped"));
    let mut process = Process::new(child);
    let address = Logs::field(&logs.wait_for("listening", DEADLINE), "listen").expect("an address");
    let mut client = Client::connect(address.parse().expect("an address"));
    client.expect("PING", "+PONG\r\n");
    if is_root() {
        let status = fs::read_to_string(format!("/proc/{}/status", process.id())).expect("it runs");
        assert!(status.contains(&format!("Uid:\t{STRANGER}")), "{status}");
    } else {
        println!("NOT CHECKED: that another user than {} can run it, which takes root", geteuid().as_raw());
    }

    // As `systemctl reload` does: the file is checked, then the process is told.
    let reload = values(&unit, "ExecReload");
    assert_eq!(reload[1], "kill -HUP $MAINPID");
    installed.write("respool.toml", "listen = \"127.0.0.1:0\"\n[pool]\nworkers = 3\n[log]\nformat = \"json\"\n", 0o640);
    assert!(installed.output(reload[0]).status.success());
    process.signal(Signal::HUP);
    logs.wait_for("pool.workers: 4 -> 3", DEADLINE);
    installed.write("respool.toml", "[pool]\nworkers = \"many\"\n", 0o640);
    assert_eq!(installed.output(reload[0]).status.code(), Some(64));

    process.signal(Signal::TERM);
    assert!(process.wait_end(DEADLINE).success());
}

#[test]
fn a_file_that_the_service_may_not_read_ends_it_once_and_the_message_says_what_to_do() {
    let unit = shipped("respool.service");
    // Systemd gives up at this exit code, instead of starting it again and again.
    assert_eq!(values(&unit, "RestartPreventExitStatus"), ["64"]);
    // Its exit code would not count.
    assert_eq!(values(&unit, "ExecStartPre"), [""; 0]);
    let installed = Installed::new(if is_root() { 0o600 } else { 0o000 });
    let refused = |installed: &Installed| {
        let output = installed.output(values(&unit, "ExecStart")[0]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{message}");
        assert!(message.contains("Permission denied") && message.contains("respool runs as user "), "{message}");
        assert!(!is_root() || message.contains(&format!("chgrp {STRANGER} FILE; chmod 640 FILE")), "{message}");
        message
    };
    assert!(refused(&installed).contains("respool.toml"));
    // So do the files that it names.
    let secret = installed.path("secret");
    let upstream = |keys: &str| format!("[upstream]\nurl = \"rediss://127.0.0.1:1\"\n{keys}");
    for (config, key) in [
        (upstream(&format!("tls.verify = \"none\"\npassword_file = {secret:?}")), "upstream.password_file"),
        (upstream(&format!("[upstream.tls]\nca_file = {secret:?}")), "upstream.tls"),
        (format!("[tls]\ncert_file = {secret:?}\nkey_file = {secret:?}"), "tls"),
    ] {
        installed.write("secret", "secret", if is_root() { 0o600 } else { 0o000 });
        installed.write("respool.toml", &config, 0o640);
        let message = refused(&installed);
        assert!(message.contains(&format!("{key}: cannot read {}", secret.display())), "{message}");
    }
}

#[test]
fn the_units_are_what_systemd_takes_and_have_their_user() {
    let (unit, users) = (shipped("respool.service"), shipped("respool.sysusers"));
    let user = values(&unit, "User");
    assert_eq!(user, values(&unit, "Group"));
    assert!(users.lines().any(|line| line.starts_with(&format!("u {} ", user[0]))), "{users}");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let place = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::write(&path, text).expect("written");
        path
    };
    // Systemd looks for programs in directories of its own.
    let unit = unit.replace("=respool ", &format!("={} ", env!("CARGO_BIN_EXE_respool")));
    let files = [place("respool.service", &unit), place("respool.socket", &shipped("respool.socket"))];
    check("systemd-analyze", &["verify", "--man=no"], &files);
    check("systemd-sysusers", &["--dry-run"], &[place("respool.conf", &users)]);
}

/// Has a program of systemd look at files, where it is installed. Whatever it says about them is a fault.
fn check(program: &str, arguments: &[&str], files: &[PathBuf]) {
    match Command::new(program).args(arguments).args(files).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let named = |path: &PathBuf| said.contains(path.file_name().and_then(|name| name.to_str()).expect("text"));
            assert!(output.status.success() && !files.iter().any(named), "{program}: {said}");
        }
        Err(error) => println!("NOT CHECKED: {program} cannot be run ({error}); it comes with systemd"),
    }
}
