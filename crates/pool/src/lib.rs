//! Many producers, one bounded queue, N workers, each with a Redis connection of its own.
//!
//! [`Pool::start`] starts the workers; a [`Caller`] sends raw [`Burst`]s of requests, a [`Client`]
//! typed commands. The reply comes back by oneshot, exactly once, whatever happens.
//!
//! # How a job travels
//! [`Caller::call`] → `job` → the async-channel queue (a `branch` of it for each runtime, see
//! [`Pool::start_on`]) → `worker` → `connection` → `in_flight` → the job's oneshot → [`Caller::call`]. A caller
//! has one job out at a time, so that its requests cannot overtake each other; a worker writes the jobs of many
//! callers before it reads their replies.
//!
//! # Who waits on what
//! A caller waits for its answer, with its own deadlines: `ticket` decides between a caller that gives
//! up and a worker that begins. A worker waits for its connection, for the queue, for its alarm and for
//! new settings. The supervisor in `pool` waits for workers. Closing the queue ends all of them, in
//! that order.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let pool = pool::Pool::start(pool::Settings::new("redis://127.0.0.1:6379".parse()?));
//! let mut client = pool.client();
//! client.set("greeting", "hello", None).await?;
//! assert_eq!(client.get("greeting").await?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```

mod alarm;
mod backoff;
mod branch;
mod budget;
mod caller;
mod client;
mod connection;
mod control;
mod endpoint;
mod error;
mod exclusive;
mod facts;
mod gauge;
mod health;
mod histogram;
mod in_flight;
mod job;
mod login;
mod moment;
mod place;
mod pool;
mod progress;
mod room;
mod settings;
mod shared;
mod standing;
mod stats;
mod stream;
mod tally;
mod ticket;
mod worker;

pub use alarm::Alarm;
pub use budget::{Budget, Share};
pub use caller::Caller;
pub use client::{BlockingClient, Client, ClientError};
pub use control::{Control, Status};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{JobError, Sent};
pub use exclusive::Lent;
pub use facts::Facts;
pub use gauge::{WorkerState, WorkerStatus};
pub use health::Upstream;
pub use histogram::Distribution;
pub use job::{Answer, Burst, BurstClass, Needs};
pub use pool::{Drained, Pool};
pub use progress::{Progress, Stage};
pub use resp::{Protocol, ReplyKind, Value};
pub use room::REPLY_FREE_BYTES;
pub use settings::Settings;
pub use standing::{Attempts, Standing};
pub use stats::{Spent, Totals};
pub use tally::{ClassTotals, Tally, micros};
