//! Which clients `CLIENT KILL` closes and `CLIENT LIST` shows: its filters, read as a whole before any client is looked at.
//! As in Redis, of several filters of a kind the last one counts.

use std::{sync::Arc, time::Duration};

use pool::Facts;
use resp::{Request, parse_integer};
use settings::{DEFAULT_USER, Users};

use crate::observe::registry::{Details, Entry, Registry};

const NO_ID: &str = "ERR client-id should be greater than 0";

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ClientFilter {
    pub(super) ids: Option<Vec<u64>>,
    address: Option<String>,
    local: Option<String>,
    user: Option<String>,
    kind: Option<ClientType>,
    /// Those are spared who came less long ago.
    age: Option<Duration>,
    /// The client that asks is spared.
    pub(super) skip_me: bool,
}

/// `TYPE` of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClientType {
    Normal,
    PubSub,
    /// One that the gateway has no clients of.
    Replication,
}

impl ClientType {
    pub(crate) fn read(name: &[u8], facts: &Facts) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::PubSub),
            b"master" | b"replica" | b"slave" => Ok(Self::Replication),
            b"primary" if facts.is_valkey() => Ok(Self::Replication),
            _ => Err(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(name))),
        }
    }

    pub(crate) fn is_of(self, details: &Details) -> bool {
        let subscribes = details.subscriptions != [0; 3];
        match self {
            Self::Normal => !subscribes,
            Self::PubSub => subscribes,
            Self::Replication => false,
        }
    }
}

/// Whether `CLIENT LIST` takes the filters of `CLIENT KILL`, and `ID` any number of them: Valkey since 8.1.
pub(super) fn has_one_syntax(facts: &Facts) -> bool {
    facts.is_valkey() && facts.may_be_since(8, 1)
}

impl ClientFilter {
    /// The client at `address`, the one that asks too.
    pub(super) fn address(address: &[u8]) -> Self {
        Self { address: Some(String::from_utf8_lossy(address).into_owned()), ..Self::default() }
    }

    /// All clients of a type.
    pub(super) fn of(kind: ClientType) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }

    /// The filters of a request, which begin at its third argument, as far as the upstream's version has them; otherwise
    /// the error for its sender. It spares the client that asks if it says so, or says nothing and `skips_me`.
    pub(super) fn read(request: &Request<'_>, facts: &Facts, users: &Users, skips_me: bool) -> Result<Self, String> {
        let syntax = || "ERR syntax error".to_owned();
        let positive = |id: i64| u64::try_from(id).ok().filter(|id| *id > 0).ok_or(NO_ID);
        let mut filter = Self { skip_me: skips_me, ..Self::default() };
        let mut args = request.args().skip(2).peekable();
        while let Some(name) = args.next() {
            if name.eq_ignore_ascii_case(b"id") && has_one_syntax(facts) {
                let ids = filter.ids.get_or_insert_default();
                while let Some(id) = args.peek().copied().and_then(parse_integer) {
                    args.next();
                    ids.push(positive(id)?);
                }
                continue;
            }
            let value = args.next().ok_or_else(syntax)?;
            let text = || Some(String::from_utf8_lossy(value).into_owned());
            match name.to_ascii_lowercase().as_slice() {
                b"id" => {
                    filter.ids = Some(vec![positive(parse_integer(value).unwrap_or_default())?]);
                }
                b"addr" => filter.address = text(),
                b"laddr" if facts.may_be_since(6, 2) => filter.local = text(),
                b"user" => {
                    let user = String::from_utf8_lossy(value).into_owned();
                    if user != DEFAULT_USER && !users.elsewhere && !users.has(&user) {
                        return Err(format!("ERR No such user '{user}'"));
                    }
                    filter.user = Some(user);
                }
                b"type" => filter.kind = Some(ClientType::read(value, facts)?),
                b"maxage" if facts.may_be_since(7, 4) => {
                    let age = parse_integer(value).ok_or("ERR maxage is not an integer or out of range")?;
                    let age = u64::try_from(age).ok().filter(|age| *age > 0);
                    filter.age = Some(Duration::from_secs(age.ok_or("ERR maxage should be greater than 0")?));
                }
                b"skipme" if value.eq_ignore_ascii_case(b"yes") => filter.skip_me = true,
                b"skipme" if value.eq_ignore_ascii_case(b"no") => filter.skip_me = false,
                _ => return Err(syntax()),
            }
        }
        if let Some(ids) = &mut filter.ids {
            ids.sort_unstable();
            ids.dedup();
        }
        Ok(filter)
    }

    /// The clients among which it chooses.
    pub(super) fn among(&self, registry: &Registry) -> Vec<Arc<Entry>> {
        match &self.ids {
            Some(ids) => ids.iter().filter_map(|id| registry.get(*id)).collect(),
            None => registry.all(),
        }
    }

    pub(super) fn takes(&self, entry: &Entry) -> bool {
        self.address.as_ref().is_none_or(|address| entry.address().to_string() == *address)
            && self.local.as_ref().is_none_or(|local| entry.local().to_string() == *local)
            && self.age.is_none_or(|age| entry.since().elapsed() >= age)
            && entry.look(|details| {
                let user = details.user.as_deref().unwrap_or(DEFAULT_USER);
                self.user.as_deref().is_none_or(|wanted| wanted == user)
                    && self.kind.is_none_or(|kind| kind.is_of(details))
            })
    }
}
