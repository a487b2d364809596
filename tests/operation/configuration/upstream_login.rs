//! How the gateway logs in to its upstream: as the user that the URL names, with a password from the URL, from a
//! file or from the environment. None of these passwords shows anywhere.

use std::{fs, process::Stdio};

use crate::support::{DEADLINE, Gateway, Redis, wait};

/// A Redis whose default user may do nothing, with a user without a password and one with.
fn redis() -> Redis {
    let redis = Redis::start(&[
        "--user",
        "app",
        "on",
        "nopass",
        "~*",
        "&*",
        "+@all",
        "--user",
        "web",
        "on",
        ">hunter2/@",
        "~*",
        "&*",
        "+@all",
    ]);
    redis.client().expect("ACL SETUSER default on >other", "+OK\r\n");
    redis
}

fn url(redis: &Redis, login: &str) -> String {
    redis.url().replace("redis://", &format!("redis://{login}@"))
}

#[test]
fn a_user_without_a_password_is_the_user_that_the_url_names() {
    let redis = redis();
    for login in ["app", "app:"] {
        let gateway = Gateway::start(&url(&redis, login));
        let mut client = gateway.client();
        client.expect("ACL WHOAMI", "$3\r\napp\r\n");
        // On an exclusive connection too.
        client.expect("WATCH k", "+OK\r\n");
        client.expect("ACL WHOAMI", "$3\r\napp\r\n");
    }
}

#[test]
fn a_user_without_a_password_is_refused_where_it_needs_one() {
    let redis = redis();
    let gateway = Gateway::builder().upstream(&url(&redis, "web")).allow_lost_upstream().allow("WRONGPASS").start();
    gateway.logs().wait_for("WRONGPASS", DEADLINE);
    assert!(gateway.client().line("ACL WHOAMI").starts_with(b"-ERR respool: "));
}

#[test]
fn a_password_file_is_read_again_at_a_reload() {
    let redis = redis();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("password");
    fs::write(&path, "hunter2/@\n").expect("written");
    let config = format!("[upstream]\npassword_file = {path:?}");
    let gateway = Gateway::builder().upstream(&url(&redis, "web")).config(&config).allow("refused").start();
    let mut client = gateway.client();
    client.expect("ACL WHOAMI", "$3\r\nweb\r\n");

    // Another password at the upstream, then in the file: connections from then on use it.
    let mut direct = redis.client();
    direct.expect("AUTH app x", "+OK\r\n");
    direct.expect("ACL SETUSER web resetpass >n3xt", "+OK\r\n");
    fs::write(&path, "").expect("written");
    assert!(String::from_utf8_lossy(&client.line("RESPOOL RELOAD")).contains("upstream.password_file"));
    fs::write(&path, "n3xt").expect("written");
    let told = String::from_utf8_lossy(&client.line("RESPOOL RELOAD")).into_owned();
    assert!(told.contains("upstream.password_file: a file that it names has another content"), "{told}");
    client.expect("WATCH k", "+OK\r\n");
    client.expect("ACL WHOAMI", "$3\r\nweb\r\n");
    wait("workers with the new password", || {
        (client.line("RESPOOL RECONNECT") == b"+OK\r\n" && client.line("ACL WHOAMI") == b"$3\r\nweb\r\n").then_some(())
    });
    let shown = String::from_utf8_lossy(&client.line("RESPOOL CONFIG GET upstream.*")).into_owned();
    assert!(shown.contains("(login)@") && !shown.contains("hunter2") && !shown.contains("n3xt"), "{shown}");
}

#[test]
fn variables_of_the_environment_stand_for_their_values_and_do_not_show() {
    let redis = redis();
    let password = "hunter2/@";
    let config = "[log]\nfilter = \"${LEVEL}\"\n[auth.users]\napp = \"${DIGEST}\"\n[auth]\nadmins = [\"app\"]";
    // Of "one".
    let digest = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    let gateway = Gateway::builder()
        .upstream(&url(&redis, "web:${PASSWORD}"))
        .config(config)
        .environment("PASSWORD", password)
        .environment("LEVEL", "info,pool=trace")
        .environment("DIGEST", digest)
        .start();
    let mut client = gateway.client();
    client.expect("AUTH app one", "+OK\r\n");
    client.expect("ACL WHOAMI", "$3\r\nweb\r\n");
    assert!(!client.line("RESPOOL RELOAD").starts_with(b"-"));
    client.expect("ACL WHOAMI", "$3\r\nweb\r\n");
    let shown = String::from_utf8_lossy(&client.line("RESPOOL CONFIG GET *")).into_owned();
    assert!(shown.contains("${LEVEL}") && ![password, digest].iter().any(|secret| shown.contains(secret)), "{shown}");
    assert!(gateway.logs().find("hunter2").is_none());
}

#[test]
fn check_shows_no_secret_and_names_a_variable_that_is_not_there() {
    let run = |url: &str, variable: &str| {
        let mut command = Gateway::command();
        command.args(["--check", "--upstream", url]).env(variable, "hunter2").stdin(Stdio::null());
        let output = command.output().expect("the gateway can be started");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code(), text)
    };
    let (code, text) = run("redis://:${PASSWORD}@127.0.0.1:1", "PASSWORD");
    assert!(code == Some(0) && text.contains("(login)@127.0.0.1:1") && !text.contains("hunter2"), "{text}");
    let (code, text) = run("redis://:${PASSWORD}@127.0.0.1:1", "ANOTHER");
    assert_eq!(
        (code, text.as_str()),
        (Some(64), "respool: --upstream: upstream.url: the environment has no variable PASSWORD in UTF-8\n")
    );
    let (code, text) = run("${PASSWORD}", "PASSWORD");
    assert!(code == Some(64) && !text.contains("hunter2"), "{text}");
    let (code, text) = run("redis://:$PASSWORD@127.0.0.1:1", "PASSWORD");
    assert!(code == Some(0) && text.contains("# WARNING: upstream.url: a $ before a name is kept as it is"), "{text}");
}
