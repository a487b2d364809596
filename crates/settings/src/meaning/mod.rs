//! What a configuration means: the only place where values are checked. Everything behind it trusts them.

pub(crate) mod client_tls;
pub(crate) mod command_names;
pub(crate) mod denied;
pub(crate) mod log_settings;
pub(crate) mod outside;
pub(crate) mod pool_settings;
pub(crate) mod ranges;
pub(crate) mod secret_file;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod upstream;
pub(crate) mod warnings;
