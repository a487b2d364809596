//! Asks nodes for their views of the cluster: which ones, and each on a connection that is kept for the next time.

use std::{collections::BTreeSet, time::Duration};

use pool::{Conversation, ConversationError, Endpoint, Value};
use topology::{Address, Heard, Layout, View};

/// As `CLIENT LIST` of nodes shows these connections.
const NAME: &str = "respool-topology";

/// What a node is asked for its view.
pub(crate) const QUESTIONS: [&[&str]; 2] = [&["CLUSTER", "SLOTS"], &["CLUSTER", "NODES"]];

/// Whom to ask.
pub(crate) struct Question {
    pub(crate) node: Address,
    /// Where and how it is reached.
    pub(crate) endpoint: Endpoint,
    pub(crate) limit: Duration,
    /// What was known before is older than its answer.
    pub(crate) asked: Heard,
    /// Of the last time.
    pub(crate) open: Option<Conversation>,
}

/// What a node has answered.
pub(crate) struct Answer {
    pub(crate) node: Address,
    pub(crate) asked: Heard,
    pub(crate) conversation: Conversation,
    pub(crate) view: View,
}

/// Whom to ask, in this order, and how many answers are wanted: those that are `suspected`, and while primaries are `absent`,
/// all their replicas, of which the one that takes over knows it first; otherwise one node, each time the next.
pub(crate) fn candidates(
    layout: &Layout,
    (suspected, absent): (&BTreeSet<Address>, &BTreeSet<Address>),
    seeds: &[Address],
    turn: usize,
) -> (Vec<Address>, usize) {
    let shards = layout.shards();
    let heirs = shards.iter().filter(|shard| absent.contains(&shard.primary)).flat_map(|shard| &shard.replicas);
    let mut nodes: Vec<Address> = suspected.iter().chain(heirs).cloned().collect();
    let primaries = shards.iter().map(|shard| &shard.primary);
    let others = primaries.chain(shards.iter().flat_map(|shard| &shard.replicas));
    let mut others: Vec<Address> = others.filter(|node| !absent.contains(node)).cloned().collect();
    let rotated = (turn % shards.len().max(1)).min(others.len());
    others.rotate_left(rotated);
    if !absent.is_empty() && nodes.len() > suspected.len() {
        // And one that is not concerned.
        nodes.extend(others.into_iter().take(1));
        let wanted = nodes.len();
        return (nodes, wanted);
    }
    nodes.extend(others);
    nodes.extend(seeds.iter().cloned());
    let mut seen = BTreeSet::new();
    nodes.retain(|node| seen.insert(node.clone()));
    (nodes, suspected.len().max(1))
}

/// Asks; otherwise says which node has not answered, and why.
pub(crate) async fn ask(question: Question) -> Result<Answer, String> {
    let Question { node, endpoint, limit, asked, open } = question;
    let (conversation, replies) = replies(open, &endpoint, limit).await.map_err(|error| format!("{node}: {error}"))?;
    let [slots, nodes] = &replies[..] else { return Err(format!("{node}: it says nothing")) };
    let view = View::read(slots, nodes, &node).map_err(|error| format!("{node}: {error}"))?;
    Ok(Answer { node, asked, conversation, view })
}

/// Asks for a sign of life, which any reply is: a node that is busy with a script refuses everything.
pub(crate) async fn sign_of_life(question: Question) -> Option<Conversation> {
    let Question { endpoint, limit, open, .. } = question;
    let (conversation, _) = replies(open, &endpoint, limit).await.ok()?;
    Some(conversation)
}

async fn replies(
    open: Option<Conversation>,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<(Conversation, Vec<Value>), ConversationError> {
    if let Some(mut conversation) = open
        && let Ok(replies) = conversation.ask(&QUESTIONS, limit).await
    {
        return Ok((conversation, replies));
    }
    // There was none, or it was closed meanwhile.
    let mut conversation = Conversation::open(endpoint, NAME, limit).await?;
    let replies = conversation.ask(&QUESTIONS, limit).await?;
    Ok((conversation, replies))
}
