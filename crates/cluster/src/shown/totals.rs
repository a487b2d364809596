//! `INFO` of all primaries as that of one Redis: what is counted is added up, and the rest is what the first says.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use crate::shown::memory;

/// Fields that are counted by each node for itself, of any version. A sharded channel has its subscribers at one node,
/// another channel has them at the first.
const COUNTED: [&str; 57] = [
    "connected_clients",
    "blocked_clients",
    "tracking_clients",
    "clients_in_timeout_table",
    "watching_clients",
    "total_watched_keys",
    "total_blocking_keys",
    "total_blocking_keys_on_nokey",
    "rdb_changes_since_last_save",
    "total_connections_received",
    "total_commands_processed",
    "instantaneous_ops_per_sec",
    "total_net_input_bytes",
    "total_net_output_bytes",
    "total_net_repl_input_bytes",
    "total_net_repl_output_bytes",
    "rejected_connections",
    "sync_full",
    "sync_partial_ok",
    "sync_partial_err",
    "expired_keys",
    "expired_time_cap_reached_count",
    "expire_cycle_cpu_milliseconds",
    "evicted_keys",
    "evicted_clients",
    "evicted_scripts",
    "total_eviction_exceeded_time",
    "keyspace_hits",
    "keyspace_misses",
    "pubsubshard_channels",
    "total_forks",
    "migrate_cached_sockets",
    "slave_expires_tracked_keys",
    "active_defrag_hits",
    "active_defrag_misses",
    "active_defrag_key_hits",
    "active_defrag_key_misses",
    "total_active_defrag_time",
    "tracking_total_keys",
    "tracking_total_items",
    "unexpected_error_replies",
    "total_error_replies",
    "dump_payload_sanitizations",
    "total_reads_processed",
    "total_writes_processed",
    "io_threaded_reads_processed",
    "io_threaded_writes_processed",
    "client_query_buffer_limit_disconnections",
    "client_output_buffer_limit_disconnections",
    "reply_buffer_shrinks",
    "reply_buffer_expands",
    "acl_access_denied_auth",
    "acl_access_denied_cmd",
    "acl_access_denied_key",
    "acl_access_denied_channel",
    "lazyfree_pending_objects",
    "lazyfreed_objects",
];

/// Fields of which the largest counts: those that say yes or no, and what each node has of the same clients.
const LARGEST: [&str; 3] = ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "tracking_total_prefixes"];

/// Sections of lines that one node may have and another not, each with several figures.
const LISTS: [&str; 3] = ["# Commandstats", "# Errorstats", "# Keyspace"];

/// The figures of one line.
type Figures<'t> = Vec<(&'t str, &'t str)>;

/// Those of several lines.
type Rows<'f, 't> = Vec<&'f [(&'t str, &'t str)]>;

/// The sections that hold such fields or lines, as a client asks for them.
const SECTIONS: [&str; 10] = [
    "all",
    "default",
    "everything",
    "clients",
    "memory",
    "persistence",
    "stats",
    "commandstats",
    "errorstats",
    "keyspace",
];

/// Whether what is asked for with these arguments is counted by each node for itself.
pub(crate) fn are_counted<'a>(mut sections: impl Iterator<Item = &'a [u8]>) -> bool {
    let is_counted = |asked: &[u8]| SECTIONS.iter().any(|section| asked.eq_ignore_ascii_case(section.as_bytes()));
    match sections.next() {
        None => true,
        Some(first) => is_counted(first) || sections.any(is_counted),
    }
}

