//! Which sections of `INFO` are the gateway's. `class` asks it, and so does whoever answers the request.

use resp::Request;

/// Whether a reply to this `INFO` has the gateway's section.
pub(crate) fn ask_for_respool(request: &Request<'_>) -> bool {
    request.args().skip(1).any(|section| is_respool(section) || section.eq_ignore_ascii_case(b"everything"))
}

/// Whether a section is the gateway's own, which the upstream does not know.
pub(crate) fn is_respool(section: &[u8]) -> bool {
    section.eq_ignore_ascii_case(b"respool")
}
