//! Which sections of `INFO` are the gateway's. `class` asks it, and so does whoever answers the request.

use resp::Request;

/// The sections that have something of clients in them.
const SECTIONS: [&[u8]; 4] = [b"clients", b"default", b"all", b"everything"];

/// Whether a reply to this `INFO` has the gateway's section.
pub(crate) fn ask_for_respool(request: &Request<'_>) -> bool {
    request.args().skip(1).any(|section| is_respool(section) || section.eq_ignore_ascii_case(b"everything"))
}

/// Whether a reply to this `INFO` speaks of clients.
pub(crate) fn ask_for_clients(request: &Request<'_>) -> bool {
    let speaks_of_them = |section: &[u8]| SECTIONS.iter().any(|name| section.eq_ignore_ascii_case(name));
    request.len() == 1 || request.args().skip(1).any(speaks_of_them)
}

/// Whether a section is the gateway's own, which the upstream does not know.
pub(crate) fn is_respool(section: &[u8]) -> bool {
    section.eq_ignore_ascii_case(b"respool")
}
