//! Many producers, one bounded queue, N workers, each with a Redis connection of its own.
//!
//! Several of them, one for each node and login, are [`Pools`].
//!
//! [`Pool::start`] starts the workers; a [`Caller`] sends raw [`Burst`]s of requests, a [`Client`]
//! typed commands. The reply comes back by oneshot, exactly once, whatever happens.
//!
//! # How a job travels
//! [`Caller::call`] → `job` → the async-channel queue (a `branch` of it for each runtime, see
//! [`Pool::start_on`]) → `worker` → `connection` → `in_flight` → the job's oneshot → [`Caller::call`]. A caller
//! has one job out at a time, so that its requests cannot overtake each other, or [a second](Out::follow) behind it on
//! the same connection; a worker writes the jobs of many callers before it reads their replies.
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

// Rooms, each of which uses only those below it in this order: pool, worker, caller, shared, exclusive, queue,
// stats, upstream, bounds, settings, time, error.
mod bounds;
mod caller;
mod error;
mod exclusive;
mod pool;
mod queue;
mod settings;
mod shared;
mod stats;
mod time;
mod upstream;
mod worker;

pub use bounds::budget::Budget;
pub use bounds::reply_memory::REPLY_FREE_BYTES;
pub use bounds::share::Share;
pub use caller::caller::Caller;
pub use caller::further::{Further, Out};
pub use caller::several::execute_all;
pub use error::{JobError, Sent};
pub use exclusive::lent::Lent;
pub use exclusive::standing::{Attempts, Standing};
pub use pool::access::{Access, Led};
pub use pool::client::{BlockingClient, Client, ClientError};
pub use pool::control::{Control, Left, Status};
pub use pool::key::{At, Key};
pub use pool::logins::{LoginFailure, Logins};
pub use pool::pool::{Drained, Pool};
pub use pool::pools::{Listed, NoPool, Pools};
pub use queue::expected::Expected;
pub use queue::job::{Answer, Begun, Burst, Pieces};
pub use queue::progress::{Progress, Stage};
pub use resp::{Protocol, ReplyKind, Value};
pub use settings::endpoint::Endpoint;
pub use settings::login::Login;
pub use settings::ours::{OWN, Ours, OwnRequests};
pub use settings::password::Password;
pub use settings::role::Role;
pub use settings::settings::{LoginWorkers, Settings};
pub use settings::tenure::Origin;
pub use settings::url::EndpointError;
pub use stats::class::BurstClass;
pub use stats::gauge::{WorkerState, WorkerStatus};
pub use stats::histogram::Distribution;
pub use stats::tally::{ClassTotals, Tally, micros};
pub use stats::totals::{Spent, Totals};
pub use stats::traffic::TrafficTotals;
pub use stats::under_way::UnderWay;
pub use time::alarm::Alarm;
pub use upstream::conversation::{Conversation, ConversationError};
pub use upstream::facts::Facts;
pub use upstream::health::Upstream;
pub use upstream::limits::Limits;
pub use upstream::needs::{Needs, Wanted};
