//! The name in a certificate.

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::{
        Decode, Tag, Tagged,
        asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef},
        oid::db::rfc4519::COMMON_NAME,
    },
};

/// The last `CN` of a certificate's subject, which is the most particular one. `None` if there is none, or if it is not
/// written in one of the usual alphabets.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let mut parts = certificate.tbs_certificate.subject.0.iter().flat_map(|part| part.0.iter());
    let value = &parts.rfind(|part| part.oid == COMMON_NAME)?.value;
    let name = match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str().to_owned(),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok()?.as_str().to_owned(),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok()?.as_str().to_owned(),
        _ => return None,
    };
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    #[test]
    fn the_name_is_the_last_one_of_its_kind() {
        let of = |names: &[&str]| {
            let mut params = CertificateParams::new(vec!["san".into()]).unwrap();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "somebody");
            names.iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, *name));
            common_name(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
        };
        assert_eq!(of(&["app"]).as_deref(), Some("app"));
        assert_eq!(of(&["b\u{fc}ro"]).as_deref(), Some("b\u{fc}ro"));
        assert_eq!(of(&[]), None);
        assert_eq!(common_name(&CertificateDer::from(&b"nonsense"[..])), None);
    }
}
