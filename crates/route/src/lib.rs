//! To which shards of a Redis or Valkey cluster a request goes, and how the parts of its answer are put together. No
//! I/O and no clock.
//!
//! [`Commands`] is what a node says of its commands (`COMMAND`): where their keys stand, and which go to all shards.
//! [`Commands::route`] finds the [`Route`] of a request and allocates nothing. [`Plan`] is a request with keys of
//! several slots, split; [`merge`] makes one reply of several. [`Cursor`] is where a `SCAN` over all shards is. [`slot_of_script`] is a
//! hint where a script without keys may be executed best.
//!
//! ```
//! use resp::{Decoded, RequestDecoder, RequestLimits, Value};
//! use route::{Commands, Route, slot};
//!
//! let told = "*1\r\n*6\r\n$3\r\nget\r\n:2\r\n*1\r\n+readonly\r\n:1\r\n:1\r\n:1\r\n";
//! let commands = Commands::read(&Value::decode(&told.into()).unwrap().0).unwrap();
//! let mut decoder = RequestDecoder::new(RequestLimits::default());
//! let line = b"GET {user}:1\r\n";
//! assert_eq!(decoder.decode(line), Ok(Decoded::Request { len: line.len() }));
//! assert!(matches!(commands.route(&decoder.request(line)), Route::Slot(of) if of == slot(b"user")));
//! ```

mod command;
mod commands;
mod exceptions;
mod hint;
mod keys;
mod lua;
mod merge;
mod plan;
mod replies;
mod scan;
mod short_names;
mod slot;

pub use command::{Command, Reach, Route};
pub use commands::{Commands, CommandsError, Told};
pub use hint::{HINT_BYTES_MAX, slot_of_script, slots_of_library};
pub use merge::{Merge, Mismatch, merge, pick_key};
pub use plan::{Part, Plan};
pub use replies::{Splitter, replies};
pub use scan::{Cursor, ScanReply};
pub use slot::{SLOTS, slot};
