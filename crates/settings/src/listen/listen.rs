//! One address to listen on, as the file or the command line writes it: `host:port`, `tls://host:port`, `unix:/path`, or
//! `fd:NAME` in the place of `host:port`, each with options behind a `?`. Opens nothing.

use std::{fmt, str::FromStr};

use thiserror::Error;
use url::form_urlencoded;

use crate::listen::place::{Place, PlaceError, UnixPlace, passed, tcp, unix};

/// An address that clients connect to, and what they speak there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where it is.
    pub place: Place,
    /// Clients speak TLS.
    pub tls: bool,
    /// A load balancer stands in front and sends the address of the client first.
    pub proxy_protocol: bool,
}

/// Why a text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListenError {
    /// A scheme that there is not.
    #[error("there is no scheme \"{0}\"; write host:port, tls://host:port or unix:/path")]
    Scheme(String),
    /// What stands behind the scheme leads nowhere.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// An option that there is not, or not for this kind of address.
    #[error("there is no option \"{name}\" here; there is {known}")]
    Option {
        /// As it was written.
        name: String,
        /// Those that there are.
        known: &'static str,
    },
    /// An option that stands there before.
    #[error("{0} is given twice")]
    Twice(String),
    /// An option with a value that it cannot have.
    #[error("{name}={value}: {wanted}")]
    OptionValue {
        /// The option.
        name: &'static str,
        /// As it was written.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
}

impl Listen {
    /// A plain address.
    pub fn plain(place: Place) -> Self {
        Self { place, tls: false, proxy_protocol: false }
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), ListenError> {
        let wrong = |name, wanted| ListenError::OptionValue { name, value: value.to_owned(), wanted };
        match (name, &mut self.place) {
            ("proxy_protocol", _) => {
                self.proxy_protocol = match value {
                    "on" => true,
                    "off" => false,
                    _ => return Err(wrong("proxy_protocol", "write on or off")),
                }
            }
            ("mode", Place::Unix(unix)) => {
                let mode = u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o777);
                unix.mode = Some(mode.ok_or_else(|| wrong("mode", "write permissions in octal digits, as 660"))?);
            }
            ("group", Place::Unix(unix)) => {
                let group = nix::unistd::Group::from_name(value).ok().flatten();
                unix.gid = Some(group.ok_or_else(|| wrong("group", "the system knows no such group"))?.gid.as_raw());
            }
            (_, Place::Unix(_)) => {
                return Err(ListenError::Option { name: name.to_owned(), known: "mode, group and proxy_protocol" });
            }
            (_, Place::Tcp(_) | Place::Passed(_)) => {
                return Err(ListenError::Option { name: name.to_owned(), known: "proxy_protocol" });
            }
        }
        Ok(())
    }
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        let (address, options) = text.split_once('?').unwrap_or((text, ""));
        let tcp_or_passed = |text: &str| match text.strip_prefix("fd:") {
            Some(name) => passed(name),
            None => tcp(text),
        };
        let (place, tls) = match address.split_once("://") {
            Some(("tcp", rest)) => (tcp_or_passed(rest)?, false),
            Some(("tls", rest)) => (tcp_or_passed(rest)?, true),
            Some(("unix", rest)) => (unix(rest)?, false),
            Some((scheme, _)) => return Err(ListenError::Scheme(scheme.to_owned())),
            None => match address.strip_prefix("unix:") {
                Some(path) => (unix(path)?, false),
                None => (tcp_or_passed(address)?, false),
            },
        };
        let mut listen = Self { place, tls, proxy_protocol: false };
        let options: Vec<_> = form_urlencoded::parse(options.as_bytes()).collect();
        for (index, (name, value)) in options.iter().enumerate() {
            listen.set(name, value)?;
            if options[..index].iter().any(|(before, _)| before == name) {
                return Err(ListenError::Twice(name.clone().into_owned()));
            }
        }
        Ok(listen)
    }
}

