//! An authority and a certificate for this machine's loopback, made for one comparison and gone with it.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{
    system::start::{SystemError, write},
    target::TlsArgs,
};

/// The files, in PEM.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The certificate of every system (ECDSA, P-256).
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificate and key in one file, as `HAProxy` wants them.
    pub both: PathBuf,
}

impl Certificates {
    /// Makes them in `directory`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn make(directory: &Path) -> Result<Self, SystemError> {
        let failed = |error: rcgen::Error| {
            SystemError::Io("make a certificate".to_owned(), std::io::Error::other(error.to_string()))
        };
        let mut authority = CertificateParams::new(Vec::new()).map_err(failed)?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().map_err(failed)?).map_err(failed)?;
        let key = KeyPair::generate().map_err(failed)?;
        let params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).map_err(failed)?;
        let cert = params.signed_by(&key, &issuer).map_err(failed)?;
        let files = Self {
            ca: directory.join("ca.pem"),
            cert: directory.join("cert.pem"),
            key: directory.join("key.pem"),
            both: directory.join("both.pem"),
        };
        write(&files.ca, &issuer.pem())?;
        write(&files.cert, &cert.pem())?;
        write(&files.key, &key.serialize_pem())?;
        write(&files.both, &(cert.pem() + &key.serialize_pem()))?;
        Ok(files)
    }

    /// Trusts them, and nobody else.
    pub fn trusted(&self, full_handshakes: bool) -> TlsArgs {
        TlsArgs { ca_file: Some(self.ca.clone()), full_handshakes, ..TlsArgs::default() }
    }
}
