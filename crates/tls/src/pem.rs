//! Certificates and keys from files in PEM format. Whatever is read adds to a sum, by which one can tell later whether
//! anything has changed.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    io,
    path::Path,
};

use tokio_rustls::rustls::{
    self, CertificateError, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use crate::TlsError;

/// All authorities of the world fit into a tenth of it.
const BYTES_MAX: u64 = 16 << 20;

/// What has been read so far.
#[derive(Debug, Default)]
pub(crate) struct Files(DefaultHasher);

impl Files {
    /// Adds what is no file.
    pub(crate) fn add(&mut self, value: impl Hash) {
        value.hash(&mut self.0);
    }

    /// The sum of all that was read and added.
    pub(crate) fn sum(&self) -> u64 {
        self.0.finish()
    }

    fn read(&mut self, path: &Path) -> Result<Vec<u8>, TlsError> {
        let failed = |error| TlsError::Read { path: path.to_owned(), error };
        let metadata = fs::metadata(path).map_err(failed)?;
        if !metadata.is_file() || metadata.len() > BYTES_MAX {
            // A pipe would have us wait, and a device might never end.
            return Err(failed(io::Error::other("it is no file of certificates")));
        }
        let bytes = fs::read(path).map_err(failed)?;
        self.add((path, &bytes));
        Ok(bytes)
    }

    fn certificates(&mut self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let bytes = self.read(path)?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(TlsError::NoCertificate(path.to_owned())),
        }
    }

    /// The authorities in a file.
    pub(crate) fn authorities(&mut self, path: &Path) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(path)? {
            let added = roots.add(certificate);
            added.map_err(|error| TlsError::Certificate { path: path.to_owned(), error: error.to_string() })?;
        }
        Ok(roots)
    }

    /// A certificate with those that lead to its authority, and its key.
    pub(crate) fn pair(
        &mut self,
        certificate: &Path,
        key: &Path,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let chain = self.certificates(certificate)?;
        // Whatever stands behind the first is shown to clients, and read by nobody before them. What it is good for is
        // theirs to say.
        let unreadable = rustls::Error::from(CertificateError::BadEncoding);
        let is_none =
            |der: &CertificateDer<'static>| RootCertStore::empty().add(der.clone()) == Err(unreadable.clone());
        if chain.iter().any(is_none) {
            return Err(TlsError::Certificate { path: certificate.to_owned(), error: unreadable.to_string() });
        }
        let bytes = self.read(key)?;
        let parsed = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| TlsError::NoKey(key.to_owned()))?;
        CertifiedKey::from_der(chain, parsed, provider).map_err(|error| TlsError::Pair {
            key: key.to_owned(),
            certificate: certificate.to_owned(),
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use tokio_rustls::rustls::crypto::ring::default_provider;

    use super::*;

    #[test]
    fn each_certificate_of_a_chain_is_one() {
        let directory = tempfile::tempdir().unwrap();
        let [chain, key] = ["chain", "key"].map(|name| directory.path().join(name));
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["a".into()]).unwrap().self_signed(&pair).unwrap().pem();
        fs::write(&key, pair.serialize_pem()).unwrap();
        let rubbish = "-----BEGIN CERTIFICATE-----\ncnViYmlzaA==\n-----END CERTIFICATE-----\n";
        for (second, is_fine) in [("", true), (certificate.as_str(), true), (rubbish, false)] {
            fs::write(&chain, format!("{certificate}{second}")).unwrap();
            let read = Files::default().pair(&chain, &key, &default_provider());
            assert_eq!(read.is_ok(), is_fine, "{second}");
            if let Err(error) = read {
                assert!(error.to_string().contains(&chain.display().to_string()), "{error}");
            }
        }
    }
}
