//! Reads what a node says of its cluster: `CLUSTER SLOTS` for who has which slot, at the addresses that clients are to
//! use, and `CLUSTER NODES` for all members and for how new its knowledge is.

use resp::Value;
use thiserror::Error;

use crate::{
    Address,
    cluster::layout::{Layout, Shard},
};

/// The answer is none that a node of a cluster gives.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClusterError {
    /// An error reply; holds its text.
    #[error("the node says: {0}")]
    Refused(String),
    /// Anything else.
    #[error("the node's answer is not one of Redis")]
    Malformed,
}

/// What one node knows of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Who has which slot.
    pub layout: Layout,
    /// The highest configuration epoch that it has heard of: a node with a lower one knows less.
    pub epoch: u64,
    /// Primaries that it cannot reach, or that its cluster has given up.
    pub failing: Vec<Address>,
}

impl View {
    /// Reads the replies of the node at `asked` to `CLUSTER SLOTS` and `CLUSTER NODES`.
    ///
    /// # Errors
    /// One of them is an error, or nothing that Redis answers.
    pub fn read(slots: &Value, nodes: &Value, asked: &Address) -> Result<Self, ClusterError> {
        for reply in [slots, nodes] {
            if let Value::Error(refused) = reply {
                return Err(ClusterError::Refused(refused.clone()));
            }
        }
        let Value::Array(ranges) = slots else { return Err(ClusterError::Malformed) };
        let ranges: Option<Vec<_>> = ranges.iter().map(|range| shard(range, asked)).collect();
        let table = nodes.as_text().ok_or(ClusterError::Malformed)?;
        let members: Vec<Member> = table.lines().filter_map(|line| member(line, asked)).collect();
        let epoch = members.iter().map(|member| member.epoch).max().unwrap_or(0);
        let failing = members.iter().filter(|member| member.is_failing).flat_map(|member| member.addresses.clone());
        let failing = failing.collect();
        let members = members.into_iter().flat_map(|member| member.addresses);
        Ok(Self { layout: Layout::new(ranges.ok_or(ClusterError::Malformed)?, members), epoch, failing })
    }
}

/// One range of slots with the nodes that have it, the primary first.
fn shard(range: &Value, asked: &Address) -> Option<(Shard, Vec<(u16, u16)>)> {
    let Value::Array(parts) = range else { return None };
    let slot = |at: usize| u16::try_from(parts.get(at)?.as_integer()?).ok();
    let ends = (slot(0)?, slot(1)?);
    let mut nodes = parts.get(2..)?.iter().map(|node| {
        let Value::Array(parts) = node else { return None };
        address(parts.first()?, parts.get(1)?, asked)
    });
    let primary = nodes.next()??;
    Some((Shard { primary, replicas: nodes.collect::<Option<_>>()? }, vec![ends]))
}

/// A node that does not know its own address, or is not to tell it, is where it was asked.
fn address(host: &Value, port: &Value, asked: &Address) -> Option<Address> {
    let host = match host {
        Value::Null => "",
        named => named.as_text()?,
    };
    let port = port.as_integer()?.try_into().ok()?;
    Some(Address::new(if matches!(host, "" | "?") { &asked.host } else { host }, port))
}

/// What a line of `CLUSTER NODES` says of a node.
struct Member {
    /// By which it may be called: with its IP address, and with its name.
    addresses: Vec<Address>,
    epoch: u64,
    /// It is a primary, and the node that was asked, or the cluster, does not reach it.
    is_failing: bool,
}

fn member(line: &str, asked: &Address) -> Option<Member> {
    let mut fields = line.split(' ');
    let (_, place, flags) = (fields.next()?, fields.next()?, fields.next()?);
    let epoch = fields.nth(3)?.parse().ok()?;
    let (place, rest) = place.split_once('@').unwrap_or((place, ""));
    let (host, port) = place.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let has = |wanted: &[&str]| flags.split(',').any(|flag| wanted.contains(&flag));
    let mut names = rest.split(',').skip(1).take(1).filter(|name| !name.is_empty());
    let first = Address::new(if host.is_empty() { &asked.host } else { host }, port);
    let mut addresses = vec![first];
    addresses.extend(names.next().map(|name| Address::new(name, port)));
    if has(&["noaddr", "handshake"]) {
        addresses.clear();
    }
    Some(Member { addresses, epoch, is_failing: has(&["master"]) && has(&["fail", "fail?"]) })
}
