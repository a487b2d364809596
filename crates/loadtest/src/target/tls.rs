//! TLS to a target: whom to trust, and whom to be. By rustls; a target's URL says whether it is wanted.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            Resumption,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    },
};

const HEADING: &str = "TLS (rediss://)";

/// How targets are met whose URL begins with `rediss://`.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// Trust the authorities in this PEM file instead of the system's.
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Trust any certificate. Somebody in between can read and change everything.
    #[arg(long, help_heading = HEADING, conflicts_with = "ca_file")]
    pub insecure: bool,
    /// Show this certificate (PEM) to a target that asks for one.
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Its private key (PEM).
    #[arg(long, help_heading = HEADING, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// Make a full handshake for each connection, and resume no session.
    #[arg(long, help_heading = HEADING)]
    pub full_handshakes: bool,
}

/// A file with certificates or a key is not what it should be.
#[derive(Debug, Error)]
pub enum TlsError {
    /// It cannot be read, or is no PEM; holds its path and what is wrong.
    #[error("{0}: {1}")]
    File(PathBuf, String),
    /// Certificate and key do not go together.
    #[error("certificate and key: {0}")]
    Identity(tokio_rustls::rustls::Error),
}

/// Makes connections secure. Clones share the sessions that can be resumed.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts what the system trusts. A system that has no authorities trusts nobody.
    pub fn of_system() -> Self {
        Self(Arc::new(trusting(system_roots()).with_no_client_auth()))
    }

    /// As the arguments say.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn new(args: &TlsArgs) -> Result<Self, TlsError> {
        let roots = match &args.ca_file {
            Some(file) => roots_in(file)?,
            None => system_roots(),
        };
        let builder = trusting(roots);
        let mut config = match (&args.cert_file, &args.key_file) {
            (Some(cert), Some(key)) => {
                let (chain, key) = (certificates(cert)?, key_in(key)?);
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
            }
            _ => builder.with_no_client_auth(),
        };
        if args.insecure {
            config.dangerous().set_certificate_verifier(Arc::new(AnyCertificate(ring::default_provider())));
        }
        if args.full_handshakes {
            config.resumption = Resumption::disabled();
        }
        Ok(Self(Arc::new(config)))
    }

    /// Makes a connection to `name` secure.
    ///
    /// # Errors
    /// The handshake failed: the certificate is not trusted, or the other side speaks no TLS.
    pub async fn secure(&self, stream: TcpStream, name: ServerName<'static>) -> std::io::Result<TlsStream<TcpStream>> {
        TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

/// The same settings, not equal ones.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tls {}

type Trusting = tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::client::WantsClientCert>;

fn trusting(roots: RootCertStore) -> Trusting {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Those that cannot be read trust nobody, which the handshake says.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

fn roots_in(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| TlsError::File(file.to_owned(), error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |text: String| TlsError::File(file.to_owned(), text);
    let text = fs::read(file).map_err(|error| failed(error.to_string()))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found.map_err(|error| failed(error.to_string()))? {
        found if found.is_empty() => Err(failed("no certificate in it".to_owned())),
        found => Ok(found),
    }
}

fn key_in(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file).map_err(|error| TlsError::File(file.to_owned(), error.to_string()))
}

/// Believes everybody, but wants proof that they have the key of what they show.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

type Verified<T> = Result<T, tokio_rustls::rustls::Error>;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Verified<ServerCertVerified> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Verified<HandshakeSignatureValid> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Verified<HandshakeSignatureValid> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
