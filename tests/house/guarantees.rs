//! The page of guarantees names tests for what it promises: they are there, and they are tests.

use std::{collections::BTreeSet, fs, path::PathBuf};

/// Where the promises stand.
const PAGE: &str = "crates/gateway/docs/guarantees.md";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether `module::…::test` is the path of a test.
fn is_test(path: &str) -> bool {
    let Some((modules, name)) = path.rsplit_once("::") else { return false };
    let module = modules.replace("::", "/");
    let files =
        [format!("tests/{module}.rs"), format!("tests/{module}/mod.rs"), format!("crates/pool/tests/{module}.rs")];
    let Some(text) = files.iter().find_map(|file| fs::read_to_string(root().join(file)).ok()) else { return false };
    let lines: Vec<&str> = text.lines().collect();
    let wanted = format!("fn {name}(");
    let at = lines.iter().position(|line| line.contains(&wanted));
    at.is_some_and(|at| {
        lines[at.saturating_sub(2)..at].iter().any(|line| line.starts_with("#[") && line.contains("test"))
    })
}

/// What stands between backticks and looks like the path of a test.
fn named(text: &str) -> BTreeSet<&str> {
    let spans = text.split('`').skip(1).step_by(2);
    let is_path =
        |span: &&str| span.contains("::") && span.chars().all(|next| next.is_ascii_lowercase() || "_:".contains(next));
    spans.filter(is_path).collect()
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page is there");
    let named = named(&page);
    let missing: Vec<_> =
        named.iter().filter(|path| !is_test(path) && **path != "module::test" && **path != "pool::").collect();
    assert!(missing.is_empty(), "the page names tests that are not there: {missing:?}");
    assert!(named.len() >= 18, "{} tests cannot be all: {named:?}", named.len());
}

#[test]
fn every_promise_has_tests_and_limits() {
    let page = fs::read_to_string(root().join(PAGE)).expect("the page is there");
    let promises: Vec<&str> = page.split("\n**").skip(1).collect();
    let titles: Vec<&str> = promises.iter().filter_map(|promise| promise.split(".**").next()).collect();
    let due =
        ["Order", "Exactly one answer", "One upstream", "At-most-once writes", "Bounded memory", "Isolation", "Drain"];
    assert_eq!(titles, due);
    for promise in promises {
        assert!(promise.contains("*Limits:*") && named(promise).len() >= 2, "{promise}");
    }
}

#[test]
fn a_test_that_is_not_there_is_missed() {
    assert!(is_test("house::guarantees::a_test_that_is_not_there_is_missed"));
    assert!(!is_test("house::guarantees::is_test") && !is_test("house::guarantees::nosuch"));
    assert!(!is_test("guarantees::a_test_that_is_not_there_is_missed") && !is_test("nosuch::nosuch"));
}
