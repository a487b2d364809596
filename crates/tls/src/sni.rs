//! Which certificate a client is shown: the first that has the name it asks for, or the first of all.

use std::sync::Arc;

use tokio_rustls::rustls::{
    client::verify_server_name,
    pki_types::ServerName,
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

/// Never empty.
#[derive(Debug)]
pub(crate) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// `None` of an empty list.
    pub(crate) fn new(certificates: Vec<CertifiedKey>) -> Option<Self> {
        (!certificates.is_empty()).then(|| Self(certificates.into_iter().map(Arc::new).collect()))
    }

    fn by_name(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = ServerName::try_from(name).ok()?;
        self.0.iter().find(|pair| {
            let leaf = pair.cert.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok());
            leaf.is_some_and(|leaf| verify_server_name(&leaf, &name).is_ok())
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Names are compared only where there is a choice.
        let asked = hello.server_name().filter(|_| self.0.len() > 1);
        asked.and_then(|name| self.by_name(name)).or_else(|| self.0.first()).map(Arc::clone)
    }
}
