//! TLS to an upstream: whom it has to prove to be, and what we show it.

use std::{io, path::PathBuf, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        client::{Resumption, WebPkiServerVerifier},
        crypto::ring,
        pki_types::ServerName,
        sign::SingleCertAndKey,
    },
};

use crate::{ReadAhead, TlsError, explain, pem::Files, verify::Lenient};

/// A connection to an upstream.
pub type ClientStream<S> = TlsStream<ReadAhead<S>>;

/// What has to be right about an upstream's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Verify {
    /// Authority, time and name.
    #[default]
    Full,
    /// Authority and time. Any holder of a certificate of that authority can take the upstream's place.
    Authority,
    /// Nothing. Anybody on the way can take the upstream's place.
    Nothing,
}

/// What TLS to an upstream is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientFiles {
    /// The authorities that are trusted; `None` for those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, if the upstream wants one.
    pub cert_file: Option<PathBuf>,
    /// Its key.
    pub key_file: Option<PathBuf>,
    /// The name that the upstream's certificate has to have; `None` for the host of its URL.
    pub server_name: Option<String>,
    /// What has to be right.
    pub verify: Verify,
}

/// See the module's documentation. Two are the same if they were made of the same.
#[derive(Debug, Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
    made_of: u64,
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        self.made_of == other.made_of
    }
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file is not what it should be; the error names it.
    pub fn new(files: &ClientFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let mut read = Files::default();
        read.add((&files.server_name, files.verify));
        let roots = match (&files.ca_file, files.verify) {
            (_, Verify::Nothing) => RootCertStore::empty(),
            (Some(path), _) => read.authorities(path)?,
            (None, _) => system_authorities(&mut read)?,
        };
        let other = |error: &dyn std::fmt::Display| TlsError::Other(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| other(&error))?;
        let by_authority = || {
            let roots = Arc::new(roots.clone());
            let builder = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            builder.build().map_err(|error| other(&error))
        };
        let builder = match files.verify {
            Verify::Full => builder.with_webpki_verifier(by_authority()?),
            Verify::Authority => {
                let lenient = Lenient::new(Some(by_authority()?), Arc::clone(&provider));
                builder.dangerous().with_custom_certificate_verifier(Arc::new(lenient))
            }
            Verify::Nothing => {
                let lenient = Lenient::new(None, Arc::clone(&provider));
                builder.dangerous().with_custom_certificate_verifier(Arc::new(lenient))
            }
        };
        let config = match (&files.cert_file, &files.key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let pair = read.pair(certificate, key, &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(pair)))
            }
            _ => return Err(TlsError::HalfAPair),
        };
        let name = files.server_name.as_deref().map(server_name).transpose()?;
        Ok(Self { config: Arc::new(config), name, made_of: read.sum() })
    }

    /// A number that changes when the content of a file does.
    pub fn sum(&self) -> u64 {
        self.made_of
    }

    /// Makes a connection to `host` safe.
    ///
    /// # Errors
    /// The other side is not what it should be, or refuses us; the error says why in words.
    pub async fn connect<S>(&self, host: &str, stream: S) -> io::Result<ClientStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => server_name(host).map_err(io::Error::other)?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let connected = connector.connect(name, ReadAhead::new(stream)).await;
        connected.map_err(|error| io::Error::new(error.kind(), explain(&error)))
    }

    /// The same, with a full handshake for each connection: no session is resumed.
    #[must_use]
    pub fn without_resumption(self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::disabled();
        Self { config: Arc::new(config), ..self }
    }
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name(name.to_owned()))
}

fn system_authorities(read: &mut Files) -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    for certificate in &found.certs {
        read.add(certificate.as_ref());
    }
    // Some systems have a few that no library reads; the others serve.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(TlsError::NoSystemAuthorities(why));
    }
    Ok(roots)
}
