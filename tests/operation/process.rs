//! What a process owes those who run it: signals that it obeys or ignores, and log lines that fit where they go.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    process::Stdio,
};

use rustix::{
    process::Signal,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
};

use crate::support::{Client, DEADLINE, Gateway, Metrics, Process, request, wait};

/// A log line that is coloured begins a part of it with this.
const ESCAPE: &str = "\u{1b}[";

/// Bytes of the longest line of the log.
const LINE_BYTES_MAX: usize = 16 * 1024;

#[test]
fn signals_without_a_meaning_are_told_and_end_nothing() {
    let gateway = Gateway::start("embedded");
    let mut client = gateway.client();
    for (signal, name) in [(Signal::USR1, "SIGUSR1"), (Signal::USR2, "SIGUSR2")] {
        gateway.process().signal(signal);
        gateway.logs().wait_for(name, DEADLINE);
        client.expect("PING", "+PONG\r\n");
    }
    for signal in [Signal::PIPE, Signal::CHILD, Signal::WINCH, Signal::URG, Signal::CONT] {
        gateway.process().signal(signal);
        client.expect("PING", "+PONG\r\n");
    }
}

#[test]
fn whoever_asks_for_health_learns_whether_the_gateway_is_well() {
    let ask = |arguments: &[&str]| {
        let output = Gateway::command().arg("--health").args(arguments).output().expect("it can be asked");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    let gateway = Gateway::builder().metrics().start();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("respool.toml");
    fs::write(&file, format!("[metrics]\nlisten = \"{}\"", gateway.metrics_address())).expect("written");
    let arguments = ["--config", file.to_str().expect("text")];
    assert_eq!(ask(&arguments), (Some(0), String::new()));
    drop(gateway);
    let (code, text) = ask(&arguments);
    assert!(code == Some(1) && text.contains("is not well: "), "{code:?} {text}");
    let (code, text) = ask(&[]);
    assert!(code == Some(64) && text.contains("metrics.listen: is empty"), "{code:?} {text}");
}

#[test]
fn the_process_has_huge_pages_only_if_the_configuration_wants_them() {
    let enabled = |config: &str| Gateway::builder().config(config).start().process().status("THP_enabled");
    assert_eq!(enabled(""), "0");
    assert_eq!(enabled("[runtime]\nhuge_pages = true"), "1");
}

#[test]
fn lines_in_a_file_or_a_pipe_have_no_colours() {
    let gateway = Gateway::builder().config("[log]\nformat = \"text\"").start();
    gateway.client().expect("PING", "+PONG\r\n");
    gateway.logs().wait_for("listening", DEADLINE);
    assert_eq!(gateway.logs().find(ESCAPE), None);
}

#[test]
fn a_message_is_one_line_whatever_was_asked_for() {
    let gateway = Gateway::builder().config("[log]\nformat = \"text\"").allow("configuration refused").start();
    let reply = gateway.client().call(&["RESPOOL", "CONFIG", "SET", "no\nsuch\u{7}", "1\r\n2"]);
    assert!(reply.starts_with(b"-ERR respool: "), "{}", String::from_utf8_lossy(&reply));
    let line = gateway.logs().wait_for("configuration refused", DEADLINE);
    assert!(line.contains(r"no\nsuch\x07"), "{line}");
    let whole = |line: &String| line.contains(" INFO ") || line.contains(" ERROR ");
    assert_eq!(gateway.logs().lines().into_iter().find(|line| !whole(line)), None);
}

#[test]
fn a_line_is_no_longer_than_a_line_may_be_whatever_it_tells() {
    for format in ["json", "text"] {
        let config = format!("[log]\nformat = \"{format}\"");
        let gateway = Gateway::builder().config(&config).allow("configuration refused").start();
        let mut client = gateway.client();
        let key = "\"".repeat(1 << 20);
        assert!(client.call(&["RESPOOL", "CONFIG", "SET", &key, "1"]).starts_with(b"-ERR"));
        let line = gateway.logs().wait_for("configuration refused", DEADLINE);
        assert!((1024..=LINE_BYTES_MAX).contains(&line.len()), "{format}: {} bytes", line.len());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).is_ok(), format == "json", "{line}");
    }
}

