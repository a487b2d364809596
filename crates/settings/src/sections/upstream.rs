//! `[upstream]`: where the upstream is, and how connections to it are made and kept.

use crate::typed::{section::section, units::Millis};

section! {
    /// `[upstream.tls]`
    UpstreamTls {
        /// The file of the authorities that may have signed the upstream's certificate, in PEM format. Empty: those
        /// that the system trusts.
        ca_file: String = String::new(),
        /// The name that has to be in the upstream's certificate. Empty: the host of the URL.
        server_name: String = String::new(),
        /// The file of our own certificate, if the upstream wants one. Empty: none.
        cert_file: String = String::new(),
        /// The file of its key.
        key_file: String = String::new(),
        /// What has to be right about the upstream's certificate. `full`: authority, time and name. `ca`: authority
        /// and time; anybody with a certificate of that authority can pass for the upstream. `none`: nothing; anybody
        /// on the way can.
        verify: String = "full".into(),
    }
}

section! {
    /// `[upstream]`
    Upstream {
        /// The Redis or Valkey behind the gateway: `redis://[user[:password]@]host[:port][/db]`, `rediss://` for the
        /// same by TLS, or `unix://[user[:password]@]/path[?db=N]`. `embedded` is a mini-redis in this process, which
        /// knows GET, SET, PUBLISH and little else. A `%`, `@`, `/` or `#` in a password is written as `%25`, `%40`, `%2F` or
        /// `%23`. `${NAME}` between `://` and `@` needs none of that. The primary that sentinels name is
        /// `redis-sentinel://[user[:password]@]host[:26379],host2,…/service[/db]`, or `rediss-sentinel://` for nodes and
        /// sentinels by TLS. A cluster is `redis-cluster://[user[:password]@]host[:6379],host2,…`, or `rediss-cluster://`.
        url: String = "embedded".into(),
        /// A file that holds the password for the upstream, instead of the URL: one line, read again at each reload.
        /// Empty: none. `${CREDENTIALS_DIRECTORY}/NAME` is a credential of systemd.
        password_file: String = "".into(),
        /// How long a request may wait while there is no primary, where sentinels are followed or a cluster is. The wait begins with the
        /// loss of the primary, or when a failover begins. It is within `pool.queue_timeout_ms`. A longer time saves
        /// clients errors and keeps their requests in memory. 0: requests fail at once. Needs a restart.
        failover_wait_ms: Millis = Millis(5_000) => AtStart,
        /// Where requests go that only read: `primary`; `prefer_replica`, to the primary only where no replica may have
        /// them; `replica`, to replicas alone; `nearest`, to whichever node answers soonest. A replica takes load off the
        /// primary and may be behind. Needs a restart.
        reads: String = "primary".into() => AtStart,
        /// Replicas as `host:port`, beside those that the primary knows by addresses that the gateway can reach. Sentinels
        /// name them by themselves. Needs a restart.
        replicas: Vec<String> = Vec::new() => AtStart,
        /// For so long after a write, its client reads from the primary. Afterwards it reads from replicas that are known
        /// to have the write, so that 0 is safe too. A longer time keeps clients of one program that read what another
        /// of them wrote at the primary.
        read_own_writes_ms: Millis = Millis(0),
        /// How far a replica may be behind and still have reads. The gateway asks nodes four times within this time. A
        /// longer time lets clients see older values, a shorter one costs more questions. A small read that a replica has
        /// not answered after this time is asked of the primary. At least 50. Needs a restart.
        replica_lag_max_ms: Millis = Millis(1_000) => AtStart,
        /// How long connecting and logging in may take together. A longer time tolerates slow networks. It also
        /// delays the news that an upstream is dead. Of a name with several addresses, each further one is tried when the
        /// one before has failed or been silent for 100 ms; the first that answers counts.
        connect_timeout_ms: Millis = Millis(2_000),
        /// The first pause after a failed attempt to connect. Each further failure doubles the pause; half of it is
        /// random.
        reconnect_delay_min_ms: Millis = Millis(5),
        /// The longest pause between two attempts to connect. While the upstream is down one worker tries. So the
        /// gateway notices the upstream's return this late at most.
        reconnect_delay_max_ms: Millis = Millis(50),
        /// The longest pause after the upstream refused a login, or had no room for a further connection. The first
        /// pause is a second. A shorter pause notices sooner that a password was put right, and fills the upstream's
        /// log.
        refused_delay_max_ms: Millis = Millis(5_000),
        /// What the upstream has to be for the gateway to be ready: `primary`, `replica` or `any`. Requests go to it
        /// whatever it is.
        role: String = "primary".into(),
        /// The gateway asks the upstream this often what its role is, with one request for all connections. After three
        /// such periods without an answer the gateway is not ready. 0: never; then only requests meet a freeze or a
        /// promotion.
        check_interval_ms: Millis = Millis(1_000),
        /// An idle connection gets a PING this often, or more often if the upstream's own `timeout` is shorter.
        /// Costs one command for each connection and period.
        keepalive_ms: Millis = Millis(15_000),
        /// A connection is replaced when it is older than this, give or take a tenth. It is replaced between two
        /// jobs, and so follows a failover or a change in DNS. A shorter time costs more logins.
        lifetime_ms: Millis = Millis(3_600_000),
        /// TLS to an upstream whose URL begins with `rediss://`. A reload reads the files again.
        tls: UpstreamTls = UpstreamTls::default(),
    }
}
