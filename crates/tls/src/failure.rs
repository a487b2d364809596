//! Why a connection by TLS has failed, in words that tell an operator what to do.

use std::io;

use tokio_rustls::rustls::{AlertDescription, CertificateError, Error};

/// The kinds of failures that are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// What came was no TLS.
    NoTls,
    /// The certificate of the other side is not right, or there is none.
    Certificate,
    /// The other side did not like what it saw, such as our certificate.
    RefusedUs,
    /// The two have no version, algorithm or name in common.
    NothingInCommon,
    /// The connection ended first.
    Gone,
    /// Anything else.
    Other,
}

fn inner(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// The kind of a failure.
pub fn cause(error: &io::Error) -> Cause {
    match inner(error) {
        Some(Error::InvalidMessage(_)) => Cause::NoTls,
        Some(Error::InvalidCertificate(_) | Error::NoCertificatesPresented) => Cause::Certificate,
        Some(Error::AlertReceived(_)) => Cause::RefusedUs,
        Some(Error::PeerIncompatible(_)) => Cause::NothingInCommon,
        Some(_) => Cause::Other,
        None => match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Cause::Gone,
            _ => Cause::Other,
        },
    }
}

/// What has happened, of the other side.
pub fn explain(error: &io::Error) -> String {
    match inner(error) {
        Some(Error::InvalidCertificate(problem)) => certificate(problem),
        Some(Error::NoCertificatesPresented) => "it shows no certificate".to_owned(),
        Some(Error::InvalidMessage(_)) => "what it sends is no TLS".to_owned(),
        Some(Error::AlertReceived(alert)) => alerted(*alert),
        Some(Error::PeerIncompatible(why)) => format!("it has no TLS version or algorithm in common with us ({why:?})"),
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection during the TLS handshake".to_owned()
        }
        None => error.to_string(),
    }
}

fn certificate(problem: &CertificateError) -> String {
    match problem {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => {
            let days = time.as_secs().saturating_sub(not_after.as_secs()) / (24 * 3600);
            format!("its certificate has expired, {days} days ago")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is the clock of this machine right?".to_owned()
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!("its certificate is for {names}, not for {}", expected.to_str())
        }
        CertificateError::UnknownIssuer => "its certificate is of an authority that is not trusted here".to_owned(),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        CertificateError::BadSignature => {
            "its certificate is of an authority that is not trusted here, though one of the same name is".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is for another purpose".to_owned()
        }
        other => format!("its certificate is not valid: {other}"),
    }
}

/// A name of a certificate, without what rustls says of its kind: `DnsName("redis.example")`, `IpAddress(::1)`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn alerted(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => "it wants a certificate of ours, and there is none to show".to_owned(),
        AlertDescription::UnknownCA => "it does not trust the authority of our certificate".to_owned(),
        AlertDescription::CertificateExpired => "it says that our certificate has expired".to_owned(),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown => format!("it does not accept our certificate ({alert:?})"),
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            format!("it has no TLS version or algorithm in common with us ({alert:?})")
        }
        AlertDescription::UnrecognisedName => "it knows no such name".to_owned(),
        other => format!("it refused the connection ({other:?})"),
    }
}
