//! What comes before the first request of some clients: the word of a load balancer, the TLS handshake. Ends with a
//! client to be served, or with why it cannot be.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use settings::Users;
use tls::{Cause, ServerTls};
use tokio::time::timeout;

use crate::{
    listener::{
        client_stream::ClientStream,
        door::Arrival,
        proxy_header::{self, HeaderError, Told},
    },
    observe::{address::Address, turned_away::Kind},
};

/// What a client has to go through.
// Open: a plain value, made by the listener for one client.
#[derive(Debug)]
pub(crate) struct Terms {
    /// The handshake, if it is to be TLS.
    pub(crate) tls: Option<ServerTls>,
    /// The users among whom the name in a certificate is looked for, if it is that of a user.
    pub(crate) users: Option<Users>,
    /// For all of it.
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

/// Goes through it with a client. Where the client is stands in `place` as soon as that is known.
pub(crate) async fn greet(arrival: Arrival, place: Arc<OnceLock<Address>>, terms: Terms) -> Result<Visitor, Refused> {
    let deadline = terms.deadline;
    let comes_from = arrival.address.clone();
    timeout(deadline, go_through(arrival, &place, terms)).await.unwrap_or_else(|_| {
        let address = place.get().cloned().unwrap_or(comes_from);
        Err(Refused { address, kind: Some(Kind::Slow), reason: String::new() })
    })
}

async fn go_through(arrival: Arrival, place: &OnceLock<Address>, terms: Terms) -> Result<Visitor, Refused> {
    let Arrival { mut stream, mut address, manners } = arrival;
    if manners.proxied {
        address = match proxy_header::read(&mut stream).await {
            Ok(Told::Client(told)) => Address::Tcp(told),
            Ok(Told::Unknown) => Address::Behind(Arc::new(address)),
            Ok(Told::Balancer) => address,
            Err(HeaderError::Gone) => return Err(Refused { address, kind: None, reason: String::new() }),
            Err(HeaderError::Wrong(reason)) => {
                return Err(Refused { address, kind: Some(Kind::ProxyHeader), reason });
            }
        };
        // Nobody else sets it.
        let _ = place.set(address.clone());
    }
    let (stream, tls) = match (stream, terms.tls) {
        (ClientStream::Tcp(stream), Some(tls)) => (stream, tls),
        (stream, _) => return Ok(Visitor { stream, address, user: None }),
    };
    match tls.accept(stream).await {
        Ok(stream) => {
            let user = terms.users.and_then(|users| named(&stream, &users));
            Ok(Visitor { stream: ClientStream::Tls(Box::new(stream)), address, user })
        }
        Err(error) => Err(Refused { address, kind: kind(&error), reason: tls::explain(&error) }),
    }
}

/// The user whose name is in the client's certificate.
fn named(stream: &tls::ServerStream<tokio::net::TcpStream>, users: &Users) -> Option<String> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    tls::common_name(certificate, SystemTime::now()).filter(|name| users.may_be_proven(name))
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
