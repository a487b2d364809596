//! What can be wrong with the files that TLS is made of.

use std::{io, path::PathBuf};

use thiserror::Error;
use tokio_rustls::rustls;

/// Why there is no TLS. Names the file.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file holds no certificate.
    #[error("{} holds no certificate in PEM format", .0.display())]
    NoCertificate(PathBuf),
    /// The file holds no private key.
    #[error("{} holds no private key in PEM format that can be read without a password", .0.display())]
    NoKey(PathBuf),
    /// The key belongs to another certificate, or is of a kind that is not supported.
    #[error("the key in {} does not go with the certificate in {}: {error}", key.display(), certificate.display())]
    Pair {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
        /// What rustls says.
        error: rustls::Error,
    },
    /// A certificate, be it an authority's, cannot be used.
    #[error("a certificate in {} cannot be used: {error}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        error: String,
    },
    /// The system trusts nobody.
    #[error("the system has no certificates of authorities; install ca-certificates, or name a ca_file{0}")]
    NoSystemAuthorities(String),
    /// A name that no certificate can have.
    #[error("\"{0}\" is no name that a certificate can have")]
    Name(String),
    /// A certificate without its key, or a key without its certificate.
    #[error("cert_file and key_file go together")]
    HalfAPair,
    /// There is nothing to show to clients.
    #[error("there is no certificate to show to clients; name a cert_file and a key_file")]
    NothingToShow,
    /// Clients shall show certificates of an authority that is not named.
    #[error("a client_auth of \"optional\" or \"required\" needs a client_ca_file")]
    NoClientAuthority,
    /// What rustls refuses for another reason.
    #[error("{0}")]
    Other(String),
}
