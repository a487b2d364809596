//! The page of error replies is whole: whatever error the gateway may answer of its own stands there.

use std::fs;

use super::tidy::root;

/// Where such errors are written, and what stands before each.
const SOURCES: [(&str, &str); 8] = [
    ("crates/gateway/src/command/errors.rs", "\"ERR respool: "),
    ("crates/gateway/src/command/errors.rs", "DENIED: &str = \""),
    ("crates/gateway/src/command/classify.rs", "Class::Refused(\""),
    ("crates/gateway/src/console/command.rs", "errors::refused(\""),
    ("crates/pool/src/error.rs", "#[error(\""),
    ("crates/cluster/src/round/answer.rs", "\"ERR respool: "),
    ("crates/cluster/src/round/unit.rs", "\"ERR respool: {name} "),
    ("crates/route/src/merge.rs", "#[error(\""),
];

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What of an error does not depend on the case: its text up to a figure, a reason or a comma.
fn constant(text: &str) -> String {
    let text = text.replace("\\\"", "\u{1}");
    let end = text.find(['"', '{', '(', ':', ',']).unwrap_or(text.len());
    text[..end].replace('\u{1}', "\"").trim().to_owned()
}

#[test]
fn every_error_of_the_gateway_stands_on_the_page() {
    let page = read("crates/gateway/docs/errors.md");
    let mut found = 0;
    for (path, mark) in SOURCES {
        let text = read(path);
        let errors = text.split(mark).skip(1).map(constant);
        for error in errors.filter(|error| !error.is_empty()) {
            found += 1;
            assert!(page.contains(&error), "{path}: the page of error replies does not tell of `{error}`");
        }
    }
    assert!(found >= 25, "{found} errors cannot be all");
}
