//! The loads under which systems are compared.

use std::time::Duration;

use crate::{
    load::{Load, Pace, Until, arguments::WorkArgs, size::ValueSize},
    target::Target,
};

/// Keys of the workload with large values: enough to spread, few enough to fill quickly.
const LARGE_KEYS: u64 = 1_000;

/// One load, still without its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// One connection, one operation at a time.
    C1,
    /// 50 connections, unpipelined.
    C50,
    /// 500 connections, unpipelined.
    C500,
    /// 4,000 connections, unpipelined.
    C4000,
    /// 50 connections, pipeline 16.
    P16,
    /// 10 connections, pipeline 100.
    P100,
    /// 50 connections, values of 16 KiB.
    Large,
    /// 50 connections, open loop.
    Open,
    /// 50 connections, each of which ends after one operation.
    Churn,
}

impl Workload {
    /// What reports call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::C1 => "c1: one connection, one operation at a time",
            Self::C50 => "c50: 50 connections",
            Self::C500 => "c500: 500 connections",
            Self::C4000 => "c4000: 4,000 connections",
            Self::P16 => "p16: 50 connections, pipeline 16",
            Self::P100 => "p100: 10 connections, pipeline 100",
            Self::Large => "large: 50 connections, 16 KiB values",
            Self::Open => "open: 50 connections, open loop",
            Self::Churn => "churn: 50 connections, a new one for each operation",
        }
    }

    /// The load on `target`; `open_rate` is that of the open loop.
    pub fn load(self, target: Target, work: &WorkArgs, time: Duration, open_rate: f64) -> Load {
        let mut load = Load::new(target);
        work.apply(&mut load);
        load.until = Until::Time(time);
        load.warmup = time / 5;
        (load.fill, load.clean) = (false, false);
        match self {
            Self::C1 => load.connections = 1,
            Self::C50 => {}
            Self::C500 => load.connections = 500,
            Self::C4000 => load.connections = 4_000,
            Self::P16 => load.pipeline = 16,
            Self::P100 => (load.connections, load.pipeline) = (10, 100),
            Self::Large => {
                load.sizes = ValueSize { min: 16 << 10, max: 16 << 10 };
                load.keys = LARGE_KEYS;
                // Beside the small ones, which stay as they are.
                load.key_prefix += "large:";
            }
            Self::Churn => load.reconnect_every = Some(1),
            Self::Open => load.pace = Pace::Open(open_rate),
        }
        load
    }
}
