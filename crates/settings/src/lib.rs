//! The gateway's configuration: what is typed ([`Config`]), what it means ([`GatewaySettings`]) and what its bounds
//! may cost ([`report`]).
//!
//! A [`Config`] is what a file says, key by key, with defaults for the rest. [`GatewaySettings::new`] is the only
//! validation: everything behind it trusts the values. An error names the key and the line, and never repeats a value
//! that may be a password.
//!
//! ```
//! use std::path::Path;
//!
//! let config = settings::Config::parse("[pool]\nworkers = 8\nqueue_timeout_ms = \"5s\"", Path::new("respool.toml"))?;
//! let settings = settings::GatewaySettings::new(&config)?;
//! assert_eq!(settings.pool.workers, 8);
//!
//! let refused = settings::Config::parse("[pool]\nworker = 8", Path::new("respool.toml")).unwrap_err();
//! assert_eq!(refused.to_string(), "respool.toml: line 2: pool.worker: no such key; did you mean \"workers\"?");
//! # Ok::<(), settings::ConfigError>(())
//! ```

mod error;
mod listen;
mod logins;
mod meaning;
mod reading;
mod report;
pub mod sections;
mod typed;

pub use error::ConfigError;
pub use listen::{
    list::OneOrMore,
    listen::{Listen, ListenError},
    passed::PassedSocket,
    place::{Place, PlaceError, UnixPlace},
    trusted::Trusted,
};
pub use logins::failed_logins::{FailedLogins, LoginBounds, Penalty};
pub use logins::limits::{Limits, UserLimits};
pub use logins::peers::Peers;
pub use logins::rate::Bucket;
pub use logins::users::{DEFAULT_USER, Digest32, PASSWORD_BYTES_MAX, User, Users};
pub use meaning::command_names::command_names;
pub use meaning::log_settings::LogSettings;
pub use meaning::outside::{ExportSettings, HttpSettings};
pub use meaning::session::{SessionSettings, SlowLogSettings};
pub use meaning::settings::{GatewaySettings, PubSubSettings};
pub use meaning::upstream::cluster::{ClusterSettings, Presented};
pub use meaning::upstream::reads::{ReadSettings, Reads, SingleSettings};
pub use meaning::upstream::sentinels::SentinelSettings;
pub use reading::args::Args;
pub use reading::origin::Origin;
pub use reading::source::{Source, Url};
pub use report::change::{Change, changes, changes_of_files};
pub use report::descriptors::{fit, needed, shortage};
pub use report::report::report;
pub use typed::config::Config;
pub use typed::key::Key;
pub use typed::kind::Kind;
pub use typed::secret::Secret;
pub use typed::shipped::shipped;
pub use typed::units::{ByteCount, Micros, Millis, Seconds};
