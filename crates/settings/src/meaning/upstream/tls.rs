//! What `[upstream.tls]` means: reads the files that it names, so that what is wrong with them is said before anybody
//! connects.

use pool::Endpoint;
use tls::{ClientFiles, ClientTls, Verify};

use crate::{
    ConfigError,
    meaning::{client_tls::explained, ranges::value},
    sections::upstream::UpstreamTls,
};

/// Has connections to `endpoint` made by TLS, if its URL says so.
pub(crate) fn secure(mut endpoint: Endpoint, tls: &UpstreamTls) -> Result<Endpoint, ConfigError> {
    let files = files(tls)?;
    if !endpoint.is_tls() {
        let problem =
            "is set, but upstream.url begins with none of rediss://, rediss-sentinel:// and rediss-cluster://";
        return set_key(&files).map_or(Ok(endpoint), |key| value(key, problem));
    }
    match ClientTls::new(&files) {
        Ok(tls) => endpoint.secure(&tls),
        Err(error) => return value("upstream.tls", explained(&error)),
    }
    Ok(endpoint)
}

fn files(tls: &UpstreamTls) -> Result<ClientFiles, ConfigError> {
    let named = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let verify = match tls.verify.as_str() {
        "full" => Verify::Full,
        "ca" => Verify::Authority,
        "none" => Verify::Nothing,
        other => return value("upstream.tls.verify", format!("\"{other}\" is none of \"full\", \"ca\" and \"none\"")),
    };
    Ok(ClientFiles {
        ca_file: named(&tls.ca_file).map(Into::into),
        cert_file: named(&tls.cert_file).map(Into::into),
        key_file: named(&tls.key_file).map(Into::into),
        server_name: named(&tls.server_name),
        verify,
    })
}

/// The first key that says something.
fn set_key(files: &ClientFiles) -> Option<&'static str> {
    let keys = [
        ("upstream.tls.ca_file", files.ca_file.is_some()),
        ("upstream.tls.server_name", files.server_name.is_some()),
        ("upstream.tls.cert_file", files.cert_file.is_some()),
        ("upstream.tls.key_file", files.key_file.is_some()),
        ("upstream.tls.verify", files.verify != Verify::Full),
    ];
    keys.into_iter().find(|(_, is_set)| *is_set).map(|(key, _)| key)
}
