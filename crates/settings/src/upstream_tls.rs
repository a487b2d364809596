//! What `[upstream.tls]` means: reads the files that it names, so that what is wrong with them is said before anybody
//! connects. A part of `settings`, which calls it.

use pool::Endpoint;
use tls::{ClientFiles, ClientTls, Verify};

use crate::{Config, ConfigError, ranges::value};

/// Has connections to `endpoint` made by TLS, if its URL says so.
pub(crate) fn secure(mut endpoint: Endpoint, config: &Config) -> Result<Endpoint, ConfigError> {
    let files = files(config)?;
    if !endpoint.is_tls() {
        if files != ClientFiles::default() {
            return value("upstream.tls", "is set, but upstream.url does not begin with rediss://");
        }
        return Ok(endpoint);
    }
    match ClientTls::new(&files) {
        Ok(tls) => endpoint.secure(&tls),
        Err(error) => return value("upstream.tls", error.to_string()),
    }
    Ok(endpoint)
}

fn files(config: &Config) -> Result<ClientFiles, ConfigError> {
    let tls = &config.upstream.tls;
    let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let verify = match tls.verify.as_str() {
        "full" => Verify::Full,
        "ca" => Verify::Authority,
        "none" => Verify::Nothing,
        other => {
            return value("upstream.tls", format!("verify = \"{other}\" is none of \"full\", \"ca\" and \"none\""));
        }
    };
    Ok(ClientFiles {
        ca_file: named(&tls.ca_file).map(Into::into),
        cert_file: named(&tls.cert_file).map(Into::into),
        key_file: named(&tls.key_file).map(Into::into),
        server_name: named(&tls.server_name),
        verify,
    })
}

/// What to say of an upstream that does not have to prove who it is.
pub(crate) fn unproven(config: &Config) -> Option<&'static str> {
    match config.upstream.tls.verify.as_str() {
        "ca" => Some(
            "upstream.tls.verify = \"ca\": the name in the upstream's certificate is not looked at; anybody with a \
             certificate of that authority can pass for the upstream and read its password",
        ),
        "none" => Some(
            "upstream.tls.verify = \"none\": the upstream's certificate is not looked at; anybody on the way can pass for \
             the upstream and read its password",
        ),
        _ => None,
    }
}
