//! The arguments for TLS to a target: whom to trust, and what to show. A target's URL says whether TLS is
//! wanted; the crate `tls` does it.

use std::path::PathBuf;

use clap::Args;
use tls::{ClientFiles, ClientTls, TlsError, Verify};

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

impl TlsArgs {
    /// What makes connections safe.
    ///
    /// # Errors
    /// A file is not what it should be; the error names it.
    pub fn client(&self) -> Result<ClientTls, TlsError> {
        let client = ClientTls::new(&ClientFiles {
            ca_file: self.ca_file.clone(),
            cert_file: self.cert_file.clone(),
            key_file: self.key_file.clone(),
            server_name: None,
            verify: if self.insecure { Verify::Nothing } else { Verify::Full },
        })?;
        Ok(if self.full_handshakes { client.without_resumption() } else { client })
    }
}
