//! The files of the web console, built in, and the headers under which a browser runs nothing else.

use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

/// A file and its type.
pub(super) type File = (&'static str, &'static str);

/// What every page is sent with: only its own script and style, and no connection but to where it came from.
pub(super) const HEADERS: [(HeaderName, &str); 4] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
];

/// The file at `path`, with its type.
pub(super) fn file(path: &str) -> Option<File> {
    Some(match path {
        "/" => (include_str!("web/console.html"), "text/html; charset=utf-8"),
        "/console.css" => (include_str!("web/console.css"), "text/css; charset=utf-8"),
        "/console.js" => (include_str!("web/console.js"), "text/javascript; charset=utf-8"),
        _ => return None,
    })
}
