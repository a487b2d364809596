//! What a command says: its live line, its result as table, JSON and page, or its failure with an exit
//! code. Called by every command; knows outcomes, and nothing of how they are measured.

pub mod deliver;
pub mod failure;
pub mod page;
pub mod plot;
pub mod progress;
pub mod table;

pub use deliver::{ReportArgs, ReportError, deliver};
