//! `[upstream]`: where the upstream is, and how connections to it are made and kept.

use crate::section::section;

section! {
    /// `[upstream.tls]`: TLS to an upstream whose URL begins with `rediss://`. A reload reads the files again.
    UpstreamTls {
        /// The file of the authorities that may have signed the upstream's certificate, in PEM format. Empty: those that
        /// the system trusts.
        ca_file: String = String::new(),
        /// The name that has to be in the upstream's certificate. Empty: the host of the URL.
        server_name: String = String::new(),
        /// The file of our own certificate, if the upstream wants one. Empty: none.
        cert_file: String = String::new(),
        /// The file of its key.
        key_file: String = String::new(),
        /// What has to be right about the upstream's certificate. `full`: authority, time and name. `ca`: authority and
        /// time; anybody with a certificate of that authority can pass for the upstream. `none`: nothing; anybody on the
        /// way can.
        verify: String = "full".into(),
    }
}

section! {
    /// `[upstream]`
    Upstream {
        /// `redis://[user[:password]@]host:port[/db]`, `rediss://` for the same by TLS, `unix:///path[?db=N]`, or
        /// `embedded` for a mini-redis in this process, which knows GET, SET, PUBLISH and little else.
        url: String = "embedded".into(),
        /// Connecting and logging in, together. Longer tolerates slow networks and delays the news of a dead one.
        connect_timeout_ms: u64 = 2_000,
        /// First pause after a failed attempt to connect; doubles with each failure, half of it by chance.
        reconnect_delay_min_ms: u64 = 5,
        /// Longest pause between attempts. While the upstream is down one worker tries; this is how late its
        /// return can be noticed.
        reconnect_delay_max_ms: u64 = 50,
        /// An idle connection gets a PING this often; the upstream's own `timeout` shortens it. Costs one command
        /// per connection and period.
        keepalive_ms: u64 = 15_000,
        /// Connections older than this, give or take a tenth, are replaced between two jobs, so that they follow
        /// a failover or a DNS change. Shorter costs logins.
        lifetime_ms: u64 = 3_600_000,
        /// `[upstream.tls]`
        tls: UpstreamTls = UpstreamTls::default(),
    }
}
