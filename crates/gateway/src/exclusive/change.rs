//! What a request changes about its connection. `request` finds it out; `lending` keeps account of it.

use resp::{Request, parse_integer};

use crate::{
    command::class::{Class, Local, Reason},
    exclusive::tracking::redirect,
};

/// How the requests of a connection are executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// `CLIENT NO-TOUCH`
    NoTouch,
    /// `CLIENT IMPORT-SOURCE`
    ImportSource,
}

/// What a request does to the state of its connection if its reply is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Multi,
    /// `EXEC` or `DISCARD`, which end a transaction whatever they answer.
    EndMulti,
    Watch,
    Unwatch,
    /// Confirmed once a name.
    Subscribe,
    Monitor,
    /// With the upstream's id of the connection that gets the invalidations, if that is another.
    Tracking {
        on: bool,
        broadcasts: bool,
        redirect: Option<i64>,
    },
    /// `CLIENT CACHING`, which holds for the next request that is no `CLIENT`.
    Caching,
    /// None: what is said of tracking has ids in it.
    ShowTracking,
    Manner(Manner, bool),
    Select(u32),
}

impl Change {
    pub(crate) fn of(class: Class, request: &Request<'_>) -> Self {
        let last_is = |word: &[u8]| request.arg(2).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
        let sub_is = |word: &[u8]| request.arg(1).is_some_and(|arg| arg.eq_ignore_ascii_case(word));
        match class {
            Class::Multi => Self::Multi,
            Class::Exec | Class::Local(Local::DiscardWithoutMulti) => Self::EndMulti,
            Class::Local(Local::Unwatch) => Self::Unwatch,
            Class::Local(Local::Unsubscribe) | Class::Exclusive(Reason::PubSub) => Self::Subscribe,
            Class::Local(Local::Select) => match request.arg(1).and_then(parse_integer).map(u32::try_from) {
                Some(Ok(db)) => Self::Select(db),
                _ => Self::None,
            },
            Class::Exclusive(Reason::Watch) => Self::Watch,
            Class::Exclusive(Reason::Monitor) => Self::Monitor,
            Class::Exclusive(Reason::Tracking) if sub_is(b"TRACKING") => {
                let on = last_is(b"ON");
                Self::Tracking { on, broadcasts: on && redirect::broadcasts(request), redirect: None }
            }
            Class::Exclusive(Reason::Tracking) if sub_is(b"CACHING") => Self::Caching,
            Class::Exclusive(Reason::Tracking) if sub_is(b"GETREDIR") || sub_is(b"TRACKINGINFO") => Self::ShowTracking,
            Class::Exclusive(Reason::NoTouch) => Self::Manner(Manner::NoTouch, last_is(b"ON")),
            Class::Exclusive(Reason::ImportSource) => Self::Manner(Manner::ImportSource, last_is(b"ON")),
            Class::Exclusive(_)
            | Class::Local(_)
            | Class::Plain { .. }
            | Class::Unheard
            | Class::Refused(_)
            | Class::Attack => Self::None,
        }
    }
}
