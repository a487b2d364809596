//! `deny`, of all and of one user: each entry names a command, so that a list which denies nothing is noticed. And
//! `blocking`.

use std::collections::HashSet;

use crate::{
    ConfigError,
    meaning::{command_names, ranges::value},
    sections::commands::Commands,
};

/// The command without which nobody can log in.
const OF_LOGINS: &str = "AUTH";

/// The commands and subcommands that nobody may send, in capitals.
pub(crate) fn denied(commands: &Commands) -> Result<HashSet<Vec<u8>>, ConfigError> {
    listed("commands.deny", &commands.deny, commands)
}

/// Those that `key` lists.
pub(crate) fn listed(key: &str, deny: &[String], commands: &Commands) -> Result<HashSet<Vec<u8>>, ConfigError> {
    let known: Vec<String> = commands.known.iter().map(|name| name.to_ascii_uppercase()).collect();
    if let Some(name) = known.iter().find(|name| !has_form(name)) {
        return value("commands.known", format!("\"{name}\" is not written as COMMAND or COMMAND|SUBCOMMAND"));
    }
    let mut denied = HashSet::new();
    for entry in deny {
        let name = entry.to_ascii_uppercase();
        if let Some(problem) = fault(&name, &known) {
            return value(key, format!("\"{entry}\" {problem}"));
        }
        denied.insert(name.into_bytes());
    }
    Ok(denied)
}

/// The commands that block and do not say so, in capitals.
pub(crate) fn blocking(commands: &Commands) -> Result<HashSet<Vec<u8>>, ConfigError> {
    let (key, mut blocking) = ("commands.blocking", HashSet::new());
    for entry in &commands.blocking {
        let name = entry.to_ascii_uppercase();
        if !has_form(&name) || name.contains('|') {
            return value(key, format!("\"{entry}\" is not written as COMMAND"));
        }
        if command_names::fault(&name).is_none() {
            return value(key, format!("\"{entry}\" is none of a module: respool knows whether it blocks"));
        }
        blocking.insert(name.into_bytes());
    }
    Ok(blocking)
}

fn fault(name: &str, known: &[String]) -> Option<String> {
    if !has_form(name) {
        let close = name.split_whitespace().collect::<Vec<_>>().join("|");
        let hint = if has_form(&close) { format!(": write \"{close}\"") } else { String::new() };
        return Some(format!("is not written as COMMAND or COMMAND|SUBCOMMAND{hint}"));
    }
    let command = name.split('|').next().unwrap_or_default();
    if command == OF_LOGINS {
        return Some("cannot be denied: without it nobody could log in".to_owned());
    }
    // Modules put a dot into the names of their commands, and nobody has a list of those.
    if command.contains('.') || known.iter().any(|known| known == name || known == command) {
        return None;
    }
    let fault = command_names::fault(name)?;
    Some(format!(
        "{fault}{} if the upstream has this command, add it to commands.known",
        if fault.ends_with('?') { " Or," } else { ";" }
    ))
}

/// One or two words of visible ASCII.
fn has_form(name: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
    name.split('|').count() <= 2 && name.split('|').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(entry: &str) -> Option<String> {
        let commands = Commands {
            deny: vec![entry.to_owned()],
            known: vec!["newcmd".into(), "secret-b840fc02".into()],
            ..Commands::default()
        };
        denied(&commands).err().map(|error| error.to_string())
    }

    #[test]
    fn only_a_command_that_nobody_here_knows_is_said_to_block() {
        let names = |entry: &str| blocking(&Commands { blocking: vec![entry.to_owned()], ..Commands::default() });
        assert_eq!(names("fsl.bpop").expect("a name"), HashSet::from([b"FSL.BPOP".to_vec()]));
        for entry in ["", "a b", "json.x|y", "blpop", "Get"] {
            assert!(names(entry).is_err(), "{entry:?}");
        }
    }

    #[test]
    fn an_entry_that_denies_nothing_is_refused_by_name() {
        for (entry, expected) in [
            (
                "config set",
                "commands.deny: \"config set\" is not written as COMMAND or COMMAND|SUBCOMMAND: write \"CONFIG|SET\"",
            ),
            (
                "flushall ",
                "commands.deny: \"flushall \" is not written as COMMAND or COMMAND|SUBCOMMAND: write \"FLUSHALL\"",
            ),
            ("", "commands.deny: \"\" is not written as COMMAND or COMMAND|SUBCOMMAND"),
            ("config|set|x", "commands.deny: \"config|set|x\" is not written as COMMAND or COMMAND|SUBCOMMAND"),
            ("config|", "commands.deny: \"config|\" is not written as"),
            (
                "*",
                "commands.deny: \"*\" is not the name of a command; if the upstream has this command, add it to commands.known",
            ),
            (
                "FLUSHAL",
                "commands.deny: \"FLUSHAL\" is not the name of a command; did you mean \"FLUSHALL\"? Or, if the upstream",
            ),
            ("@dangerous", "commands.deny: \"@dangerous\" is not the name of a command"),
            ("get|x", "commands.deny: \"get|x\" is not the name of a command: GET has no subcommands"),
            ("auth", "commands.deny: \"auth\" cannot be denied: without it nobody could log in"),
        ] {
            let refusal = refusal(entry).unwrap_or_else(|| panic!("{entry:?} is accepted"));
            assert!(refusal.starts_with(expected), "{refusal}");
        }
        for entry in [
            "flushall",
            "Config|Set",
            "json.set",
            "FT.CONFIG|SET",
            "NEWCMD",
            "newcmd|sub",
            "secret-b840fc02",
            "respool",
            "hello",
        ] {
            assert_eq!(refusal(entry), None, "{entry}");
        }
    }
}
