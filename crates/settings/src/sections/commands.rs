//! `[commands]`: what clients may not use.

use crate::section::section;

section! {
    /// `[commands]`
    Commands {
        /// Commands that no client may use, as `COMMAND` or `COMMAND|SUBCOMMAND`, in any case.
        deny: Vec<String> = Vec::new(),
    }
}
