//! What tunes a pool. The defaults are those of the gateway's configuration file, where each has its
//! cost beside it; validation is the caller's.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::settings::{endpoint::Endpoint, role::Role};

/// All that a pool can be told, at its start and, by [`Pool::reconfigure`](crate::Pool::reconfigure),
/// while it runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The upstream. When it changes, new connections go there and old ones finish what they have.
    pub endpoint: Endpoint,
    /// Worker tasks, each with a connection of its own; at least 1.
    pub workers: usize,
    /// Requests that a worker writes before it has their replies; at least 1.
    pub pipeline_depth: usize,
    /// Jobs that the queue holds; at least 1. Fixed at the start.
    pub queue_capacity: usize,
    /// Bytes of requests, queued and in flight together.
    pub queue_bytes_max: usize,
    /// How long a job may wait until a worker takes it.
    pub queue_timeout: Duration,
    /// How long a job may wait while there is no primary: from the loss of one, or from when it is about to change, until
    /// the next one is there. Within `queue_timeout`. 0 is not at all: jobs fail at once.
    pub failover_wait: Duration,
    /// How long a job may be held back by [`Control::pause`](crate::Control::pause).
    pub pause_timeout: Duration,
    /// How long a taken job may wait for its replies.
    pub reply_timeout: Duration,
    /// Bytes of the replies to one job.
    pub reply_bytes_max: usize,
    /// Bytes of replies that callers hold beyond [`REPLY_FREE_BYTES`](crate::REPLY_FREE_BYTES) each.
    pub replies_bytes_max: usize,
    /// Aggregates inside aggregates in one reply; a job with a deeper one fails.
    pub reply_depth_max: usize,
    /// Connecting and logging in, together.
    pub connect_timeout: Duration,
    /// First pause after a failed attempt to connect.
    pub reconnect_delay_min: Duration,
    /// Longest pause between attempts to connect.
    pub reconnect_delay_max: Duration,
    /// Longest pause after the upstream refused a login, or a connection more; the first is a second.
    pub refused_delay_max: Duration,
    /// What the upstream should be; anything, if not said. It is used whatever it is, and is not ready if it is
    /// something else.
    pub role: Option<Role>,
    /// How often the upstream is asked for its role and for a sign of life, by one connection for all; never, if zero.
    pub check_interval: Duration,
    /// An idle connection is asked for a sign of life this often; the upstream's own `timeout`
    /// shortens it.
    pub keepalive: Duration,
    /// A connection older than this, give or take a tenth, is replaced once nothing is in flight.
    pub lifetime: Duration,
    /// Exclusive connections, lent and idle together.
    pub exclusive_max: usize,
    /// An exclusive connection that nobody borrowed for this long is closed.
    pub exclusive_idle: Duration,
    /// Pools of one directory with the login of the configuration, the one that these settings are made for included.
    pub pools_max: usize,
    /// Further logins of one directory, each with a pool at the upstream; and as many pools of such logins at further nodes.
    pub logins_max: usize,
    /// A further pool of a directory that nobody used for this long is ended.
    pub pools_idle: Duration,
    /// Workers of the pools of further logins.
    pub login_workers: LoginWorkers,
    /// Names of commands by which callers go. An upstream where one of them is another command, as `rename-command` can
    /// make it, is refused. Without names it is not asked.
    pub command_names: &'static [&'static str],
}

/// How many workers the pool of a login has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginWorkers {
    /// Of one that is not named.
    pub others: usize,
    /// Of those that are.
    pub named: Arc<BTreeMap<String, usize>>,
}

impl LoginWorkers {
    pub(crate) fn of(&self, name: &str) -> usize {
        self.named.get(name).copied().unwrap_or(self.others).max(1)
    }

    /// Of so many logins at most, whichever they are.
    pub fn of_at_most(&self, logins: usize) -> usize {
        let others = self.others.max(1);
        let beyond: usize = self.named.values().map(|workers| workers.saturating_sub(others)).sum();
        others.saturating_mul(logins).saturating_add(beyond)
    }
}

impl Settings {
    /// How long a request may wait for a primary, and by which key.
    pub fn primary_wait(&self) -> (Duration, &'static str) {
        if self.queue_timeout < self.failover_wait {
            (self.queue_timeout, "queue_timeout_ms")
        } else {
            (self.failover_wait, "failover_wait_ms")
        }
    }

    /// The defaults, for `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            workers: 4,
            pipeline_depth: 1024,
            queue_capacity: 16_384,
            queue_bytes_max: 64 << 20,
            queue_timeout: Duration::from_secs(5),
            failover_wait: Duration::ZERO,
            pause_timeout: Duration::from_secs(60),
            reply_timeout: Duration::from_secs(10),
            reply_bytes_max: 1 << 30,
            replies_bytes_max: 256 << 20,
            reply_depth_max: 10_000,
            connect_timeout: Duration::from_secs(2),
            reconnect_delay_min: Duration::from_millis(5),
            reconnect_delay_max: Duration::from_millis(50),
            refused_delay_max: Duration::from_secs(5),
            role: Some(Role::Primary),
            check_interval: Duration::from_secs(1),
            keepalive: Duration::from_secs(15),
            lifetime: Duration::from_secs(3600),
            exclusive_max: 128,
            exclusive_idle: Duration::from_secs(60),
            pools_max: 64,
            logins_max: 64,
            pools_idle: Duration::from_secs(60),
            login_workers: LoginWorkers { others: 1, named: Arc::default() },
            command_names: &[],
        }
    }
}
