//! A password in memory: one copy for all that need it, which is wiped when the last of them has gone. Nothing shows it.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// See the module's documentation. Any bytes; comparing takes as long wherever two of them differ.
#[derive(Clone)]
pub struct Password(Arc<Zeroizing<Vec<u8>>>);

impl Password {
    /// Takes it over from a buffer, which is wiped with it.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// To log in with it, and for nothing else.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

/// A copy; whoever has the text still has it.
impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.reveal().ct_eq(other.reveal()).into()
    }
}

impl Eq for Password {}

impl Hash for Password {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.reveal().hash(state);
    }
}

/// Passwords never reach a log.
impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("password")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_equals_the_same_and_does_not_show() {
        let (one, same, other) = (Password::from("hunter2"), Password::new(b"hunter2".to_vec()), "x");
        assert!(one == same && one != Password::from(other) && one != Password::new(Vec::new()));
        assert_eq!(format!("{one:?}"), "password");
    }
}
