//! The section about memory of `INFO`: what primaries have is added up, with what is made of those sums. Called by `totals`.

/// The head of the section.
pub(super) const HEAD: &str = "# Memory";

/// What is not of each node for itself: nodes may share a machine, and all know the same functions.
const SHARED: [&str; 5] = [
    "total_system_memory",
    "number_of_cached_scripts",
    "number_of_functions",
    "number_of_libraries",
    "active_defrag_running",
];

/// Ratios, and the amounts that they are of.
const RATIOS: [(&str, &str, &str); 4] = [
    ("allocator_frag_ratio", "allocator_active", "allocator_allocated"),
    ("allocator_rss_ratio", "allocator_resident", "allocator_active"),
    ("rss_overhead_ratio", "used_memory_rss", "allocator_resident"),
    ("mem_fragmentation_ratio", "used_memory_rss", "used_memory"),
];

/// Bytes of the units in which people read amounts.
const UNITS: [(&str, f64); 5] = [
    ("P", (1_u64 << 50) as f64),
    ("T", (1_u64 << 40) as f64),
    ("G", (1_u64 << 30) as f64),
    ("M", (1_u64 << 20) as f64),
    ("K", (1_u64 << 10) as f64),
];

/// Whether a number of this name is an amount that each node has for itself.
pub(super) fn is_added(name: &str) -> bool {
    !SHARED.contains(&name)
}

/// A bound that is none where it is zero: nodes have none together if one of them has none.
pub(super) fn is_bound(name: &str) -> bool {
    name == "maxmemory"
}

/// What is said of the sums under this name; `of` has the sum of that name, if there is one.
pub(super) fn made(name: &str, of: impl Fn(&str) -> Option<i64>) -> Option<String> {
    if let Some(amount) = name.strip_suffix("_human") {
        return of(amount).map(human);
    }
    if let Some((_, over, under)) = RATIOS.iter().find(|(ratio, ..)| *ratio == name) {
        return Some(format!("{:.2}", share(of(over)?, of(under)?)));
    }
    let percent = |part: i64, whole: i64| format!("{:.2}%", 100.0 * share(part, whole));
    match name {
        "used_memory_peak_perc" => Some(percent(of("used_memory")?, of("used_memory_peak")?)),
        "used_memory_dataset_perc" => {
            Some(percent(of("used_memory_dataset")?, of("used_memory")? - of("used_memory_startup")?))
        }
        _ => None,
    }
}

fn share(part: i64, whole: i64) -> f64 {
    part as f64 / whole.max(1) as f64
}

/// As Redis writes it.
fn human(bytes: i64) -> String {
    let bytes = bytes as f64;
    match UNITS.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.2}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_redis_writes_them() {
        let (kib, mib) = (1_i64 << 10, 1_i64 << 20);
        assert_eq!(
            [0, 200, kib, 939_400, mib, 12_308_480, 25_276_510_208, 1 << 50].map(human),
            ["0B", "200B", "1.00K", "917.38K", "1.00M", "11.74M", "23.54G", "1.00P"]
        );
    }
}
