//! TLS to clients: what they are shown, and what they have to show.

use std::{io, path::PathBuf, sync::Arc};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        CipherSuite, ServerConfig, SupportedCipherSuite,
        crypto::{CryptoProvider, ring},
        server::{NoClientAuth, ServerSessionMemoryCache, WebPkiClientVerifier, danger::ClientCertVerifier},
        version::{TLS12, TLS13},
    },
    server::TlsStream,
};

use crate::{ReadAhead, TlsError, pem::Files, sni::Certificates};

/// A connection of a client.
pub type ServerStream<S> = TlsStream<ReadAhead<S>>;

/// Sessions that are kept for clients of TLS 1.2 which know no tickets; about 300 bytes each.
const SESSIONS_MAX: usize = 1024;

/// Bytes of plaintext and of ciphertext that a connection holds while its client takes nothing.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// Whoever shows one has to show one of the right authority.
    Optional,
    /// Everybody has to.
    Required,
}

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Version {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The certificate, and behind it those that lead to its authority.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

/// What TLS to clients is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerFiles {
    /// What clients are shown: the first that has the name they ask for, or the first of all.
    pub pairs: Vec<Pair>,
    /// The authorities of clients' certificates.
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The oldest version that is spoken.
    pub min_version: Version,
}

/// See the module's documentation. Two are the same if they were made of the same.
#[derive(Debug, Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    made_of: u64,
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.made_of == other.made_of
    }
}

/// The cheapest of what is safe comes first: AES with 128 bits, and with it SHA-256, which most processors compute by
/// themselves and SHA-384 not.
fn provider() -> CryptoProvider {
    let mut provider = ring::default_provider();
    let key_bits = |suite: &SupportedCipherSuite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 128,
        _ => 256,
    };
    // TLS 1.3 stays in front of TLS 1.2, and all else as it is: the sort is stable.
    provider.cipher_suites.sort_by_key(|suite| (suite.tls13().is_none(), key_bits(suite)));
    provider
}

impl ServerTls {
    /// Changes with the content of each file, and with each setting.
    pub fn sum(&self) -> u64 {
        self.made_of
    }

    /// Reads the files. Sessions of clients are taken up again as long as this lives, and not by another one: what a
    /// client had to show to this one, it may not have to show to that.
    ///
    /// # Errors
    /// A file is not what it should be; the error names it.
    pub fn new(files: &ServerFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let other = |error: &dyn std::fmt::Display| TlsError::Other(error.to_string());
        let mut read = Files::default();
        read.add((files.client_auth, files.min_version));
        let pairs: Result<Vec<_>, _> =
            files.pairs.iter().map(|pair| read.pair(&pair.cert_file, &pair.key_file, &provider)).collect();
        let certificates = Certificates::new(pairs?).ok_or(TlsError::NothingToShow)?;
        let verifier: Arc<dyn ClientCertVerifier> = match (files.client_auth, &files.client_ca_file) {
            (ClientAuth::None, _) => Arc::new(NoClientAuth),
            (_, None) => return Err(TlsError::NoClientAuthority),
            (auth, Some(path)) => {
                let roots = Arc::new(read.authorities(path)?);
                let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
                let builder = if auth == ClientAuth::Optional { builder.allow_unauthenticated() } else { builder };
                builder.build().map_err(|error| other(&error))?
            }
        };
        let versions = match files.min_version {
            Version::Tls12 => &[&TLS13, &TLS12][..],
            Version::Tls13 => &[&TLS13][..],
        };
        let builder = ServerConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).map_err(|error| other(&error))?;
        let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(Arc::new(certificates));
        config.ticketer = ring::Ticketer::new().map_err(|error| other(&error))?;
        // Most clients name first what costs both sides the most.
        config.ignore_client_order = true;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        // Each further one costs a client's handshake more bytes; a client that connects again gets a new one.
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config), made_of: read.sum() })
    }

    /// The older one of two that are made of the same, so that sessions that it has begun can be taken up again.
    #[must_use]
    pub fn or_same(self, older: &Self) -> Self {
        if self == *older { older.clone() } else { self }
    }

    /// Makes a connection of a client safe.
    ///
    /// # Errors
    /// The client is not what it should be, or refuses us; [`explain`](crate::explain) says why in words.
    pub async fn accept<S>(&self, stream: S) -> io::Result<ServerStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        acceptor
            .accept_with(ReadAhead::new(stream), |connection| connection.set_buffer_limit(Some(BUFFER_BYTES_MAX)))
            .await
    }
}
