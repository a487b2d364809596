//! What clients speak on sockets that were passed at the start: what `listen` says of the same address.

use crate::{ConfigError, Listen, OneOrMore, meaning::ranges::value};

/// `listen` for the sockets at `passed`, each with the options of its address.
///
/// # Errors
/// `listen` gives options to addresses, and a socket is at none of them: it would be served without.
pub(crate) fn for_passed(listen: &OneOrMore, passed: &[String]) -> Result<OneOrMore, ConfigError> {
    let parsed = |text: &String| text.parse::<Listen>().ok().map(|listen| (text.clone(), listen));
    let listed: Vec<(String, Listen)> = listen.texts().iter().filter_map(parsed).collect();
    let has_options = listed.iter().any(|(_, listen)| listen.tls || listen.proxy_protocol);
    let mut texts = Vec::new();
    for address in passed {
        let is_there = |listen: &Listen| listen.place.is_bound_at(address);
        match listed.iter().find(|(_, listen)| is_there(listen)) {
            Some((text, _)) => texts.push(text.clone()),
            None if has_options => {
                let problem = format!(
                    "a socket was passed that is at {address}, which is not listed; list it, so that it is known what \
                     clients speak there"
                );
                return value("listen", problem);
            }
            None => texts.push(address.clone()),
        }
    }
    Ok(OneOrMore::More(texts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_served_as_its_address_says() {
        let list = |texts: &[&str]| OneOrMore::More(texts.iter().map(|text| (*text).to_owned()).collect());
        let passed = ["127.0.0.1:7".to_owned(), "unix:/r".to_owned()];
        let tls = list(&["tls://127.0.0.1:7", "unix:///r?mode=600", "127.0.0.1:8"]);
        assert_eq!(for_passed(&tls, &passed).ok(), Some(list(&["tls://127.0.0.1:7", "unix:///r?mode=600"])));
        let plain = list(&["127.0.0.1:8"]);
        assert_eq!(for_passed(&plain, &passed).ok(), Some(list(&["127.0.0.1:7", "unix:/r"])));
        let problem = for_passed(&list(&["tls://127.0.0.1:8"]), &passed).expect_err("unknown").to_string();
        assert!(problem.starts_with("listen: ") && problem.contains("127.0.0.1:7"), "{problem}");
    }
}
