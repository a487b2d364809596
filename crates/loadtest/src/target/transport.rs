//! What carries the bytes between a client and an endpoint.

use clap::ValueEnum;

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// `redis://`
    Tcp,
    /// `rediss://`
    Tls,
    /// `unix://`
    Unix,
}

impl Transport {
    /// What reports call it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Unix => "a unix socket",
        }
    }
}
