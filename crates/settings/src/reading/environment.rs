//! `${NAME}` in texts of the configuration stands for a variable of the environment. What is typed keeps the name, so
//! that whatever shows a configuration shows the name and not the value.

use toml::{Table, Value};

use crate::{Config, ConfigError, Key, Kind};

/// A configuration with the values of the variables in it.
pub(crate) struct Expanded {
    pub(crate) config: Config,
    /// The variables that were named, each with its key and its value.
    variables: Vec<Variable>,
}

struct Variable {
    key: String,
    name: String,
    value: String,
}

/// The configuration with the values that `lookup` has for the variables.
pub(crate) fn expand(config: &Config, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Expanded, ConfigError> {
    let unwritable = |problem: String| ConfigError::Value { key: String::new(), place: None, problem };
    let mut table = Table::try_from(config).map_err(|error| unwritable(error.to_string()))?;
    let (mut variables, mut has_changed) = (Vec::new(), false);
    expand_table("", &mut table, &mut |key, text| {
        let replaced = replaced(text, lookup, &mut |name, value| {
            variables.push(Variable { key: key.to_owned(), name: name.to_owned(), value: value.to_owned() });
        });
        has_changed |= replaced.as_ref().is_ok_and(|replaced| replaced != text);
        replaced.map_err(|problem| ConfigError::Value { key: key.to_owned(), place: None, problem })
    })?;
    if !has_changed {
        return Ok(Expanded { config: config.clone(), variables });
    }
    let config = table.try_into().map_err(|_| unwritable("a variable cannot stand here".to_owned()))?;
    Ok(Expanded { config, variables })
}

impl Expanded {
    /// An error that may quote values, with the names of the variables in their place.
    pub(crate) fn hide(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::Value { key, place, mut problem } => {
                let here = self.variables.iter().filter(|variable| variable.key == key && !variable.value.is_empty());
                for Variable { name, value, .. } in here {
                    problem = problem.replace(value.as_str(), &format!("${{{name}}}"));
                }
                ConfigError::Value { key, place, problem }
            }
            other @ (ConfigError::Read { .. } | ConfigError::Syntax { .. }) => other,
        }
    }
}

type Replace<'r> = dyn FnMut(&str, &str) -> Result<String, ConfigError> + 'r;

fn expand_table(before: &str, table: &mut Table, replace: &mut Replace<'_>) -> Result<(), ConfigError> {
    for (name, value) in table {
        expand_value(&format!("{before}{name}"), value, replace)?;
    }
    Ok(())
}

fn expand_value(key: &str, value: &mut Value, replace: &mut Replace<'_>) -> Result<(), ConfigError> {
    match value {
        Value::String(text) => *text = replace(key, text)?,
        Value::Array(values) => values.iter_mut().try_for_each(|value| expand_value(key, value, replace))?,
        Value::Table(table) if is_section(key) => expand_table(&format!("{key}."), table, replace)?,
        Value::Table(table) => table.iter_mut().try_for_each(|(_, value)| expand_value(key, value, replace))?,
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
    Ok(())
}

fn is_section(key: &str) -> bool {
    matches!(Key::named(key).map(|key| key.kind), Some(Kind::Section(_)))
}

/// `text` with its variables replaced; `$${` stands for `${` itself.
fn replaced(
    text: &str,
    lookup: &dyn Fn(&str) -> Option<String>,
    note: &mut dyn FnMut(&str, &str),
) -> Result<String, String> {
    let mut whole = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            whole.push_str(before);
            whole.push_str("${");
            rest = after;
            continue;
        }
        let Some((name, after)) = after.split_once('}').filter(|(name, _)| is_name(name)) else {
            return Err("after ${ there has to be the name of a variable and }".to_owned());
        };
        let value = lookup(name).ok_or_else(|| format!("the environment has no variable {name} in UTF-8"))?;
        whole.push_str(before);
        // As it is, whatever characters it has: a URL wants some of them written in another way.
        let in_login = whole.contains("://") && after.contains('@');
        whole.push_str(&if in_login { encoded(&value) } else { value.clone() });
        note(name, &value);
        rest = after;
    }
    whole.push_str(rest);
    Ok(whole)
}

fn is_name(text: &str) -> bool {
    !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.chars().all(|next| next.is_ascii_alphanumeric() || next == '_')
}

/// As a user's name or a password stands in a URL.
fn encoded(text: &str) -> String {
    let mut whole = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            whole.push(char::from(byte));
        } else {
            whole.push_str(&format!("%{byte:02X}"));
        }
    }
    whole
}

/// What to say of texts in which a variable seems to be meant and is not: a `$` before a name without braces.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let mut table = Table::try_from(config).unwrap_or_default();
    // It replaces nothing and refuses nothing.
    let _ = expand_table("", &mut table, &mut |key, text| {
        if text
            .split('$')
            .skip(1)
            .any(|after| after.starts_with(|next: char| next.is_ascii_alphabetic() || next == '_'))
        {
            found.push(format!(
                "{key}: a $ before a name is kept as it is; write ${{NAME}} for a variable of the environment"
            ));
        }
        Ok(text.to_owned())
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "PASS" => Some("p@s/s#%".to_owned()),
            "PORT" => Some("6390".to_owned()),
            "URL" => Some("redis://host:1".to_owned()),
            _ => None,
        }
    }

    fn expanded(text: &str) -> Result<String, String> {
        replaced(text, &lookup, &mut |_, _| {})
    }

    #[test]
    fn names_stand_for_the_values_of_variables() {
        for (text, value) in [
            ("127.0.0.1:${PORT}", "127.0.0.1:6390"),
            ("${URL}/3", "redis://host:1/3"),
            ("redis://app:${PASS}@host:${PORT}", "redis://app:p%40s%2Fs%23%25@host:6390"),
            ("nothing", "nothing"),
            ("$${PORT}", "${PORT}"),
            ("$PORT", "$PORT"),
            ("", ""),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(value), "{text}");
        }
        for refused in ["${", "${}", "${PORT", "${NOSUCH}", "${PORT:-1}", "${ PORT }", "${1}"] {
            assert!(expanded(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_error_names_the_variable_and_not_its_value() {
        let mut config = Config { listen: "${PASS}".into(), ..Config::default() };
        let expanded = expand(&config, &lookup).expect("there are such variables");
        assert_eq!(expanded.config.listen, "p@s/s#%".into());
        let value = |problem: &str| ConfigError::Value { key: "listen".into(), place: None, problem: problem.into() };
        assert_eq!(expanded.hide(value("\"p@s/s#%\" is wrong")).to_string(), "listen: \"${PASS}\" is wrong");
        config.listen = "$${PASS}".into();
        assert_eq!(expand(&config, &lookup).expect("no variables").config.listen, "${PASS}".into());
        config.auth.admins = vec!["${NOSUCH}".into()];
        let refused = expand(&config, &lookup).map(|_| ()).expect_err("refused").to_string();
        assert_eq!(refused, "auth.admins: the environment has no variable NOSUCH in UTF-8");
    }

    #[test]
    fn a_dollar_without_braces_is_warned_of() {
        let mut config = Config::default();
        assert_eq!(warnings(&config), Vec::<String>::new());
        config.upstream.url = "redis://:$PASS@host".into();
        assert!(warnings(&config)[0].starts_with("upstream.url: ") && !warnings(&config)[0].contains("PASS@"));
        config.upstream.url = "redis://:a$%24${PASS}$1@host".into();
        assert_eq!(warnings(&config), Vec::<String>::new());
    }
}
