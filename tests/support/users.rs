//! Users for the gateway's configuration: names and passwords as the section that admits them.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// `[auth.users]` with these names and passwords.
pub fn users(pairs: &[(&str, &str)]) -> String {
    let mut section = "[auth.users]\n".to_owned();
    for (name, password) in pairs {
        let digest = Sha256::digest(password).iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        let _ = writeln!(section, "{name} = \"{digest}\"");
    }
    section
}
