//! What the project is built of: packages of the public registry only, under licences on the list in
//! `config/deny.toml`. `cargo deny` says more, where it is installed; this holds everywhere.

use std::{collections::BTreeSet, env, path::PathBuf, process::Command};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn file(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn allowed_licences() -> BTreeSet<String> {
    let rules: toml::Table = file("config/deny.toml").parse().expect("TOML");
    let allowed = rules["licenses"]["allow"].as_array().expect("a list");
    allowed.iter().map(|licence| licence.as_str().expect("a name").to_owned()).collect()
}

/// Whether the licences in an expression of SPDX, or of its forerunner with slashes, suffice.
fn suffices(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let sufficient = any_of(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "{expression} is no expression");
    sufficient
}

fn any_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut sufficient = all_of(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        sufficient |= all_of(words, at, allowed);
    }
    sufficient
}

fn all_of(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut sufficient = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        sufficient &= one(words, at, allowed);
    }
    sufficient
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let first = words[*at];
    *at += 1;
    if first == "(" {
        let sufficient = any_of(words, at, allowed);
        *at += 1;
        return sufficient;
    }
    if words.get(*at) == Some(&"WITH") {
        *at += 2;
        return allowed.contains(&format!("{first} WITH {}", words[*at - 1]));
    }
    allowed.contains(first)
}

#[test]
fn licences_are_read_as_they_are_meant() {
    let allowed: BTreeSet<String> = ["MIT".to_owned(), "ISC".to_owned()].into();
    for expression in ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "(MIT OR GPL-3.0) AND ISC", "Apache-2.0 WITH x OR ISC"] {
        assert!(suffices(expression, &allowed), "{expression}");
    }
    for expression in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "MIT WITH x"] {
        assert!(!suffices(expression, &allowed), "{expression}");
    }
}

/// Everything that is built on this kind of machine, and the workspace itself.
fn packages() -> Vec<serde_json::Value> {
    let rustc = Command::new(env::var("RUSTC").unwrap_or("rustc".into())).arg("-vV").output().expect("rustc is there");
    let version = String::from_utf8(rustc.stdout).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let mut cargo = Command::new(env::var("CARGO").expect("run by cargo"));
    cargo.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let metadata = cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", host]).output();
    let metadata = metadata.expect("cargo is there");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 50, "{} packages cannot be all", packages.len());
    packages.clone()
}

#[test]
fn no_dependency_needs_a_newer_rust_than_is_promised() {
    let number = |text: &str| -> Vec<u32> { text.split('.').map(|part| part.parse().expect("a number")).collect() };
    let workspace: toml::Table = file("Cargo.toml").parse().expect("TOML");
    let promised = workspace["workspace"]["package"]["rust-version"].as_str().expect("text");
    let (mut too_new, mut told) = (Vec::new(), 0);
    for package in packages() {
        if let Some(needed) = package["rust_version"].as_str() {
            told += 1;
            // 1.90 is 1.90.0.
            let least = number(promised).into_iter().chain([0]).collect::<Vec<_>>();
            if number(needed) > least {
                too_new.push(format!("{} needs {needed}", package["name"]));
            }
        }
    }
    assert!(told > 50, "only {told} packages say what they need");
    assert!(too_new.is_empty(), "newer than {promised}: {too_new:?}");
}

#[test]
fn every_crate_tells_a_registry_what_it_is_for() {
    let ours: Vec<_> = packages().into_iter().filter(|package| package["source"].is_null()).collect();
    let published = ours.iter().filter(|package| package["publish"].is_null());
    let mut count = 0;
    for package in published {
        count += 1;
        let name = package["name"].as_str().expect("a name");
        // Short names belong to others there.
        assert!(name.starts_with("respool"), "{name} is no name of this project");
        let is_there = |key: &str| match &package[key] {
            serde_json::Value::String(text) => !text.is_empty(),
            serde_json::Value::Array(list) => !list.is_empty() && list.len() <= 5,
            _ => false,
        };
        for key in ["description", "license", "keywords", "categories"] {
            assert!(is_there(key), "{name} has no {key}, or too many");
        }
    }
    assert!(count >= 7, "{count} crates cannot be all");
}

#[test]
fn every_dependency_has_a_licence_on_the_list() {
    let (allowed, packages) = (allowed_licences(), packages());
    let refused: Vec<String> = packages
        .iter()
        .map(|package| (&package["name"], package["license"].as_str().unwrap_or("none")))
        .filter(|(_, licence)| !suffices(licence, &allowed))
        .map(|(name, licence)| format!("{name}: {licence}"))
        .collect();
    assert!(refused.is_empty(), "licences that are not on the list:\n{}", refused.join("\n"));
}

#[test]
fn every_dependency_comes_from_the_registry() {
    let lock: toml::Table = file("Cargo.lock").parse().expect("TOML");
    let packages = lock["package"].as_array().expect("a list");
    let strange: Vec<_> = packages
        .iter()
        .filter(|package| package.get("source").is_some_and(|source| source.as_str() != Some(REGISTRY)))
        .map(|package| package["name"].to_string())
        .collect();
    assert!(strange.is_empty(), "from elsewhere: {strange:?}");
}
