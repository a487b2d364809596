//! Every key with values that nobody means: each is refused with the name of the key, or gives settings and a report.

use std::path::Path;

use settings::{Config, ConfigError, GatewaySettings, Key, Kind, report};

/// What becomes of a file in which `key` has `value`, as it is written there.
fn outcome(key: &str, value: &str) -> Result<GatewaySettings, String> {
    let config = Config::parse(&format!("{key} = {value}"), Path::new("f")).map_err(|error| error.to_string())?;
    let settings = GatewaySettings::new(&config).map_err(|error| match error {
        ConfigError::Value { key, problem, .. } => format!("{key}: {problem}"),
        other => panic!("{other} is no error of a value"),
    })?;
    let report = report(&config, &settings, Some(1_000));
    assert!(Config::parse(&report, Path::new("report")).is_ok(), "{key} = {value}: {report}");
    Ok(settings)
}

#[track_caller]
fn assert_refused(key: &str, value: &str, expected: &str) {
    let problem = outcome(key, value).expect_err(&format!("{key} = {value} is accepted"));
    assert!(problem.contains(key) && problem.contains(expected), "{key} = {value}: {problem}");
}

fn numbers() -> impl Iterator<Item = (String, Key)> {
    let is_number = |kind| matches!(kind, Kind::Count | Kind::Millis | Kind::Micros | Kind::Bytes);
    Key::all().into_iter().filter(move |(_, key)| is_number(key.kind))
}

fn texts() -> impl Iterator<Item = (String, Key)> {
    Key::all().into_iter().filter(|(_, key)| matches!(key.kind, Kind::Text))
}

#[test]
fn every_number_at_its_extremes_is_refused_by_name_or_valid() {
    for (key, _) in numbers() {
        for value in [
            "0",
            "1",
            "2",
            "1_000_000_000",
            "9_223_372_036_854_775_807",
            "9_223_372_036_854_775_808",
            "18_446_744_073_709_551_615",
            "0x7fffffffffffffff",
        ] {
            if let Err(problem) = outcome(&key, value) {
                assert!(problem.contains(&key) || problem.contains("line 1"), "{key} = {value}: {problem}");
            }
        }
        for value in [
            "-1",
            "-9_223_372_036_854_775_808",
            "1.5",
            "nan",
            "inf",
            "true",
            "[]",
            "{}",
            "\"\"",
            "\"x\"",
            "\"-1\"",
            "\"1.5\"",
        ] {
            assert_refused(&key, value, "expected ");
        }
        assert_refused(&key, "9_223_372_036_854_775_807", "");
    }
}

#[test]
fn every_number_has_a_floor_and_a_ceiling_that_its_error_names() {
    for (key, kind) in numbers().map(|(key, known)| (key, known.kind)) {
        let huge = if matches!(kind, Kind::Bytes) { "1_000_000_000_000_000_000" } else { "9_000_000_000_000_000" };
        assert_refused(&key, huge, " to ");
        if let Err(problem) = outcome(&key, "0") {
            assert!(problem.contains("from "), "{key}: {problem}");
        }
    }
}

#[test]
fn every_text_with_rubbish_is_refused_by_name_or_valid() {
    for (key, _) in texts() {
        for value in [
            "",
            " ",
            "x",
            " info ",
            "info.",
            "\\n",
            "\\u0000",
            "é",
            "${",
            "${NO_SUCH_VARIABLE}",
            "a b",
            "://",
            "*",
            "127.0.0.1.:1",
        ] {
            if let Err(problem) = outcome(&key, &format!("\"{value}\"")) {
                assert!(problem.contains(&key), "{key} = {value:?}: {problem}");
            }
        }
        for value in ["1", "true", "[]", "{}", "1979-05-27", "nonsense"] {
            if let Ok(settings) = outcome(&key, value) {
                panic!("{key} = {value} is accepted: {settings:?}");
            }
        }
        assert_refused(&key, "\"${NO_SUCH_VARIABLE}\"", "NO_SUCH_VARIABLE");
    }
}

