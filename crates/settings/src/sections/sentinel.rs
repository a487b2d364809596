//! `[sentinel]` and `[cluster]`: how sentinels, or the nodes of a cluster, are asked where the upstream's URL names some.

use crate::{
    Secret,
    typed::{
        section::section,
        units::{ByteCount, Millis},
    },
};

section! {
    /// `[sentinel]`
    Sentinel {
        /// The user with which the gateway logs in at the sentinels. The login in the URL is that of the nodes. Empty:
        /// `default`. Needs a restart.
        user: String = String::new() => AtStart,
        /// The password at the sentinels. `${NAME}` is the environment variable NAME. Empty: no login. Needs a restart.
        password: Secret = Secret::default() => AtStart,
        /// How often sentinels and nodes are asked when nothing happens. What sentinels publish is heard at once; this
        /// is for messages that get lost. Costs each of them a few commands a period. At least 10. Needs a restart.
        refresh_ms: Millis = Millis(1_000) => AtStart,
    }
}

section! {
    /// `[cluster]`
    Cluster {
        /// How often a node of the cluster is asked which node has which slot when nothing happens. A node that says
        /// that a slot has moved, or is lost, is heard at once. Costs the cluster two commands a period. At least 10.
        /// Needs a restart.
        refresh_ms: Millis = Millis(1_000) => AtStart,
        /// Where nodes are reached from here whose cluster announces addresses that cannot be reached, behind NAT or by
        /// names that are not known here: `announced=reached`, each `host:port`. A node that is not named is reached
        /// where it says. Needs a restart.
        reached_at: Vec<String> = Vec::new() => AtStart,
        /// Bytes of the texts that `SCRIPT LOAD` has brought. A node that does not know one of these scripts, because it
        /// has just become a primary, is told its text. Further texts take the place of the oldest. 0: none is kept, and
        /// `EVALSHA` answers `NOSCRIPT` then. Needs a restart.
        scripts_bytes_max: ByteCount = ByteCount(4 * 1024 * 1024) => AtStart,
        /// What clients take the gateway for: `standalone`, one Redis without a cluster; or `cluster`, a cluster of one node
        /// that has all slots, so that clients which insist on the cluster protocol can use the same address. Plain
        /// clients can use either. Needs a restart.
        present_as: String = "standalone".to_owned() => AtStart,
        /// The `host:port` by which cluster clients are told to reach the gateway, where that is not the address to which
        /// they have connected: behind NAT or a load balancer. Only with `present_as = "cluster"`. Needs a restart.
        announce: String = String::new() => AtStart,
    }
}
