//! What clients are told about a cluster: that there is none, or, for those that insist on one, that it has one node,
//! which is the gateway and has all slots.

use std::hash::{DefaultHasher, Hash, Hasher};

use resp::{
    Protocol, Request, write_array, write_bulk, write_error, write_integer, write_map, write_simple, write_text,
};
use settings::Presented;
use topology::Address;

use crate::{command::errors, local_reply::requester::Requester};

/// Digits of a node's name.
const ID_DIGITS: usize = 40;

/// The number of the last slot.
const LAST: i64 = cluster::SLOTS as i64 - 1;

/// Answers a request about the cluster.
pub(super) fn answer(request: &Request<'_>, requester: &Requester<'_>, out: &mut Vec<u8>) {
    let name = request.arg(0).unwrap_or_default().to_ascii_lowercase();
    let arity = |name: &[u8]| errors::wrong_arity(&String::from_utf8_lossy(name));
    if (name == b"cluster") != (request.len() > 1) {
        return write_error(out, &arity(&name));
    }
    let Some(presented) = &requester.settings.presented else { return write_error(out, cluster::NO_CLUSTER) };
    match request.arg(1) {
        Some(subcommand) => {
            let node = Node::of(presented, requester);
            let (subcommand, key) = (subcommand.to_ascii_lowercase(), request.arg(2));
            let wrong = || arity(&[b"cluster|", &subcommand[..]].concat());
            match (&subcommand[..], request.len()) {
                (b"slots", 2) => node.slots(out),
                (b"shards", 2) => node.shard(requester.state.needs.protocol, out),
                (b"nodes", 2) => write_text(out, requester.state.needs.protocol, &node.line()),
                (b"info", 2) => write_text(out, requester.state.needs.protocol, INFO),
                (b"myid", 2) => write_bulk(out, node.id().as_bytes()),
                (b"links", 2) => write_array(out, 0),
                (b"keyslot", 3) => write_integer(out, cluster::slot(key.unwrap_or_default()).into()),
                (b"slots" | b"shards" | b"nodes" | b"info" | b"myid" | b"links" | b"keyslot", _) => {
                    write_error(out, &wrong());
                }
                _ => write_error(out, UNKNOWN),
            }
        }
        // They have no meaning where one node has all slots and no replica.
        None => write_simple(out, "OK"),
    }
}

/// For what only an operator of the cluster could mean.
const UNKNOWN: &str = "ERR respool: this is about the nodes of the cluster, of which the gateway shows none; ask them";

const INFO: &str = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_slots_ok:16384\r\n\
                    cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\n\
                    cluster_current_epoch:1\r\ncluster_my_epoch:1\r\n";

/// The one node.
struct Node {
    host: String,
    port: u16,
}

impl Node {
    /// Where the client has come to, if nothing else is announced. The empty host of a unix socket is the one that the
    /// client knows.
    fn of(presented: &Presented, requester: &Requester<'_>) -> Self {
        let local = requester.entry.local();
        match (&presented.at, local.port()) {
            (Some(Address { host, port }), _) => Self { host: host.clone(), port: *port },
            (None, 0) => Self { host: String::new(), port: 0 },
            (None, port) => Self { host: local.host(), port },
        }
    }

    /// Its name: another one for each address, and the same at all times.
    fn id(&self) -> String {
        let digits = (0..3).map(|part: u8| {
            let mut hasher = DefaultHasher::new();
            (&self.host, self.port, part).hash(&mut hasher);
            format!("{:016x}", hasher.finish())
        });
        let mut id: String = digits.collect();
        id.truncate(ID_DIGITS);
        id
    }

    fn slots(&self, out: &mut Vec<u8>) {
        write_array(out, 1);
        write_array(out, 3);
        write_integer(out, 0);
        write_integer(out, LAST);
        write_array(out, 4);
        write_bulk(out, self.host.as_bytes());
        write_integer(out, self.port.into());
        write_bulk(out, self.id().as_bytes());
        write_array(out, 0);
    }

    fn shard(&self, protocol: Protocol, out: &mut Vec<u8>) {
        write_array(out, 1);
        write_map(out, protocol, 2);
        write_bulk(out, b"slots");
        write_array(out, 2);
        write_integer(out, 0);
        write_integer(out, LAST);
        write_bulk(out, b"nodes");
        write_array(out, 1);
        write_map(out, protocol, 7);
        let id = self.id();
        for (key, value) in
            [("id", &id[..]), ("ip", &self.host), ("endpoint", &self.host), ("role", "master"), ("health", "online")]
        {
            write_bulk(out, key.as_bytes());
            write_bulk(out, value.as_bytes());
        }
        for (key, value) in [("port", i64::from(self.port)), ("replication-offset", 0)] {
            write_bulk(out, key.as_bytes());
            write_integer(out, value);
        }
    }

    fn line(&self) -> String {
        // As far from its port as that of Redis; nothing speaks there.
        let bus = u32::from(self.port) + 10_000;
        format!("{} {}:{}@{bus} myself,master - 0 0 1 connected 0-{LAST}\n", self.id(), self.host, self.port)
    }
}
