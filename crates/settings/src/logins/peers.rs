//! Processes of this machine that need no password: clients of unix sockets, known by the system user that they run as,
//! as by PostgreSQL's `peer`.

use std::collections::{BTreeMap, btree_map::Entry};

use nix::unistd;

/// Users by the number of the system user whose processes they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers(BTreeMap<u32, String>);

impl Peers {
    /// From texts as `SYSTEM_USER:USER`, or `USER` where both have one name; a system user may be given by its number.
    /// Otherwise why one of them cannot be.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let mut peers = Self::default();
        for text in texts {
            let (system, user) = text.split_once(':').unwrap_or((text, text));
            let uid = uid(system).ok_or_else(|| format!("\"{text}\": the system knows no user \"{system}\""))?;
            match peers.0.entry(uid) {
                Entry::Vacant(place) => drop(place.insert(user.to_owned())),
                Entry::Occupied(other) => {
                    return Err(format!("\"{text}\": the system user {uid} is \"{}\" already", other.get()));
                }
            }
        }
        Ok(peers)
    }

    /// Who a process is that runs as the system user `uid`.
    pub fn user(&self, uid: u32) -> Option<&str> {
        self.0.get(&uid).map(String::as_str)
    }

    /// All who some process may be.
    pub(crate) fn users(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

fn uid(text: &str) -> Option<u32> {
    if text.bytes().all(|digit| digit.is_ascii_digit()) {
        return text.parse().ok();
    }
    Some(unistd::User::from_name(text).ok()??.uid.as_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Peers, String> {
        Peers::parse(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_system_user_is_a_user_by_name_or_by_number() {
        let peers = parse(&["root:app", "4242:app", "4243:a:b"]).expect("valid");
        assert_eq!((peers.user(0), peers.user(4242), peers.user(1)), (Some("app"), Some("app"), None));
        assert_eq!(peers.user(4243), Some("a:b"));
        assert_eq!(parse(&["root"]).expect("valid").user(0), Some("root"));
        assert_eq!(parse(&[]).expect("valid").user(0), None);
    }

    #[test]
    fn what_is_no_system_user_is_told() {
        assert_eq!(
            parse(&["no-such-user"]).unwrap_err(),
            "\"no-such-user\": the system knows no user \"no-such-user\""
        );
        assert_eq!(parse(&[":app"]).unwrap_err(), "\":app\": the system knows no user \"\"");
        assert_eq!(parse(&["4294967296:a"]).unwrap_err(), "\"4294967296:a\": the system knows no user \"4294967296\"");
        assert_eq!(parse(&["root:a", "0:b"]).unwrap_err(), "\"0:b\": the system user 0 is \"a\" already");
    }
}
