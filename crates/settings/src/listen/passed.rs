//! What clients speak on sockets that were passed at the start: what `listen` says of the same address, or of the
//! socket's name.

use crate::{ConfigError, Listen, OneOrMore, Place, meaning::ranges::value};

/// A socket that was passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedSocket {
    /// Where it is, as `listen` would say it.
    pub address: String,
    /// What whoever passed it calls it; empty if it has no name.
    pub name: String,
}

/// `listen` for the sockets in `passed`, each with the options of its address or name.
///
/// # Errors
/// `listen` gives options to addresses, and a socket is at none of them: it would be served without. Or it names a
/// socket that is not there.
pub(crate) fn for_passed(listen: &OneOrMore, passed: &[PassedSocket]) -> Result<OneOrMore, ConfigError> {
    let parsed = |text: &String| text.parse::<Listen>().ok().map(|listen| (text.clone(), listen));
    let listed: Vec<(String, Listen)> = listen.texts().iter().filter_map(parsed).collect();
    let has_options = listed
        .iter()
        .any(|(_, listen)| listen.tls || listen.proxy_protocol || matches!(listen.place, Place::Passed(_)));
    let mut texts = Vec::new();
    for socket in passed {
        let PassedSocket { address, name } = socket;
        let has_name = |listen: &Listen| matches!(&listen.place, Place::Passed(listed) if listed == name);
        let found = listed.iter().find(|(_, listen)| listen.place.is_bound_at(address));
        match found.or_else(|| listed.iter().find(|(_, listen)| has_name(listen))) {
            Some((_, listen)) if listen.tls && address.starts_with("unix:") => {
                return value(
                    "listen",
                    format!("\"{listen}\" was passed as {address}, and a unix socket speaks no TLS"),
                );
            }
            Some((text, Listen { place: Place::Passed(_), .. })) => {
                texts.push(text.replacen(&format!("fd:{name}"), address, 1));
            }
            Some((text, _)) => texts.push(text.clone()),
            None if has_options => {
                let named = if name.is_empty() { String::new() } else { format!(" and has the name {name}") };
                let problem = format!(
                    "a socket was passed that is at {address}{named}, which is not listed; list it, so that it is known \
                     what clients speak there"
                );
                return value("listen", problem);
            }
            None => texts.push(address.clone()),
        }
    }
    let is_there = |name: &str| passed.iter().any(|socket| socket.name == name);
    let absent = listed.iter().find(|(_, listen)| matches!(&listen.place, Place::Passed(name) if !is_there(name)));
    if let Some((text, _)) = absent {
        let names: Vec<_> = passed.iter().map(|socket| socket.name.as_str()).filter(|name| !name.is_empty()).collect();
        let there =
            if names.is_empty() { "none has a name".to_owned() } else { format!("there is {}", names.join(", ")) };
        return value("listen", format!("\"{text}\": no socket of this name was passed in LISTEN_FDNAMES; {there}"));
    }
    Ok(OneOrMore::More(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> OneOrMore {
        OneOrMore::More(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    fn socket(address: &str, name: &str) -> PassedSocket {
        PassedSocket { address: address.to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_socket_is_served_as_its_address_says() {
        let passed = [socket("127.0.0.1:7", ""), socket("unix:/r", "respool.socket")];
        let tls = list(&["tls://127.0.0.1:7", "unix:///r?mode=600", "127.0.0.1:8"]);
        assert_eq!(for_passed(&tls, &passed).ok(), Some(list(&["tls://127.0.0.1:7", "unix:///r?mode=600"])));
        let odd = list(&["[2001:db8:fd::1]:7", "unix:/fd:x"]);
        let passed_there = [socket("[2001:db8:fd::1]:7", ""), socket("unix:/fd:x", "")];
        assert_eq!(for_passed(&odd, &passed_there).ok(), Some(odd));
        let plain = list(&["127.0.0.1:8"]);
        assert_eq!(for_passed(&plain, &passed).ok(), Some(list(&["127.0.0.1:7", "unix:/r"])));
        let problem = for_passed(&list(&["tls://127.0.0.1:8"]), &passed).expect_err("unknown").to_string();
        assert!(problem.starts_with("listen: ") && problem.contains("127.0.0.1:7"), "{problem}");
    }

    #[test]
    fn a_socket_is_served_as_its_name_says() {
        let passed = [socket("127.0.0.1:7", "web"), socket("unix:/r", "web"), socket("[::1]:8", "safe")];
        let named = list(&["fd:web?proxy_protocol=on", "tls://fd:safe"]);
        let expected = ["127.0.0.1:7?proxy_protocol=on", "unix:/r?proxy_protocol=on", "tls://[::1]:8"];
        assert_eq!(for_passed(&named, &passed).ok(), Some(list(&expected)));
        for (listen, problem) in [
            (
                &["fd:web"][..],
                "listen: a socket was passed that is at [::1]:8 and has the name safe, which is not listed",
            ),
            (&["fd:web", "fd:safe", "tls://fd:other"], "listen: \"tls://fd:other\": no socket of this name was passed"),
            (
                &["tls://fd:web", "fd:safe"],
                "listen: \"tls://fd:web\" was passed as unix:/r, and a unix socket speaks no",
            ),
        ] {
            let said = for_passed(&list(listen), &passed).expect_err("refused").to_string();
            assert!(said.starts_with(problem), "{said}");
        }
        let nameless = for_passed(&list(&["fd:web"]), &[]).expect_err("refused").to_string();
        assert!(nameless.ends_with("in LISTEN_FDNAMES; none has a name"), "{nameless}");
    }
}
