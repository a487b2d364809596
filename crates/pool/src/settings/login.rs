//! As whom connections are made: with the login of the configuration, or as another user of the upstream.

use std::{fmt, sync::Arc};

use crate::settings::{endpoint::Endpoint, password::Password};

/// Whom the upstream takes those for who do not say who they are.
const DEFAULT_USER: &str = "default";

/// With which login connections are made.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub enum Login {
    /// With that of the configuration.
    #[default]
    Configured,
    /// With none: as the upstream's default user, if that needs no password.
    Nobody,
    /// As this user of the upstream.
    User {
        /// As in `AUTH`; `None` where only a password is given.
        name: Option<Arc<str>>,
        /// Kept as long as the pool, and never shown.
        password: Password,
    },
}

/// Passwords never reach a log.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("Configured"),
            Self::Nobody => f.write_str("Nobody"),
            Self::User { name, .. } => f.debug_struct("User").field("name", name).finish_non_exhaustive(),
        }
    }
}

impl Login {
    /// The user's name, if it is not the login of the configuration.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Configured => None,
            Self::User { name: Some(name), .. } => Some(name),
            Self::Nobody | Self::User { name: None, .. } => Some(DEFAULT_USER),
        }
    }

    /// The same place, where connections are made with this login.
    pub(crate) fn endpoint(&self, endpoint: Endpoint) -> Endpoint {
        match self {
            Self::Configured => endpoint,
            Self::Nobody => endpoint.with_login(None, None).of_guest(),
            Self::User { name, password } => {
                endpoint.with_login(name.as_deref().map(str::to_owned), Some(password.clone())).of_guest()
            }
        }
    }
}
