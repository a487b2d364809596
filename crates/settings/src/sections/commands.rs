//! `[commands]`: what clients may not use.

use crate::typed::section::section;

section! {
    /// `[commands]`
    Commands {
        /// Commands that no client may send, as `COMMAND` or `COMMAND|SUBCOMMAND`; small letters will do. The list
        /// holds for what clients send. A script can still call a command of the list: deny `EVAL`, `EVALSHA`,
        /// `EVAL_RO`, `EVALSHA_RO`, `FCALL` and `FCALL_RO` too, or use an ACL user at the upstream.
        deny: Vec<String> = Vec::new(),
        /// Commands that this version of respool does not know and that `deny` may name: those of a newer Redis, or
        /// renamed ones. Names with a dot, as modules have them, need no entry here.
        known: Vec<String> = Vec::new(),
        /// Commands of modules that wait for something and do not say so: what `COMMAND INFO` shows without the flag
        /// `blocking`. Each gets a connection of its own, and may wait for longer than `reply_timeout_ms`.
        blocking: Vec<String> = Vec::new(),
    }
}
