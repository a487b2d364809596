//! The gateway's configuration: what is typed ([`Config`]), what it means ([`GatewaySettings`]) and what its bounds
//! may cost ([`report`]).
//!
//! A [`Config`] is what a file says, key by key, with defaults for the rest. [`GatewaySettings::new`] is the only
//! validation: everything behind it trusts the values. An error names the key or the line, and never repeats a value
//! that may be a password.
//!
//! ```
//! let config = settings::Config::parse("[pool]\nworkers = 8")?;
//! let settings = settings::GatewaySettings::new(&config).map_err(|error| error.to_string())?;
//! assert_eq!(settings.pool.workers, 8);
//! # Ok::<(), String>(())
//! ```

mod config;
mod error;
mod listen;
mod log_settings;
mod logins;
mod ranges;
mod report;
mod section;
pub mod sections;
mod session;
mod settings;
mod upstream_tls;

pub use config::{Config, without_values};
pub use error::ConfigError;
pub use listen::{
    list::OneOrMore,
    listen::{Listen, ListenError},
    place::{Place, PlaceError, UnixPlace},
    trusted::Trusted,
};
pub use log_settings::{ExportSettings, LogSettings};
pub use logins::failed_logins::{FailedLogins, LoginBounds, Penalty};
pub use logins::users::{DEFAULT_USER, Digest32, User, Users, user_name};
pub use report::descriptors::{needed, shortage};
pub use report::report::report;
pub use session::{SessionSettings, SlowLogSettings};
pub use settings::{GatewaySettings, HttpSettings, PubSubSettings};
