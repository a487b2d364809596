//! Who may log in. Passwords are kept as SHA-256 digests, as in Redis's ACL files, and compared in
//! constant time.

use std::collections::BTreeMap;

use pool::Login;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// The user that `AUTH password` and no login at all stand for.
pub const DEFAULT_USER: &str = "default";

/// Bytes of a password. A longer one is wrong without being looked at, since hashing it would keep others waiting.
pub const PASSWORD_BYTES_MAX: usize = 512;

/// Bytes of the name of a refused login that are shown.
const SHOWN_BYTES: usize = 64;

/// One who may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// As `AUTH` gives it.
    pub name: String,
    /// Of the password.
    pub digest: Digest32,
}

/// A SHA-256 digest that does not show in logs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest32(pub [u8; 32]);

impl std::fmt::Debug for Digest32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("digest")
    }
}

impl Digest32 {
    /// From 64 hexadecimal digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if hex.len() != 64 || !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, index) in digest.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&hex[index..index + 2], 16).ok()?;
        }
        Some(Self(digest))
    }
}

/// All who may log in; nobody has to if there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// Those that the gateway knows.
    pub list: Vec<User>,
    /// The upstream decides who may log in, and knows them.
    pub elsewhere: bool,
    /// The logins at the upstream of those who have one of their own.
    pub upstream: BTreeMap<String, Login>,
}

impl Users {
    /// Whether clients have to log in.
    pub fn are_required(&self) -> bool {
        self.elsewhere || !self.list.is_empty()
    }

    /// Whether a client that has logged in as `name` may stay. As in Redis, the default user can always be had where
    /// nobody has to log in.
    pub fn keep(&self, name: &str) -> bool {
        match () {
            // It closes what it does not keep.
            () if self.elsewhere => true,
            () if self.are_required() => self.has(name),
            () => name == DEFAULT_USER,
        }
    }

    /// A name that was given with a wrong password, as a log may show it: cut, and without anything but visible ASCII.
    /// A password that was given in the place of the name is no name.
    pub fn shown(&self, name: &[u8]) -> String {
        if name.len() <= PASSWORD_BYTES_MAX && !self.list.iter().any(|user| user.name.as_bytes() == name) {
            let digest = digest(name);
            if self.list.iter().any(|user| user.digest.0 == digest) {
                return "(a password)".to_owned();
            }
        }
        let shown = name[..name.len().min(SHOWN_BYTES)].escape_ascii();
        if name.len() > SHOWN_BYTES { format!("{shown}... ({} bytes)", name.len()) } else { shown.to_string() }
    }

    /// Who a client is that has given `name`, or none, with the right password. Where nobody has to log in, nobody is
    /// anybody: any password was right.
    pub fn logged_in_as(&self, name: Option<&[u8]>) -> Option<String> {
        let name = name.map_or(DEFAULT_USER.into(), String::from_utf8_lossy);
        self.are_required().then(|| name.into_owned())
    }

    /// With which login what `name` sends runs at the upstream.
    pub fn login_of(&self, name: &str) -> Login {
        self.upstream.get(name).cloned().unwrap_or_default()
    }

    /// Whether it makes a difference to the upstream who has logged in.
    pub fn are_known_upstream(&self) -> bool {
        self.elsewhere || !self.upstream.is_empty()
    }

    /// Whether what is no password can prove a client to be this user.
    pub fn may_be_proven(&self, name: &str) -> bool {
        if self.elsewhere { self.upstream.contains_key(name) } else { self.has(name) }
    }

    /// Whether there is a user of this name.
    pub fn has(&self, name: &str) -> bool {
        self.list.iter().any(|user| user.name == name)
    }

    /// A user whose password is empty, if there is one.
    pub fn without_password(&self) -> Option<&str> {
        let empty = digest(b"");
        self.list.iter().find(|user| user.digest.0 == empty).map(|user| user.name.as_str())
    }

    /// Whether there is a user `name` (the default one if `None`) with this password. Takes as long for a
    /// wrong name as for a wrong password. A password longer than [`PASSWORD_BYTES_MAX`] is not looked at.
    pub fn admit(&self, name: Option<&[u8]>, password: &[u8]) -> bool {
        let name = name.unwrap_or(DEFAULT_USER.as_bytes());
        if !self.are_required() {
            // As in Redis while the default user has no password: any will do.
            return name == DEFAULT_USER.as_bytes();
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return false;
        }
        let digest = digest(password);
        let mut admitted = Choice::from(0);
        for user in &self.list {
            admitted |= user.name.as_bytes().ct_eq(name) & user.digest.0.ct_eq(&digest);
        }
        admitted.into()
    }
}

/// The digest of what may be a password. Nothing of it stays behind where it was worked on.
fn digest(secret: &[u8]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(secret);
    let digest = hasher.finalize_reset().into();
    // In the same place, as long as what it keeps at most.
    hasher.update([0; 63]);
    let _ = hasher.finalize_reset();
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_pair_is_admitted() {
        // sha256("hunter2")
        let digest = Digest32::parse("f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7").unwrap();
        let users = Users {
            list: vec![User { name: "app".into(), digest }, User { name: "default".into(), digest }],
            ..Users::default()
        };
        assert!(users.admit(Some(b"app"), b"hunter2"));
        assert!(users.admit(None, b"hunter2"));
        assert!(!users.admit(Some(b"app"), b"hunter3"));
        assert!(!users.admit(Some(b"ap"), b"hunter2"));
        assert!(Users::default().admit(Some(b"default"), b"any"), "nobody has to log in");
        assert!(!Users::default().admit(Some(b"app"), b"any"));
        assert_eq!(users.shown(b"app"), "app");
        assert_eq!(users.shown(b"hunter2"), "(a password)");
        assert_eq!(users.shown(b"a\x1b[31m\r\n\xff\""), r#"a\x1b[31m\r\n\xff\""#);
        assert_eq!(users.shown(&[b'x'; 65]), "x".repeat(64) + "... (65 bytes)");
        assert_eq!(users.logged_in_as(Some(b"app")).as_deref(), Some("app"));
        assert_eq!(users.logged_in_as(None).as_deref(), Some("default"));
        assert_eq!(Users::default().logged_in_as(Some(b"default")), None);
        assert!(users.keep("app") && !users.keep("gone"));
        assert!(Users::default().keep("default") && !Users::default().keep("app"));
        assert!(!format!("{users:?}").contains("245"), "digests stay out of logs");
        for refused in ["xyz", "", &"+f".repeat(32), &"é".repeat(32)] {
            assert_eq!(Digest32::parse(refused), None, "{refused}");
        }
    }

    #[test]
    fn a_password_that_is_too_long_is_wrong_unseen() {
        for (bytes, admitted) in [(PASSWORD_BYTES_MAX, true), (PASSWORD_BYTES_MAX + 1, false)] {
            let password = vec![b'x'; bytes];
            let users = Users {
                list: vec![User { name: "app".into(), digest: Digest32(Sha256::digest(&password).into()) }],
                ..Users::default()
            };
            assert_eq!(users.admit(Some(b"app"), &password), admitted, "{bytes} bytes");
        }
    }
}
