//! What an operator sees of a running gateway, over real HTTP and over the console: that the totals add
//! up whatever went wrong, that the dashboard and the alerts in `config/` ask for what there is, and that
//! whoever looks touches no traffic.

mod config_files;
mod lookers_on;
mod refused;
mod shown;
mod totals;
mod traffic;
mod web_console;
