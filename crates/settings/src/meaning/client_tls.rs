//! What `[tls]` means: reads the files that it names, so that what is wrong with them is said before anybody connects.

use tls::{ClientAuth, Pair, ServerFiles, ServerTls, TlsError, Version};

use crate::{
    Config, ConfigError,
    meaning::ranges::{one_of, value},
    reading::unreadable::hint,
};

/// TLS to clients, if there is a certificate to show.
pub(crate) fn client_tls(config: &Config) -> Result<Option<ServerTls>, ConfigError> {
    let files = files(config)?;
    if files.pairs.is_empty() {
        return Ok(None);
    }
    match ServerTls::new(&files) {
        Ok(tls) => Ok(Some(tls)),
        Err(error) => value("tls", explained(&error)),
    }
}

/// What is wrong with a file, and what to do about it.
pub(crate) fn explained(error: &TlsError) -> String {
    if let TlsError::Read { error: cause, .. } = error {
        return format!("{error}{}", hint(cause));
    }
    error.to_string()
}

/// Whether the name in a client's certificate is that of its user.
pub(crate) fn names_users(config: &Config) -> Result<bool, ConfigError> {
    match config.tls.user_from_certificate.as_str() {
        "" => Ok(false),
        "CN" if config.tls.client_auth == "none" => {
            value("tls.user_from_certificate", "needs a client_auth of \"optional\" or \"required\"")
        }
        "CN" => Ok(true),
        other => value("tls.user_from_certificate", format!("\"{other}\" is neither \"CN\" nor empty")),
    }
}

fn files(config: &Config) -> Result<ServerFiles, ConfigError> {
    let tls = &config.tls;
    let client_auth = match tls.client_auth.as_str() {
        "none" => ClientAuth::None,
        "optional" => ClientAuth::Optional,
        "required" => ClientAuth::Required,
        other => {
            return value("tls.client_auth", format!("\"{other}\" is none of \"none\", \"optional\" and \"required\""));
        }
    };
    let min_version = match one_of("tls.min_version", &tls.min_version, ["1.2", "1.3"])? {
        0 => Version::Tls12,
        _ => Version::Tls13,
    };
    let pair = |cert: &String, key: &String| Pair { cert_file: cert.into(), key_file: key.into() };
    let first = match (tls.cert_file.is_empty(), tls.key_file.is_empty()) {
        (true, true) => None,
        (false, false) => Some(pair(&tls.cert_file, &tls.key_file)),
        (true, false) => return value("tls.key_file", "needs a cert_file that it is the key of"),
        (false, true) => return value("tls.cert_file", "needs a key_file with its key"),
    };
    Ok(ServerFiles {
        pairs: first.into_iter().chain(tls.certificates.iter().map(|both| pair(both, both))).collect(),
        client_ca_file: Some(&tls.client_ca_file).filter(|file| !file.is_empty()).map(Into::into),
        client_auth,
        min_version,
    })
}
