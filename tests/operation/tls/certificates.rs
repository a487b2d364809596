//! Authorities and certificates for one test, in files that are gone with it.

use std::{fs, path::PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

/// An authority, its certificate in `ca.pem` of its directory.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate's file and its key's.
pub struct Pair {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("valid");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("signed");
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { issuer, directory }
    }

    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for these names or addresses; the first one is its common name as well.
    pub fn issue(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |_| {})
    }

    /// As `issue`, but out of date.
    pub fn issue_expired(&self, names: &[&str]) -> Pair {
        self.issue_with(names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    fn issue_with(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).expect("valid");
        params.distinguished_name.push(DnType::CommonName, names[0]);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        let count = fs::read_dir(self.directory.path()).expect("readable").count();
        let file = |kind: &str| self.directory.path().join(format!("{count}-{kind}.pem"));
        let pair = Pair { cert: file("cert"), key: file("key") };
        fs::write(&pair.cert, cert.pem()).expect("written");
        fs::write(&pair.key, key.serialize_pem()).expect("written");
        pair
    }
}

impl Pair {
    /// The certificate, as it goes over the wire.
    pub fn certificate(&self) -> Vec<u8> {
        CertificateDer::from_pem_file(&self.cert).expect("a certificate").to_vec()
    }

    /// Puts another pair into the files of this one.
    pub fn replace_by(&self, other: &Self) {
        fs::copy(&other.cert, &self.cert).expect("copied");
        fs::copy(&other.key, &self.key).expect("copied");
    }
}
