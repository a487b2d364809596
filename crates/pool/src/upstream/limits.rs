//! Bounds of the upstream's own that end a connection which passes them, and everything on it.

use std::collections::HashMap;

/// What the upstream bears of one connection; `None` where it has no such bound or did not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// `proto-max-bulk-len`: bytes of one argument.
    pub bulk_max: Option<usize>,
    /// `client-query-buffer-limit`: bytes of requests that it has read and not begun.
    pub query_buffer_max: Option<usize>,
    /// The smaller bound of `client-output-buffer-limit normal`, for all of the time or for some: bytes of replies that it
    /// has not written.
    pub output_buffer_max: Option<usize>,
    /// `maxmemory-clients` is set: the connections that hold most are closed when all hold too much.
    pub evicts_clients: bool,
}

impl Limits {
    /// A request of more bytes than this may end its connection, and is to have one of its own.
    pub(crate) fn alone_from(&self) -> usize {
        // What has been read of the requests behind it counts too.
        self.query_buffer_max.map_or(usize::MAX, |max| max / 2)
    }

    /// Whether what is in flight together may end its connection where each for itself would not, or where one of others
    /// does, if requests of up to `queued_max` bytes may be.
    pub(crate) fn end_connections(&self, queued_max: usize) -> bool {
        let is_small = self.query_buffer_max.is_some_and(|max| max < queued_max);
        self.output_buffer_max.is_some() || self.evicts_clients || is_small
    }

    /// From what `CONFIG GET` says, by parameter.
    pub(crate) fn from_config(config: &HashMap<String, String>) -> Self {
        let number = |name: &str| config.get(name)?.parse::<usize>().ok().filter(|number| *number > 0);
        let normal = config.get("client-output-buffer-limit").and_then(|classes| {
            let words = classes.split_ascii_whitespace().skip_while(|word| *word != "normal").skip(1);
            words.take(2).filter_map(|bound| bound.parse().ok()).filter(|bound| *bound > 0).min()
        });
        Self {
            bulk_max: number("proto-max-bulk-len"),
            query_buffer_max: number("client-query-buffer-limit"),
            output_buffer_max: normal,
            evicts_clients: config.get("maxmemory-clients").is_some_and(|bytes| bytes != "0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_redis_writes_them() {
        let config = [
            ("proto-max-bulk-len", "1048576"),
            ("client-query-buffer-limit", "1073741824"),
            ("client-output-buffer-limit", "normal 1048576 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
            ("maxmemory-clients", "5%"),
        ];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let limits = Limits::from_config(&config);
        assert_eq!((limits.bulk_max, limits.query_buffer_max), (Some(1 << 20), Some(1 << 30)));
        assert_eq!((limits.output_buffer_max, limits.evicts_clients), (Some(1 << 20), true));
        let soft = [("client-output-buffer-limit".to_owned(), "normal 0 1048576 1 slave 1 1 1".to_owned())];
        assert_eq!(Limits::from_config(&soft.into()).output_buffer_max, Some(1 << 20));
        let config = [("client-output-buffer-limit", "normal 0 0 0 slave 1 1 1"), ("maxmemory-clients", "0")];
        let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(Limits::from_config(&config), Limits::default());
        assert!(!Limits::default().end_connections(usize::MAX) && Limits::default().alone_from() == usize::MAX);
        assert!(limits.end_connections(0));
        let small = Limits { query_buffer_max: Some(1 << 20), ..Limits::default() };
        assert!(small.end_connections(2 << 20) && !small.end_connections(1 << 20) && small.alone_from() == 1 << 19);
    }
}