#[test]
fn a_word_of_a_few_has_to_be_one_of_them() {
    for (key, known) in [("reload", "signal"), ("pubsub.mode", "dedicated"), ("log.format", "text")] {
        assert!(outcome(key, &format!("\"{known}\"")).is_ok());
        for wrong in ["", "x", &known.to_uppercase(), &format!("{known} "), &format!("{known}.")] {
            assert_refused(key, &format!("\"{wrong}\""), "is neither");
        }
    }
}

#[test]
fn the_console_stays_within_reach() {
    for (key, low) in [
        ("clients.request_bytes_max", "511"),
        ("clients.args_max", "7"),
        ("clients.idle_timeout_ms", "9"),
        ("clients.write_timeout_ms", "9"),
        ("auth.login_timeout_ms", "9"),
    ] {
        assert_refused(key, low, "from ");
    }
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    for (text, key) in [
        ("listen = \"127.0.0.1:7000\"\nmetrics.listen = \"127.0.0.1:7000\"", "metrics.listen"),
        ("listen = \"127.0.0.1:7000\"\nmetrics.listen = \"0.0.0.0:7000\"", "metrics.listen"),
        ("listen = \"127.0.0.1:7000\"\nupstream.url = \"redis://127.0.0.1:7000\"", "upstream.url"),
        (
            "upstream.reconnect_delay_min_ms = 10\nupstream.reconnect_delay_max_ms = 5",
            "upstream.reconnect_delay_max_ms",
        ),
        ("listen = \"0.0.0.0:7000\"", "listen"),
        ("auth.admins = [\"root\"]", "auth.admins"),
        ("upstream.password_file = \"/etc/hostname\"", "upstream.password_file"),
        ("upstream.url = \"redis://:pw@h\"\nupstream.password_file = \"/etc/hostname\"", "upstream.password_file"),
        ("auth.users = { \"a b\" = \"x\" }", "auth.users"),
        ("auth.users = { \"\" = \"x\" }", "auth.users"),
    ] {
        let config = Config::parse(text, Path::new("f")).expect("a configuration");
        let problem = GatewaySettings::new(&config).expect_err(text).to_string();
        assert!(problem.starts_with(&format!("{key}: ")), "{text}: {problem}");
    }
}

#[test]
fn what_is_valid_and_never_meant_is_warned_of() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (text, key) in [
        ("protected_mode = false\nmetrics.listen = \"0.0.0.0:9121\"", "metrics.listen"),
        ("runtime.threads = 8\npool.workers = 2", "runtime.threads"),
        ("upstream.url = \"redis://:$PASS@127.0.0.1\"", "upstream.url"),
        (&format!("auth.users.app = \"{empty}\""), "auth.users"),
        ("commands.deny = [\"respool\"]", "commands.deny"),
        ("pool.queue_bytes_max = \"1MiB\"\npool.batch_bytes_max = \"2MiB\"", "pool.batch_bytes_max"),
    ] {
        let config = Config::parse(text, Path::new("f")).expect("a configuration");
        let settings = GatewaySettings::new(&config).expect(text);
        assert!(settings.warnings.iter().any(|warning| warning.starts_with(&format!("{key}: "))), "{text}");
        let report = report(&config, &settings, None);
        assert!(report.contains(&format!("# WARNING: {key}: ")), "{text}: {report}");
    }
    assert_eq!(GatewaySettings::new(&Config::default()).expect("valid").warnings, Vec::<String>::new());
}

#[test]
fn an_error_holds_no_password() {
    for url in [
        "http://:hunter2@host",
        "redis://:hunter2@host:70000",
        "redis://user:hunter2@/0",
        "redis://:hunter2@[",
        "redis://:hunter2@h/0?password=hunter2",
        "hunter2@localhost:6379",
        "unix://:hunter2@tmp/x",
    ] {
        let problem = outcome("upstream.url", &format!("\"{url}\"")).expect_err(url);
        assert!(problem.starts_with("upstream.url: ") && !problem.contains("hunter2"), "{problem}");
    }
}
