//! What a replica says to a write, and who may say so of itself.

use std::time::Duration;

/// What Redis says to a write at a replica, without the mark of an error.
pub(crate) const READ_ONLY: &[u8] = b"READONLY You can't write against a read only replica.\r\n";

/// How long a node that has said so has to turn out to be no primary any more before it is asked once more.
pub(crate) const TURNS_OUT: Duration = Duration::from_millis(100);

/// Commands that run a script, which may say anything.
const SCRIPTS: [&[u8]; 3] = [b"EVAL", b"EVALSHA", b"FCALL"];

/// Whether the command of this name runs a script that may write.
pub(crate) fn is_script(name: &[u8]) -> bool {
    SCRIPTS.iter().any(|script| name.eq_ignore_ascii_case(script))
}
