//! Where a node or a sentinel is: a host and a port, compared as they are written. No name is looked up here.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// A host, which may be a name or an IP address of either version, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address, without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Text that is no host and port.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a host and a port, as in redis-1:26379")]
pub struct AddressError(String);

impl Address {
    /// An address of these two parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    /// Reads `host`, `host:port`, `[ipv6]` or `[ipv6]:port`; without a port it is `port`.
    ///
    /// # Errors
    /// The host is missing, or the port is no number from 1 to 65535.
    pub fn with_default_port(text: &str, port: u16) -> Result<Self, AddressError> {
        let refused = || AddressError(text.to_owned());
        let (host, number) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(refused)?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(refused)?) })
            }
            None => match text.rsplit_once(':') {
                Some((host, number)) => (host, Some(number)),
                None => (text, None),
            },
        };
        let port = match number {
            Some(number) => number.parse().ok().filter(|port| *port > 0).ok_or_else(refused)?,
            None => port,
        };
        let plain = !host.is_empty() && (text.starts_with('[') || !host.contains(':'));
        if plain { Ok(Self::new(host, port)) } else { Err(refused()) }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// As [`with_default_port`](Self::with_default_port), but the port has to be there.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Self::with_default_port(text, 0) {
            Ok(Self { port: 0, .. }) => Err(AddressError(text.to_owned())),
            read => read,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_brackets() {
        for (text, host, port) in [
            ("redis-1", "redis-1", 26379),
            ("redis-1:7000", "redis-1", 7000),
            ("10.0.0.7:1", "10.0.0.7", 1),
            ("[::1]", "::1", 26379),
            ("[fe80::2]:65535", "fe80::2", 65535),
        ] {
            let address = Address::with_default_port(text, 26379).expect(text);
            assert_eq!((address.host.as_str(), address.port), (host, port), "{text}");
        }
        assert_eq!("[::1]:6379".parse::<Address>().unwrap().to_string(), "[::1]:6379");
        assert_eq!("h:6379".parse::<Address>().unwrap().to_string(), "h:6379");
    }

    #[test]
    fn what_is_no_address() {
        for text in ["", ":1", "h:", "h:0", "h:65536", "h:x", "::1", "[::1", "[]:1", "[::1]6379"] {
            assert!(Address::with_default_port(text, 26379).is_err(), "{text}");
        }
        assert!("h".parse::<Address>().is_err());
    }
}
