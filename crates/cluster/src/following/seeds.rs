//! Looks at the nodes that a configuration names, once, for whoever wants to know beforehand whether they can be used.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use pool::{Conversation, ConversationError, Endpoint};
use resp::Value;
use tokio::task::JoinSet;
use topology::{Address, Belief, ClusterError, View};

use crate::{cluster::ClusterSettings, following::asking::QUESTIONS};

/// As `CLIENT LIST` of nodes shows these connections.
const NAME: &str = "respool-check";

/// What a Redis says that is none of a cluster.
const ALONE: &str = "cluster support disabled";

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// What was seen of the cluster, in a few words; nothing if there is none.
    pub cluster: Option<String>,
    /// What the gateway can live with for a while: another node answers.
    pub warnings: Vec<String>,
    /// What keeps it from serving all of the cluster.
    pub errors: Vec<String>,
}

/// Asks all seeds, each within `limit`, and connects to all primaries. `endpoint` tells how to log in;
/// `primaries_max` is how many primaries there is room for.
pub async fn examine(settings: &ClusterSettings, endpoint: &Endpoint, limit: Duration, primaries_max: usize) -> Found {
    let mut found = Found::default();
    let mut views = BTreeMap::new();
    for (seed, answer) in all(&settings.seeds, |node| view(settings, endpoint, node, limit)).await {
        match answer {
            Ok(view) => drop(views.insert(seed, view)),
            Err(Trouble::Silent(why)) => found.warnings.push(why),
            Err(Trouble::NoCluster) => found.errors.push(format!(
                "{seed} is no node of a cluster (cluster_enabled:0); for one Redis write redis://{seed}"
            )),
            Err(Trouble::Refuses(why)) => found.errors.push(format!("{seed} refuses to tell of its cluster: {why}")),
        }
    }
    let Some((first, view)) = views.first_key_value() else {
        if found.errors.is_empty() {
            found.errors.append(&mut found.warnings);
        }
        return found;
    };
    let members: BTreeSet<&Address> = view.layout.members().collect();
    for (seed, other) in views.iter().skip(1) {
        if !other.layout.members().any(|member| members.contains(member)) {
            found.errors.push(format!("{seed} belongs to another cluster than {first}"));
        }
    }
    // The one that knows most.
    let mut belief = Belief::default();
    for (_, view) in views.clone() {
        belief.views(belief.asks(), view);
    }
    let layout = belief.layout();
    let (primaries, replicas) = (layout.shards().len(), layout.shards().iter().map(|shard| shard.replicas.len()).sum());
    let replicas: usize = replicas;
    found.cluster = Some(format!("{primaries} primaries, {replicas} replicas"));
    match layout.uncovered() {
        _ if primaries == 0 => found.errors.push(format!("{first} knows of no node that has a slot")),
        0 => {}
        some => found.errors.push(format!("{some} slots of the cluster have no node")),
    }
    if primaries > primaries_max {
        found
            .errors
            .push(format!("the cluster has {primaries} primaries, and pool.pools_max has room for {primaries_max}"));
    }
    let primaries: Vec<Address> = layout.shards().iter().map(|shard| shard.primary.clone()).collect();
    for (primary, answer) in all(&primaries, |node| greet(settings, endpoint, node, limit)).await {
        match answer {
            Ok(None) => {}
            Ok(Some(refusal)) => found.errors.push(format!(
                "the primary {primary} refuses database {}, in which the URL has clients begin: {refusal}",
                endpoint.db
            )),
            Err(why @ ConversationError::Refused(_)) => {
                found.errors.push(format!("the primary {primary} cannot be used: {why}"));
            }
            Err(why) => {
                let is_mapped = settings.reached(&primary) != &primary;
                let hint = if is_mapped { "" } else { "; if it is reached elsewhere, say so in cluster.reached_at" };
                found.errors.push(format!("the primary {primary} cannot be reached: {why}{hint}"));
            }
        }
    }
    found
}

/// Why a seed has no view.
enum Trouble {
    Silent(String),
    NoCluster,
    Refuses(String),
}

/// Does this with all nodes at the same time; what came of it, in their order.
async fn all<T, F>(nodes: &[Address], act: impl Fn(Address) -> F) -> Vec<(Address, T)>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut asking = JoinSet::new();
    for (place, node) in nodes.iter().enumerate() {
        let (node, answer) = (node.clone(), act(node.clone()));
        asking.spawn(async move { (place, node, answer.await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(place, ..)| *place);
    answers.into_iter().map(|(_, node, answer)| (node, answer)).collect()
}

fn at(settings: &ClusterSettings, endpoint: &Endpoint, node: &Address) -> Endpoint {
    let at = settings.reached(node);
    endpoint.at(at.host.clone(), at.port)
}

fn view(
    settings: &ClusterSettings,
    endpoint: &Endpoint,
    node: Address,
    limit: Duration,
) -> impl Future<Output = Result<View, Trouble>> + Send + use<> {
    let endpoint = at(settings, endpoint, &node);
    async move {
        let silent = |why: ConversationError| Trouble::Silent(format!("{node}: {why}"));
        let mut conversation = Conversation::open(&endpoint, NAME, limit).await.map_err(silent)?;
        let replies = conversation.ask(&QUESTIONS, limit).await.map_err(silent)?;
        let [slots, nodes] = &replies[..] else { return Err(Trouble::Silent(format!("{node}: it says nothing"))) };
        View::read(slots, nodes, &node).map_err(|why| match why {
            ClusterError::Refused(text) if text.contains(ALONE) => Trouble::NoCluster,
            ClusterError::Refused(_) | ClusterError::Malformed => Trouble::Refuses(why.to_string()),
        })
    }
}

/// Why a node refuses the database in which sessions begin, if it does.
fn greet(
    settings: &ClusterSettings,
    endpoint: &Endpoint,
    node: Address,
    limit: Duration,
) -> impl Future<Output = Result<Option<String>, ConversationError>> + Send + use<> {
    let endpoint = at(settings, endpoint, &node);
    async move {
        let mut conversation = Conversation::open(&endpoint, NAME, limit).await?;
        let db = endpoint.db.to_string();
        // The right to enter the first is not needed.
        let question: &[&str] = if endpoint.db > 0 { &["SELECT", &db] } else { &["PING"] };
        let replies = conversation.ask(&[question], limit).await?;
        Ok(replies.into_iter().find_map(|reply| match reply {
            Value::Error(text) if endpoint.db > 0 => Some(text),
            _ => None,
        }))
    }
}