/// The text of `first` with what the `others` have counted.
pub(crate) fn total(first: &str, others: &[&str]) -> String {
    let mut counted: BTreeMap<&str, i64> = BTreeMap::new();
    let mut lists: BTreeMap<&str, Vec<(&str, Figures<'_>)>> = BTreeMap::new();
    for (section, line) in [first].iter().chain(others).flat_map(|text| lines(text)) {
        let Some((name, value)) = line.split_once(':') else { continue };
        if let Some(list) = LISTS.iter().find(|list| **list == section) {
            lists.entry(list).or_default().push((name, figures(value)));
        } else if let Some(how) = together(section, name)
            && let Ok(number) = value.parse::<i64>()
        {
            counted.entry(name).and_modify(|sum| *sum = how(*sum, number)).or_insert(number);
        }
    }
    let mut out = String::with_capacity(first.len() + first.len() / 4);
    for (section, line) in lines(first) {
        if LISTS.contains(&section) {
            if line == section {
                list(section, lists.remove(section).unwrap_or_default(), &mut out);
            }
            continue;
        }
        let of = |name: &str| counted.get(name).copied();
        let said = line.split_once(':').and_then(|(name, _)| {
            let made = || memory::made(name, of).filter(|_| section == memory::HEAD);
            Some((name, of(name).map(|sum| sum.to_string()).or_else(made)?))
        });
        match said {
            Some((name, value)) => out.extend([name, ":", &value, "\r\n"]),
            None => out.extend([line, "\r\n"]),
        }
    }
    out
}

/// How numbers of this name are made one; `None` where that of the first node counts.
fn together(section: &str, name: &str) -> Option<fn(i64, i64) -> i64> {
    let is_amount = section == memory::HEAD && memory::is_added(name);
    match () {
        () if LARGEST.contains(&name) => Some(i64::max),
        () if is_amount && memory::is_bound(name) => {
            Some(|sum, bound| if sum == 0 || bound == 0 { 0 } else { sum.saturating_add(bound) })
        }
        () if is_amount || COUNTED.contains(&name) => Some(i64::saturating_add),
        () => None,
    }
}

/// Each line, with the head of its section.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut section = "";
    text.split_terminator("\r\n").map(move |line| {
        if line.starts_with('#') {
            section = line;
        } else if line.is_empty() {
            section = "";
        }
        (section, line)
    })
}

/// The figures of one line, as `calls=1,usec=2`.
fn figures(value: &str) -> Figures<'_> {
    value.split(',').filter_map(|figure| figure.split_once('=')).collect()
}

/// Writes a section whose lines have these names and figures, those of the same name as one.
fn list(section: &str, rows: Vec<(&str, Figures<'_>)>, out: &mut String) {
    out.extend([section, "\r\n"]);
    // In the order of their first lines.
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<(&str, Rows<'_, '_>)> = Vec::new();
    for (name, figures) in &rows {
        let place = *places.entry(name).or_insert(names.len());
        match names.get_mut(place) {
            Some((_, same)) => same.push(figures),
            None => names.push((name, vec![figures])),
        }
    }
    if section == "# Keyspace" {
        names.sort_by_key(|(name, _)| name.strip_prefix("db").and_then(|number| number.parse::<u32>().ok()));
    }
    for (name, same) in names {
        out.extend([name, ":"]);
        for (place, (figure, value)) in same.first().copied().unwrap_or_default().iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            let _ = match *figure {
                "usec_per_call" => write!(out, "{comma}usec_per_call={:.2}", mean(&same, "usec", "calls")),
                "avg_ttl" => write!(out, "{comma}avg_ttl={:.0}", weighed(&same, "avg_ttl", "expires")),
                _ if value.parse::<i64>().is_ok() => write!(out, "{comma}{figure}={:.0}", sum(&same, figure)),
                _ => write!(out, "{comma}{figure}={value}"),
            };
        }
        out.push_str("\r\n");
    }
}

fn of(row: &[(&str, &str)], figure: &str) -> f64 {
    row.iter().find(|(name, _)| *name == figure).and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
}

fn sum(rows: &[&[(&str, &str)]], figure: &str) -> f64 {
    rows.iter().map(|row| of(row, figure)).sum()
}

fn mean(rows: &[&[(&str, &str)]], of: &str, by: &str) -> f64 {
    sum(rows, of) / sum(rows, by).max(1.0)
}

