//! `[tls]`: what clients of `tls://` addresses are shown, and what they have to show.

use crate::typed::section::section;

section! {
    /// `[tls]`
    Tls {
        /// The file of the certificate that clients of `tls://` addresses are shown, in PEM format. Behind it stand those
        /// that lead to its authority. A reload reads all files of this section again; if one of them is broken, the old
        /// ones stay. An idle client of TLS costs some 10 KiB more than one without.
        cert_file: String = String::new(),
        /// The file of its key.
        key_file: String = String::new(),
        /// Further files, each with a certificate and its key. A client that asks for a name is shown the first
        /// certificate that has it.
        certificates: Vec<String> = Vec::new(),
        /// Whether clients have to show a certificate: `none`, `optional`, or `required`.
        client_auth: String = "none".into(),
        /// The file of the authorities that may have signed clients' certificates.
        client_ca_file: String = String::new(),
        /// `CN`: a client whose certificate has the name of one of `auth.users` is that user, without a password. Empty:
        /// every client logs in by its password.
        user_from_certificate: String = String::new(),
        /// The oldest version that is spoken: `1.2` or `1.3`.
        min_version: String = "1.2".into(),
    }
}
