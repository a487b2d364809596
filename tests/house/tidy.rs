//! The style that can be checked by a program: every source file is short and opens with a description,
//! names say something, and nothing unfinished or left over from a debugging session stays.

use std::{
    fs,
    path::{Path, PathBuf},
};

const LINES_MAX: usize = 400;
const BANNED_NAMES: [&str; 8] = ["util", "utils", "common", "helper", "helpers", "misc", "manager", "managers"];
/// Entries of a room beside its face.
const ENTRIES_MAX: usize = 12;
/// Spelled in two halves, so that this file may stay.
const BANNED_MACROS: [(&str, &str); 3] = [("to", "do!"), ("db", "g!"), ("unimpl", "emented!")];

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

pub(super) fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && !path.ends_with("target") && !path.ends_with("node_modules") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every source file with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&root().join("crates"), &mut files);
    rust_files(&root().join("tests"), &mut files);
    assert!(files.len() > 30, "{} files are too few to be all", files.len());
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect()
}

/// Fails with all offenders at once.
#[track_caller]
pub(super) fn assert_none(offenders: &[String], what: &str) {
    assert!(offenders.is_empty(), "{what}:\n{}", offenders.join("\n"));
}

fn offenders(fault: impl Fn(&Path, &str) -> Option<String>) -> Vec<String> {
    let sources = sources();
    let faults = sources.iter().filter_map(|(path, text)| Some((path, fault(path, text)?)));
    faults.map(|(path, fault)| format!("{}: {fault}", path.display())).collect()
}

#[test]
fn no_file_is_longer_than_it_may_be() {
    let long = offenders(|_, text| {
        Some(text.lines().count()).filter(|lines| *lines > LINES_MAX).map(|lines| lines.to_string())
    });
    assert_none(&long, "files of more than 400 lines");
}

#[test]
fn every_file_opens_with_what_it_is_for() {
    let bare = offenders(|path, text| {
        let header = text.lines().take_while(|line| line.starts_with("//!")).count();
        // The front page of a library may say more.
        let max = if path.ends_with("src/lib.rs") { usize::MAX } else { 6 };
        (!(1..=max).contains(&header)).then(|| format!("{header} lines of header"))
    });
    assert_none(&bare, "files without a header of up to 6 lines");
}

#[test]
fn no_name_says_nothing() {
    let vague = offenders(|path, _| {
        let names: Vec<_> =
            path.strip_prefix(root()).ok()?.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let banned = names.iter().find(|name| BANNED_NAMES.contains(&name.trim_end_matches(".rs")))?;
        Some(banned.clone())
    });
    assert_none(&vague, "names that say nothing");
}

#[test]
fn nothing_is_unfinished() {
    let unfinished = offenders(|_, text| {
        let found =
            BANNED_MACROS.iter().map(|(one, other)| format!("{one}{other}")).find(|banned| text.contains(banned))?;
        Some(found)
    });
    assert_none(&unfinished, "unfinished code");
}

#[test]
fn tests_sleep_in_one_place_only() {
    let sleepers = offenders(|path, text| {
        let is_integration_test = path.starts_with(root().join("tests"));
        let excepted = path.ends_with("support/wait.rs") || path.ends_with("house/tidy.rs");
        (is_integration_test && !excepted && text.contains("sleep(")).then(|| "sleeps".to_owned())
    });
    assert_none(&sleepers, "tests that sleep instead of waiting for a condition");
}

fn rooms(directory: &Path, found: &mut Vec<(PathBuf, usize)>) {
    let entries = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
    let counted: Vec<PathBuf> = entries
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            !(name.starts_with('.') || name.starts_with("__") || name == "main.rs" || name == "mod.rs")
        })
        .collect();
    counted.iter().filter(|path| path.is_dir()).for_each(|path| rooms(path, found));
    found.push((directory.to_owned(), counted.len()));
}

#[test]
fn no_room_of_the_tests_holds_more_than_a_dozen_entries() {
    let mut found = Vec::new();
    rooms(&root().join("tests"), &mut found);
    let full = found.iter().filter(|(_, entries)| *entries > ENTRIES_MAX);
    let full: Vec<String> = full.map(|(path, entries)| format!("{}: {entries}", path.display())).collect();
    assert_none(&full, "rooms of more than 12 entries");
}

#[test]
fn only_what_was_agreed_is_visible_at_the_top() {
    let agreed = ["Cargo.lock", "Cargo.toml", "README.md", "config", "crates", "target", "tests"];
    let entries = fs::read_dir(root()).expect("readable");
    let names = entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    let strange: Vec<String> =
        names.filter(|name| !name.starts_with('.') && !agreed.contains(&name.as_str())).collect();
    assert_none(&strange, "visible at the top level");
}
