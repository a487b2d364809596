//! The doors of a system: the addresses that clients connect to, one for each transport.

use std::path::{Path, PathBuf};

use tls::ClientTls;

use crate::{
    system::{
        certificates::Certificates,
        start::{SystemError, free_port},
    },
    target::{Target, Transport},
};

/// What a system is to have beside a TCP port.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// A TLS port with these certificates.
    pub certificates: Option<Certificates>,
    /// How clients meet it.
    pub tls: Option<ClientTls>,
    /// A unix socket.
    pub unix: bool,
    /// No TCP port: it speaks TLS and nothing else.
    pub tls_alone: bool,
}

/// Where a system is to listen.
#[derive(Debug, Clone)]
pub struct Doors {
    /// The TCP port on loopback.
    pub port: u16,
    /// The TLS port on loopback, and the certificates there.
    pub tls: Option<(u16, Certificates)>,
    /// The unix socket.
    pub socket: Option<PathBuf>,
    client: Option<ClientTls>,
    tls_alone: bool,
}

impl Wanted {
    /// These transports, with certificates made in `directory` if one of them is TLS.
    ///
    /// # Errors
    /// The certificates cannot be made.
    pub fn new(transports: &[Transport], directory: &Path, full_handshakes: bool) -> Result<Self, SystemError> {
        let mut wanted = Self { unix: transports.contains(&Transport::Unix), ..Self::default() };
        if transports.contains(&Transport::Tls) {
            let made = Certificates::make(directory)?;
            let failed = |error| SystemError::Io("use a certificate".to_owned(), std::io::Error::other(error));
            wanted.tls = Some(made.trusted(full_handshakes).client().map_err(failed)?);
            wanted.certificates = Some(made);
        }
        Ok(wanted)
    }

    /// The same without TLS.
    pub fn without_tls(&self) -> Self {
        Self { unix: self.unix, ..Self::default() }
    }

    /// Nothing but TLS.
    pub fn tls_alone(&self) -> Self {
        Self { unix: false, tls_alone: true, ..self.clone() }
    }

    /// Ports that nobody used a moment ago, and a path in `directory`.
    pub(super) fn choose(&self, directory: &Path) -> Result<Doors, SystemError> {
        let tls = self.certificates.clone().map(|certificates| Ok((free_port()?, certificates))).transpose()?;
        let socket = self.unix.then(|| directory.join("socket"));
        Ok(Doors { port: free_port()?, tls, socket, client: self.tls.clone(), tls_alone: self.tls_alone })
    }
}

impl Doors {
    /// The targets: the TCP port first, unless TLS is all there is.
    pub fn targets(&self) -> Vec<Target> {
        let plain = (!self.tls_alone).then(|| Target::loopback(self.port));
        let secure = self.tls.as_ref().zip(self.client.as_ref());
        let secure = secure.map(|((port, _), tls)| Target::secure_loopback(*port, tls.clone()));
        plain.into_iter().chain(secure).chain(self.socket.clone().map(Target::unix)).collect()
    }
}
