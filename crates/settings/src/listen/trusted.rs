//! Addresses of those whose word counts: the load balancers that may say where a client is.

use std::net::IpAddr;

use ipnet::IpNet;

/// Addresses, each alone or with all that share its first bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted(Vec<IpNet>);

impl Trusted {
    /// From texts as `10.0.0.0/8` or `10.1.2.3`; otherwise the first text that is neither.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        let one = |text: &String| {
            let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| text.clone())
        };
        texts.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether anybody is trusted, by an address of IPv4 or of IPv6.
    pub fn has_all(&self) -> bool {
        self.0.iter().any(|network| network.prefix_len() == 0)
    }

    /// Whether the word of `address` counts. An IPv4 address that comes through an IPv6 socket is the IPv4 address.
    pub fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_trusted_alone_or_by_its_network() {
        let texts = ["10.0.0.0/8".to_owned(), "192.0.2.7".to_owned(), "fd00::/8".to_owned()];
        let trusted = Trusted::parse(&texts).expect("valid");
        for (address, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd12::1", true),
            ("fe80::1", false),
            ("::ffff:10.0.0.1", true),
            ("::ffff:11.0.0.1", false),
        ] {
            assert_eq!(trusted.has(address.parse().expect("an address")), expected, "{address}");
        }
        let all = |text: &str| Trusted::parse(&[text.to_owned()]).expect("valid").has_all();
        assert!(all("0.0.0.0/0") && all("::/0") && !all("0.0.0.0") && !trusted.has_all());
        assert!(Trusted::default().is_empty() && !Trusted::default().has([127, 0, 0, 1].into()));
        for wrong in ["10.0.0.0/33", "localhost", "10.0.0.0/8 ", ""] {
            assert_eq!(Trusted::parse(&[wrong.to_owned()]), Err(wrong.to_owned()));
        }
    }
}