#[test]
fn a_log_that_nobody_reads_keeps_nobody_waiting() {
    let mut gateway = Gateway::builder().metrics().config("[log]\nfilter = \"trace\"").start();
    let mut client = gateway.client();
    gateway.logs().set_stalled(true);
    let lost = wait("lines to be lost", || {
        client.send_raw(&request(&["GET", "k"]).repeat(100));
        client.read_replies(100);
        let lost = Metrics::read(gateway.metrics_address()).value("respool_log_lines_lost_total");
        (lost > 0.0).then_some(lost)
    });
    // The lines that tell of it are among those that are lost.
    gateway.process().signal(Signal::HUP);
    let stats = String::from_utf8_lossy(&client.call(&["RESPOOL", "STATS"])).into_owned();
    assert!(stats.contains("log_lines_lost"), "{stats} and {lost}");
    gateway.terminate();
    let took = gateway.wait_end(DEADLINE);
    assert!(took < DEADLINE / 2, "{took:?}");
    gateway.logs().set_stalled(false);
}

#[test]
fn a_reader_of_both_outputs_who_stalls_does_not_hold_the_end_up() {
    let (mut reader, writer) = io::pipe().expect("a pipe");
    let mut command = Gateway::command();
    command.args(["--listen", "127.0.0.1:0"]).stdout(writer.try_clone().expect("a pipe has many ends")).stderr(writer);
    let mut process = Process::new(command.spawn().expect("the gateway can be started"));
    drop(command);
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    let address = loop {
        let count = reader.read(&mut bytes).expect("the gateway says something");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
        if let Some(line) = text.split_inclusive('\n').find(|line| line.contains("listening") && line.ends_with('\n')) {
            let address = line.split("listen=\"").nth(1).and_then(|rest| rest.split('"').next());
            break address.expect("an address").parse().expect("an address");
        }
    };
    let mut client = Client::connect(address);
    let lost = |client: &mut Client| {
        client.send_raw(&request(&["RESPOOL", "RESUME"]).repeat(100));
        client.read_replies(100);
        let stats = String::from_utf8(client.call(&["RESPOOL", "STATS"])).expect("text");
        let lost = stats.split("log_lines_lost\r\n:").nth(1).expect("a figure").lines().next().map(str::to_owned);
        lost.filter(|lost| lost != "0")
    };
    wait("lines to be lost", || lost(&mut client));
    process.signal(Signal::TERM);
    assert_eq!(process.wait_end(DEADLINE).code(), Some(0));
    drop(reader);
}

#[test]
fn lines_on_a_terminal_are_coloured_unless_the_environment_forbids_it() {
    for (forbids, is_coloured) in [("", true), ("1", false)] {
        let text = on_a_terminal(forbids);
        assert_eq!(text.contains(ESCAPE), is_coloured, "{text}");
    }
}

/// What a gateway says to a terminal from its start to its end.
fn on_a_terminal(no_color: &str) -> String {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the system has terminals");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a terminal of our own");
    let path = ptsname(&ours, Vec::new()).expect("it has a name").into_string().expect("in ASCII");
    let theirs = File::options().read(true).write(true).open(path).expect("a terminal can be opened");
    let mut command = Gateway::command();
    command.args(["--listen", "127.0.0.1:0"]).env("NO_COLOR", no_color).stdout(Stdio::null()).stderr(theirs);
    let mut process = Process::new(command.spawn().expect("the gateway can be started"));
    // Ours is the last of the descriptors at the other end, so that reading ends with the process.
    drop(command);
    let (mut terminal, mut text) = (File::from(ours), String::new());
    let mut bytes = [0; 4096];
    loop {
        match terminal.read(&mut bytes) {
            Ok(0) => return text,
            Ok(count) => text.push_str(&String::from_utf8_lossy(&bytes[..count])),
            // Nobody is left at the other end.
            Err(error) if error.raw_os_error() == Some(5) => return text,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("the terminal cannot be read: {error}"),
        }
        if text.contains("listening") && process.ended().is_none() {
            process.signal(Signal::TERM);
        }
    }
}
