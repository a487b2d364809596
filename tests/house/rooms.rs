//! How the crates are built: rooms in one order, each of which uses only those below it; none too full to look
//! into; and fields that stay in their room, unless a reason stands beside them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::tidy::{assert_none, root, rust_files};

/// Entries of a folder beside its face.
const ENTRIES_MAX: usize = 12;
const FACES: [&str; 3] = ["main.rs", "lib.rs", "mod.rs"];

/// A crate whose rooms stand in one order.
struct House {
    name: &'static str,
    /// From the top to the ground: a room uses only those that stand behind it.
    rooms: &'static [&'static str],
    /// Whether fields stay in their room. A library shows fields to others, and says there what they mean.
    closed: bool,
}

const HOUSES: [House; 3] = [
    House {
        name: "gateway",
        rooms: &[
            "process",
            "topology",
            "listener",
            "session",
            "exclusive",
            "pubsub",
            "local_reply",
            "console",
            "client",
            "observe",
            "command",
            "config",
        ],
        closed: true,
    },
    House {
        name: "pool",
        rooms: &[
            "pool",
            "worker",
            "caller",
            "shared",
            "exclusive",
            "queue",
            "stats",
            "upstream",
            "bounds",
            "settings",
            "time",
            "error",
        ],
        closed: false,
    },
    House {
        name: "loadtest",
        rooms: &[
            "cli", "run", "compare", "tune", "serve", "report", "drive", "traffic", "measure", "load", "system",
            "target",
        ],
        closed: false,
    },
];

impl House {
    fn directory(&self) -> PathBuf {
        root().join("crates").join(self.name).join("src")
    }

    /// Its files with the room that each stands in; those that stand in none, such as `main.rs`, are left out.
    fn files(&self) -> Vec<(String, PathBuf, String)> {
        let (directory, mut paths) = (self.directory(), Vec::new());
        rust_files(&directory, &mut paths);
        let in_room = |path: PathBuf| {
            let first = path.strip_prefix(&directory).ok()?.iter().next()?.to_string_lossy().into_owned();
            let room = first.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).expect("text");
            (!FACES.contains(&first.as_str())).then_some((room, path, text))
        };
        paths.into_iter().filter_map(in_room).collect()
    }
}

fn is_word(byte: char) -> bool {
    byte.is_alphanumeric() || byte == '_'
}

/// The first names behind each `crate::` of a source text: one, or those of a list in braces.
fn imported(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut names = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(is_word) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.push(rest.chars().take_while(|byte| is_word(*byte)).collect());
            continue;
        };
        let (mut depth, mut item) = (0, String::new());
        for byte in list.chars() {
            match byte {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => names.push(std::mem::take(&mut item)),
                _ if depth == 0 => item.push(byte),
                _ => {}
            }
        }
        names.push(item);
    }
    let first = |name: String| name.trim().chars().take_while(|byte| is_word(*byte)).collect::<String>();
    names.into_iter().map(first).filter(|name| !name.is_empty()).collect()
}

/// Imports that do not go down: what is wrong with each.
fn misplaced(rooms: &[&str], room: &str, text: &str) -> Vec<String> {
    let place = |name: &str| rooms.iter().position(|room| *room == name);
    let fault = |name: String| match (place(room), place(&name)) {
        (Some(from), Some(to)) if to < from => Some(format!("{room} uses {name}, which stands above it")),
        (Some(_), None) => Some(format!("{room} uses {name}, which is no room")),
        _ => None,
    };
    imported(text).into_iter().filter_map(fault).collect()
}

/// Fields that others than the room can reach without a reason, by name.
fn open_fields(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_comment = |line: &&&str| line.starts_with("//") || line.starts_with("#[");
    let has_reason =
        |at: usize| lines[..at].iter().rev().take_while(is_comment).any(|line| line.starts_with("// Open:"));
    let mut open = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let field = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub "));
        let name: String = field.unwrap_or_default().chars().take_while(|byte| is_word(*byte)).collect();
        let is_field = field.is_some_and(|field| field[name.len()..].starts_with(": "));
        let is_tuple = line.contains("struct ") && (line.contains("(pub(crate) ") || line.contains("(pub "));
        let head = lines[..at].iter().rposition(|line| line.contains("struct ")).filter(|_| is_field).unwrap_or(at);
        if (is_field || is_tuple) && !has_reason(at) && !has_reason(head) {
            open.push(if is_field { name } else { (*line).to_owned() });
        }
    }
    open
}

#[test]
fn every_room_stands_in_the_order_of_its_crate() {
    let mut strange = Vec::new();
    for house in HOUSES {
        let entries = fs::read_dir(house.directory()).expect("readable");
        let mut found: Vec<String> = entries
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .filter(|name| !FACES.contains(&name.as_str()))
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .collect();
        found.sort();
        let mut rooms = house.rooms.to_vec();
        rooms.sort_unstable();
        if found != rooms {
            strange.push(format!("{}: {found:?} are there, {rooms:?} have a place", house.name));
        }
    }
    assert_none(&strange, "rooms without a place, or places without a room");
}

#[test]
fn no_room_uses_one_that_stands_above_it() {
    let mut upwards = Vec::new();
    for house in HOUSES {
        for (room, path, text) in house.files() {
            let faults = misplaced(house.rooms, &room, &text);
            upwards.extend(faults.into_iter().map(|fault| format!("{}: {fault}", path.display())));
        }
    }
    assert_none(&upwards, "imports that do not go down");
}

#[test]
fn fields_stay_in_their_room_or_say_why_not() {
    let mut open = Vec::new();
    for house in HOUSES.iter().filter(|house| house.closed) {
        for (_, path, text) in house.files() {
            open.extend(open_fields(&text).into_iter().map(|field| format!("{}: {field}", path.display())));
        }
    }
    assert_none(&open, "fields open to other rooms without a comment `// Open: reason`");
}

fn count_entries(directory: &Path, full: &mut Vec<String>) {
    let entries = fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
    let counted: Vec<PathBuf> = entries
        .filter(|path| !FACES.iter().any(|face| path.ends_with(face)))
        .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
        .collect();
    counted.iter().filter(|path| path.is_dir()).for_each(|path| count_entries(path, full));
    if counted.len() > ENTRIES_MAX {
        full.push(format!("{}: {}", directory.display(), counted.len()));
    }
}

#[test]
fn no_room_holds_more_than_a_dozen_entries() {
    let mut full = Vec::new();
    for member in fs::read_dir(root().join("crates")).expect("readable") {
        let source = member.expect("readable").path().join("src");
        if source.is_dir() {
            count_entries(&source, &mut full);
        }
    }
    assert_none(&full, "folders of more than 12 entries");
}

#[test]
fn these_checks_see_what_they_are_for() {
    let text = "use crate::{\n    high::a::{b, c},\n    low,\n};\n// crate::unseen\nfn f() { crate::strange::g(); mycrate::x(); }\n";
    assert_eq!(imported(text), ["high", "low", "strange"]);
    let faults = misplaced(&["high", "middle", "low"], "middle", text);
    assert_eq!(faults, ["middle uses high, which stands above it", "middle uses strange, which is no room"]);
    let text = "pub(crate) struct A {\n    pub(crate) bare: u8,\n    // Open: said.\n    pub(crate) said: u8,\n    pub(super) near: u8,\n}\n\n// Open: all of it.\nstruct B {\n    pub(crate) fine: u8,\n}\n\nstruct C(pub(crate) u8);\n";
    assert_eq!(open_fields(text), ["bare", "struct C(pub(crate) u8);"]);
}
