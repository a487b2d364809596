//! What a command says: its live line, its result as table, JSON and page, or its failure with an exit
//! code. Called by every command; knows outcomes, and nothing of how they are measured.

pub mod about;
pub mod bars;
pub mod deliver;
pub mod difference;
pub mod failure;
pub mod figures;
pub mod page;
pub mod plot;
pub mod progress;
pub mod table;

pub use deliver::{ReportArgs, ReportError, deliver};
