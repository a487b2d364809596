//! What to do to a target: the settled form of the arguments of `run`, and of each point that
//! `compare` and `tune` measure.

use std::{fmt, time::Duration};

use thiserror::Error;
use tls::TlsError;

use crate::{
    load::{
        key_kind::KeyKind,
        keys::KeyChoice,
        mix::Mix,
        size::{STAMP_BYTES, ValueSize},
    },
    target::{Target, TargetError},
};

/// More keys would take longer to remove than anybody waits.
const KEYS_CLEANED_MAX: u64 = 20_000_000;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As soon as the answers to the last ones are there.
    Closed,
    /// On a schedule of this many operations a second, over all connections.
    Open(f64),
}

/// When a load is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// After this time, the warm-up not counted.
    Time(Duration),
    /// After this many operations, the warm-up not counted.
    Count(u64),
}

/// A load. The fields are as documented at the arguments in `run`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "documented once, at the arguments")]
pub struct Load {
    pub target: Target,
    pub connections: usize,
    pub pipeline: usize,
    pub pace: Pace,
    pub until: Until,
    pub warmup: Duration,
    pub mix: Mix,
    pub sizes: ValueSize,
    pub keys: u64,
    pub key_choice: KeyChoice,
    pub fill: bool,
    pub clean: bool,
    pub key_prefix: String,
    pub protocol: u8,
    pub refill: bool,
    pub verify: bool,
    pub reconnect_every: Option<u64>,
    pub threads: usize,
    pub reply_timeout: Duration,
    pub connect_timeout: Duration,
    pub seed: u64,
}

/// Why a load gave no outcome at all.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The arguments do not go together.
    #[error("{0}")]
    Arguments(String),
    /// A file for TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The connections could not be made.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The system refused a thread or a timer.
    #[error("the load could not be driven")]
    System(#[from] std::io::Error),
    /// Ctrl-C came before anything was measured.
    #[error("interrupted before anything was measured")]
    Interrupted,
    /// Another load generator was to drive it and did not; says what happened.
    #[error("{0}")]
    Generator(String),
    /// A thread of the driver panicked.
    #[error("a driver thread ended without a result")]
    Driver,
}

impl Load {
    /// A load with the defaults of the command line.
    pub fn new(target: Target) -> Self {
        Self {
            target,
            connections: 50,
            pipeline: 1,
            pace: Pace::Closed,
            until: Until::Time(Duration::from_secs(10)),
            warmup: Duration::from_secs(1),
            mix: Mix::new(vec![(crate::load::mix::Operation::Get, 10), (crate::load::mix::Operation::Set, 1)])
                .expect("a mix of two operations"),
            sizes: ValueSize { min: 64, max: 64 },
            keys: 10_000,
            key_choice: KeyChoice::Uniform,
            fill: false,
            clean: false,
            key_prefix: "loadtest:".to_owned(),
            protocol: 2,
            refill: false,
            verify: false,
            reconnect_every: None,
            threads: 1,
            reply_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            seed: 1,
        }
    }

    /// How many keys it may write.
    pub fn keys_written_max(&self) -> u64 {
        KeyKind::ALL.iter().map(|kind| kind.written_by(self)).sum()
    }

    /// Holds the fields against each other.
    ///
    /// # Errors
    /// A sentence about the first that do not go together.
    pub fn validate(&self) -> Result<(), LoadError> {
        let refuse = |text: String| Err(LoadError::Arguments(text));
        if self.verify && self.sizes.min < STAMP_BYTES {
            return refuse(format!(
                "--verify needs values of at least {STAMP_BYTES} bytes, --size says {}",
                self.sizes
            ));
        }
        if self.verify && self.keys < self.connections as u64 {
            return refuse(format!(
                "--verify gives every key one writer, so it needs --keys of at least {} connections",
                self.connections
            ));
        }
        if self.verify && self.keys > 20_000_000 {
            return refuse("--verify keeps a record of every key and takes up to 20000000 --keys".to_owned());
        }
        if self.clean && self.keys > KEYS_CLEANED_MAX {
            return refuse(format!("--clean removes keys by their names and takes up to {KEYS_CLEANED_MAX} --keys"));
        }
        if self.threads > self.connections {
            return refuse(format!("{} threads cannot share {} connections", self.threads, self.connections));
        }
        Ok(())
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connection{}", self.connections, if self.connections == 1 { "" } else { "s" })?;
        if self.pipeline > 1 {
            write!(f, ", pipeline {}{}", self.pipeline, if self.refill { " refilled reply by reply" } else { "" })?;
        }
        if let Pace::Open(rate) = self.pace {
            write!(f, ", open loop at {rate:.0}/s")?;
        }
        match self.until {
            Until::Time(time) => write!(f, ", {:.1} s", time.as_secs_f64())?,
            Until::Count(count) => write!(f, ", {count} operations")?,
        }
        write!(f, ", {}, {} B values, {} {} keys", self.mix, self.sizes, self.keys, self.key_choice)?;
        write!(f, ", RESP{}", self.protocol)
    }
}
