//! Secrets that stand in files of their own, as systemd's credentials, Docker's and Kubernetes's secrets do.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::{ConfigError, meaning::ranges::value, reading::unreadable::hint};

/// Longer than any password, and short enough to be read at once.
const BYTES_MAX: u64 = 64 * 1024;

/// The secret in a file: its first line. `key` names the file.
pub(crate) fn read(key: &str, path: &str) -> Result<String, ConfigError> {
    let file = match open(Path::new(path)) {
        Ok(file) => file,
        Err(problem) => return value(key, format!("cannot read {path}: {problem}")),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(BYTES_MAX + 1).read_to_end(&mut bytes) {
        return value(key, format!("cannot read {path}: {error}"));
    }
    if bytes.len() as u64 > BYTES_MAX {
        return value(key, format!("{path} is longer than a secret can be, {BYTES_MAX} bytes"));
    }
    let Ok(mut text) = String::from_utf8(bytes) else {
        return value(key, format!("{path} holds bytes that are no UTF-8"));
    };
    // Editors and `echo` end a line.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() {
        return value(key, format!("{path} is empty"));
    }
    if text.contains('\n') {
        return value(key, format!("{path} holds more than one line"));
    }
    Ok(text)
}

/// Only what can be read again at a reload, and never makes the reader wait.
fn open(path: &Path) -> Result<File, String> {
    let failed = |error: io::Error| format!("{error}{}", hint(&error));
    let is_file = path.metadata().map_err(failed)?.is_file();
    if !is_file {
        return Err("it is no file".to_owned());
    }
    File::open(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_of(content: &[u8]) -> Result<String, String> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("secret");
        std::fs::write(&path, content).expect("written");
        read("k", path.to_str().expect("text")).map_err(|error| error.to_string())
    }

    #[test]
    fn a_secret_is_the_one_line_of_a_file() {
        for (content, secret) in
            [(&b"hunter2"[..], "hunter2"), (b"hunter2\n", "hunter2"), (b"p w\r\n", "p w"), (b" x ", " x ")]
        {
            assert_eq!(read_of(content).as_deref(), Ok(secret));
        }
        for (content, problem) in
            [(&b""[..], "is empty"), (b"\n", "is empty"), (b"hunter2\nmore", "more than one line"), (b"\xff", "UTF-8")]
        {
            let refused = read_of(content).expect_err("refused");
            assert!(
                refused.starts_with("k: ") && refused.contains(problem) && !refused.contains("hunter2"),
                "{refused}"
            );
        }
        assert!(read_of(&[b'x'; 70_000]).expect_err("refused").contains("longer"));
        for path in ["/dev/zero", "/nonexistent", "/", ""] {
            assert!(read("k", path).expect_err("refused").to_string().starts_with("k: cannot read"), "{path}");
        }
    }
}