fn weighed(rows: &[&[(&str, &str)]], figure: &str, weight: &str) -> f64 {
    rows.iter().map(|row| of(row, figure) * of(row, weight)).sum::<f64>() / sum(rows, weight).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_added_up_and_the_rest_is_of_the_first() {
        let text = |blocked: u32, more: &str| {
            format!("# Server\r\nredis_version:7\r\n\r\n# Clients\r\nblocked_clients:{blocked}\r\n\r\n{more}")
        };
        let keys = |lines: &str| format!("# Keyspace\r\n{lines}");
        let first = text(1, &keys("db0:keys=2,expires=1,avg_ttl=100\r\n"));
        let others = [
            text(2, &keys("db0:keys=3,expires=3,avg_ttl=500\r\ndb1:keys=1,expires=0,avg_ttl=0\r\n")),
            text(0, &keys("")).replace(":7", ":8"),
        ];
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let expected = text(3, &keys("db0:keys=5,expires=4,avg_ttl=400\r\ndb1:keys=1,expires=0,avg_ttl=0\r\n"));
        assert_eq!(total(&first, &others), expected);
        assert_eq!(total(&text(0, &keys("")), &[&first]), first);
        let stats = |line: &str| format!("# Commandstats\r\ncmdstat_{line}\r\n");
        let both = total(
            &stats("get:calls=1,usec=10,usec_per_call=10.00,rejected_calls=0,failed_calls=1"),
            &[&stats("get:calls=3,usec=20,usec_per_call=6.67,rejected_calls=0,failed_calls=1"), "not of Redis", ""],
        );
        assert_eq!(both, stats("get:calls=4,usec=30,usec_per_call=7.50,rejected_calls=0,failed_calls=2"));
        let kept = |count: u8| {
            format!(
                "# Clients\r\ntotal_blocking_keys_on_nokey:{count}\r\n# Stats\r\npubsub_channels:1\r\n\
                 pubsubshard_channels:{count}\r\nacl_access_denied_key:{count}\r\nevicted_scripts:{count}\r\n"
            )
        };
        assert_eq!(total(&kept(0), &[&kept(3), &kept(1)]), kept(4));
        let saves = |yes: u8| format!("# Persistence\r\nrdb_bgsave_in_progress:{yes}\r\n");
        assert_eq!(total(&saves(0), &[&saves(1), &saves(1)]), saves(1));
        let memory = |used: u64, human: &str, bound: u64, ratio: &str| {
            format!(
                "# Memory\r\nused_memory:{used}\r\nused_memory_human:{human}\r\nused_memory_rss:{}\r\ntotal_system_memory:9\r\n\
                 maxmemory:{bound}\r\nmaxmemory_human:{bound}B\r\nmaxmemory_policy:noeviction\r\n\
                 mem_fragmentation_ratio:{ratio}\r\nmem_allocator:libc\r\n",
                4096
            )
        };
        let (small, large) = (memory(1024, "1.00K", 100, "4.00"), memory(3072, "3.00K", 200, "1.33"));
        let both = memory(4096, "4.00K", 300, "2.00").replace("_rss:4096", "_rss:8192");
        assert_eq!(total(&small, &[&large]), both);
        let without = memory(1024, "1.00K", 0, "4.00");
        assert!(total(&large, &[&without, &small]).contains("maxmemory:0\r\nmaxmemory_human:0B\r\n"));
        let prefixes = |count: u8| format!("# Stats\r\ntracking_total_prefixes:{count}\r\n");
        assert_eq!(total(&prefixes(1), &[&prefixes(2), &prefixes(2)]), prefixes(2));
        let many: String = (0..50_000).map(|number| format!("errorstat_{number}:count=1\r\n")).collect();
        let (many, twice) =
            (format!("# Errorstats\r\n{many}"), format!("# Errorstats\r\n{}", many.replace("=1", "=2")));
        assert_eq!(total(&many, &[&many]), twice);
    }

    #[test]
    fn only_what_is_counted_is_asked_of_all() {
        let asked = |line: &str| are_counted(line.split_terminator(' ').map(str::as_bytes));
        assert!(asked("") && asked("KEYSPACE") && asked("server all"));
        assert!(!asked("server") && !asked("replication cpu"));
    }
}
