//! The name in a certificate.

use std::time::SystemTime;

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
/// written in one of the usual alphabets, or if the certificate is over by `now`: a session that is resumed begins with the
/// certificate of the one before.
pub fn common_name(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    if certificate.tbs_certificate.validity.not_after.to_system_time() < now {
        return None;
    }
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
    use std::time::{Duration, UNIX_EPOCH};

    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_name_is_the_last_one_of_its_kind() {
        let of = |names: &[&str]| {
            let mut params = CertificateParams::new(vec!["san".into()]).unwrap();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::OrganizationName, "somebody");
            names.iter().for_each(|name| params.distinguished_name.push(DnType::CommonName, *name));
            common_name(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der(), SystemTime::now())
        };
        assert_eq!(of(&["app"]).as_deref(), Some("app"));
        assert_eq!(of(&["b\u{fc}ro"]).as_deref(), Some("b\u{fc}ro"));
        assert_eq!(of(&[]), None);
        assert_eq!(common_name(&CertificateDer::from(&b"nonsense"[..]), SystemTime::now()), None);
    }

    #[test]
    fn a_certificate_names_nobody_once_it_is_over() {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "app");
        params.not_after = date_time_ymd(2030, 1, 2);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let end = UNIX_EPOCH + Duration::from_secs(1_893_542_400);
        let name = |now| common_name(certificate.der(), now);
        assert_eq!(name(end), Some("app".to_owned()));
        assert_eq!(name(end + Duration::from_secs(1)), None);
    }
}