/// The address without its options.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.tls) {
            (Place::Tcp(addresses), tls) => match (addresses.first(), tls) {
                (Some(address), true) => write!(f, "tls://{address}"),
                (Some(address), false) => write!(f, "{address}"),
                (None, _) => f.write_str("nowhere"),
            },
            (Place::Passed(name), true) => write!(f, "tls://fd:{name}"),
            (Place::Passed(name), false) => write!(f, "fd:{name}"),
            (Place::Unix(UnixPlace { path, .. }), _) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn address(text: &str) -> Place {
        Place::Tcp(vec![text.parse().expect("an address")])
    }

    fn socket(path: &str, mode: Option<u32>, gid: Option<u32>) -> Place {
        Place::Unix(UnixPlace { path: PathBuf::from(path), mode, gid })
    }

    #[test]
    fn addresses_are_read_as_they_are_meant() {
        for (text, place, tls, proxy_protocol) in [
            ("127.0.0.1:6380", address("127.0.0.1:6380"), false, false),
            ("tcp://127.0.0.1:6380", address("127.0.0.1:6380"), false, false),
            ("[::1]:6380", address("[::1]:6380"), false, false),
            ("tls://0.0.0.0:6381", address("0.0.0.0:6381"), true, false),
            ("tls://[::1]:6381?proxy_protocol=on", address("[::1]:6381"), true, true),
            ("127.0.0.1:1?proxy_protocol=off", address("127.0.0.1:1"), false, false),
            ("fd:web", Place::Passed("web".to_owned()), false, false),
            ("tls://fd:respool.socket?proxy_protocol=on", Place::Passed("respool.socket".to_owned()), true, true),
            ("unix:/run/r.sock", socket("/run/r.sock", None, None), false, false),
            ("unix:///run/r.sock", socket("/run/r.sock", None, None), false, false),
            ("unix:/r?mode=660&group=root", socket("/r", Some(0o660), Some(0)), false, false),
            ("unix:/r?proxy_protocol=on&mode=600", socket("/r", Some(0o600), None), false, true),
        ] {
            assert_eq!(text.parse(), Ok(Listen { place, tls, proxy_protocol }), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told_why() {
        for (text, why) in [
            (":6380", "no host in front of the port; write 127.0.0.1:6380, or 0.0.0.0:6380 for all addresses"),
            ("6380", "no port; write host:port, as 127.0.0.1:6380"),
            ("127.0.0.1", "no port; write host:port, as 127.0.0.1:6380"),
            ("127.0.0.1:x", "the port is not a number from 0 to 65535"),
            ("127.0.0.1:65536", "the port is not a number from 0 to 65535"),
            ("::1:6380", "an IPv6 address stands in brackets, as [::1]:6380"),
            ("redis://h:1", "there is no scheme \"redis\"; write host:port, tls://host:port or unix:/path"),
            ("fd:", "a socket that is passed needs its name, as fd:respool.socket"),
            ("fd:web?mode=660", "there is no option \"mode\" here; there is proxy_protocol"),
            ("unix:run/r.sock", "the path does not begin with /"),
            ("unix://run/r.sock", "the path does not begin with /"),
            ("unix:/run/", "the path names no file"),
            ("unix:/r?mode=9", "mode=9: write permissions in octal digits, as 660"),
            ("unix:/r?mode=7777", "mode=7777: write permissions in octal digits, as 660"),
            ("unix:/r?group=no-such-group", "group=no-such-group: the system knows no such group"),
            ("unix:/r?modus=660", "there is no option \"modus\" here; there is mode, group and proxy_protocol"),
            ("127.0.0.1:1?mode=660", "there is no option \"mode\" here; there is proxy_protocol"),
            ("unix:/r?mode=660&mode=600", "mode is given twice"),
            ("127.0.0.1:1?proxy_protocol=v2", "proxy_protocol=v2: write on or off"),
        ] {
            assert_eq!(text.parse::<Listen>().expect_err("refused").to_string(), why, "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(103));
        let why = "the path is longer than 103 bytes, which the system does not take";
        assert_eq!(long.parse::<Listen>().expect_err("refused").to_string(), why);
        assert!("unix:/".to_owned().parse::<Listen>().is_err());
    }

    #[test]
    fn an_address_is_shown_without_its_options() {
        for (text, shown) in [
            ("127.0.0.1:1?proxy_protocol=on", "127.0.0.1:1"),
            ("tls://[::1]:1", "tls://[::1]:1"),
            ("unix:/r?mode=660", "unix:/r"),
            ("tls://fd:web?proxy_protocol=on", "tls://fd:web"),
        ] {
            assert_eq!(text.parse::<Listen>().expect("valid").to_string(), shown);
        }
    }
}
