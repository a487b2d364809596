//! What Prometheus's own clients show of a process, under their names: CPU, memory, descriptors, start. As Linux counts
//! it; what it does not say is left out.

use std::{fmt::Error, fs};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, getrlimit},
};

use crate::console::http::page::{Page, as_f64};

/// See the module's documentation. Reads it anew whenever it is asked.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), Error> {
        let mut page = Page(&mut encoder);
        if let Some(stat) = Stat::read() {
            let ticks = as_f64(clock_ticks_per_second());
            page.counter_f64("cpu_seconds", "CPU time, of users and system", as_f64(stat.cpu_ticks) / ticks)?;
            page.gauge("virtual_memory_bytes", "Address space", as_f64(stat.virtual_bytes))?;
            page.gauge("resident_memory_bytes", "Memory", as_f64(stat.resident_pages) * as_f64(page_size() as u64))?;
            page.gauge("threads", "Threads", as_f64(stat.threads))?;
            if let Some(boot) = boot_seconds() {
                let started = as_f64(boot) + as_f64(stat.start_ticks) / ticks;
                page.gauge("start_time_seconds", "Start, in seconds since 1970", started)?;
            }
        }
        if let Ok(descriptors) = fs::read_dir("/proc/self/fd") {
            // One of them is for looking.
            let open = descriptors.count().saturating_sub(1);
            page.gauge("open_fds", "File descriptors that are open", as_f64(open as u64))?;
        }
        if let Some(max) = getrlimit(Resource::Nofile).current {
            page.gauge("max_fds", "File descriptors that may be open", as_f64(max))?;
        }
        Ok(())
    }
}

/// Of `/proc/self/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    virtual_bytes: u64,
    resident_pages: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The second field is the name, in parentheses, and may hold anything; `proc(5)` counts the fields from one.
    fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            virtual_bytes: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// When the system started, in seconds since 1970.
fn boot_seconds() -> Option<u64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name_whatever_it_is() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 5 0 4711 8192 2 1844 1 1\n";
        let expected = Stat { cpu_ticks: 42, threads: 5, start_ticks: 4711, virtual_bytes: 8192, resident_pages: 2 };
        assert_eq!(Stat::parse(text), Some(expected));
        assert_eq!(Stat::parse("7 (short) S 1"), None);
    }
}
