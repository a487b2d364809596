//! What comes before the first request of some clients: the TLS handshake. Ends with a client to be served, or with why
//! it cannot be.

use std::{io, time::Duration};

use settings::Users;
use tls::{Cause, ServerTls};
use tokio::time::timeout;

use crate::{
    listener::{client_stream::ClientStream, door::Arrival},
    observe::{address::Address, turned_away::Kind},
};

/// What a client has to go through.
// Open: a plain value, made by the listener for one client.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) tls: ServerTls,
    /// The users among whom the name in a certificate is looked for, if it is that of a user.
    pub(crate) users: Option<Users>,
    pub(crate) deadline: Duration,
}

/// A client to be served.
// Open: a plain value, taken apart by the listener.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) stream: ClientStream,
    pub(crate) address: Address,
    /// Who it has proved to be, if it has.
    pub(crate) user: Option<String>,
}

/// Why a client is not served.
// Open: a plain value, for the log.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) address: Address,
    /// None of a client that has gone: that is no fault of anybody's.
    pub(crate) kind: Option<Kind>,
    pub(crate) reason: String,
}

/// Goes through it with a client.
pub(crate) async fn greet(arrival: Arrival, terms: Terms) -> Result<Visitor, Refused> {
    let Arrival { stream, address, .. } = arrival;
    let ClientStream::Tcp(stream) = stream else {
        return Ok(Visitor { stream, address, user: None });
    };
    match timeout(terms.deadline, terms.tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let user = terms.users.and_then(|users| named(&stream, &users));
            Ok(Visitor { stream: ClientStream::Tls(Box::new(stream)), address, user })
        }
        Ok(Err(error)) => Err(Refused { address, kind: kind(&error), reason: tls::explain(&error) }),
        Err(_) => Err(Refused { address, kind: Some(Kind::Slow), reason: String::new() }),
    }
}

/// The user whose name is in the client's certificate.
fn named(stream: &tls::ServerStream<tokio::net::TcpStream>, users: &Users) -> Option<String> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    tls::common_name(certificate).filter(|name| users.has(name))
}

fn kind(error: &io::Error) -> Option<Kind> {
    match tls::cause(error) {
        Cause::NoTls => Some(Kind::PlainToTls),
        Cause::Certificate => Some(Kind::Certificate),
        Cause::RefusedUs => Some(Kind::RefusesUs),
        Cause::NothingInCommon | Cause::Other => Some(Kind::Tls),
        Cause::Gone => None,
    }
}
