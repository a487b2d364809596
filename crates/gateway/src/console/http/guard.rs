//! Who may see the web console and the status. Without users only those who reach an address of this machine
//! alone, and no page of another site that a browser was led to (the `Host` header names an address, not a name).

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{HeaderMap, header};
use settings::Users;
use zeroize::Zeroizing;

/// What a visitor is told who may not see a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A name and password are missing.
    Login,
    /// They are wrong.
    Password,
    /// There are no users, and the address reaches beyond this machine.
    NoUsers,
    /// The request was meant for a name that this machine may not be called by.
    ForeignHost,
}

impl Refusal {
    /// What to do about it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Login | Self::Password => "a name and password of metrics.users are needed\n",
            Self::NoUsers => "set metrics.users: metrics.listen reaches beyond this machine\n",
            Self::ForeignHost => "use the address of metrics.listen, or localhost, in the URL\n",
        }
    }
}

/// Decides by the users, by whether only this machine reaches the address, and by the request's headers.
pub(super) fn check(users: &Users, is_local: bool, headers: &HeaderMap) -> Result<(), Refusal> {
    if users.are_required() {
        return match credentials(headers) {
            Some((name, password)) if users.admit(Some(&name), &password) => Ok(()),
            Some(_) => Err(Refusal::Password),
            None => Err(Refusal::Login),
        };
    }
    if !is_local {
        return Err(Refusal::NoUsers);
    }
    if names_this_machine(headers) { Ok(()) } else { Err(Refusal::ForeignHost) }
}

/// The name and password that a request comes with.
pub(super) fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
    let given = headers.get(header::AUTHORIZATION)?.as_bytes().strip_prefix(b"Basic ")?;
    let both = Zeroizing::new(BASE64_STANDARD.decode(given).ok()?);
    let (name, password) = both.split_at(both.iter().position(|byte| *byte == b':')?);
    Some((name.to_vec(), password[1..].to_vec().into()))
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|value| value.to_str().ok()) else { return true };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    fn users() -> Users {
        let config = settings::Config::parse(
            "[metrics]\nlisten = \"127.0.0.1:1\"\n[metrics.users]\nops = \"f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7\"",
            std::path::Path::new("respool.toml"),
        )
        .unwrap();
        settings::GatewaySettings::new(&config).unwrap().http.unwrap().1.users
    }

    #[test]
    fn users_are_asked_for_their_password_wherever_they_come_from() {
        let right = headers(header::AUTHORIZATION, &format!("Basic {}", BASE64_STANDARD.encode("ops:hunter2")));
        assert_eq!(check(&users(), false, &right), Ok(()));
        for (wrong, refusal) in [
            ("ops:hunter3", Refusal::Password),
            (":hunter2", Refusal::Password),
            ("other:hunter2", Refusal::Password),
            ("ops", Refusal::Login),
        ] {
            let wrong = headers(header::AUTHORIZATION, &format!("Basic {}", BASE64_STANDARD.encode(wrong)));
            assert_eq!(check(&users(), true, &wrong), Err(refusal));
        }
        for wrong in ["Basic", "Basic ???", "Bearer b3BzOmh1bnRlcjI="] {
            assert_eq!(check(&users(), true, &headers(header::AUTHORIZATION, wrong)), Err(Refusal::Login));
        }
        assert_eq!(check(&users(), true, &HeaderMap::new()), Err(Refusal::Login));
    }

    #[test]
    fn without_users_only_this_machine_sees_it_and_by_no_foreign_name() {
        let nobody = Users::default();
        assert_eq!(check(&nobody, false, &HeaderMap::new()), Err(Refusal::NoUsers));
        for host in ["127.0.0.1:9121", "[::1]:9121", "localhost", "LOCALHOST:9121"] {
            assert_eq!(check(&nobody, true, &headers(header::HOST, host)), Ok(()), "{host}");
        }
        for host in ["evil.example:9121", "localhost.evil.example", ""] {
            assert_eq!(check(&nobody, true, &headers(header::HOST, host)), Err(Refusal::ForeignHost), "{host}");
        }
    }
}
