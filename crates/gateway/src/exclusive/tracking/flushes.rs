//! `FLUSHALL` of a cluster, as a client that tracks hears of it: each node whose keys it uses says that all is invalid, where a
//! single Redis says it once. Told once, the client keeps nothing of any node. So it is told again only of a node whose
//! replies it may have got since. Told by `lending` what is sent, and by `connection` and `exchange` what comes.

use crate::{
    client::state::ClientState,
    exclusive::{
        incoming::message::Message,
        lending::Lending,
        tracking::{invalidation, shards::ALL_INVALID},
    },
    pubsub::events::is_event,
};

/// Those of which one client has heard.
#[derive(Debug, Default)]
pub(in crate::exclusive) struct Flushes {
    /// How often it was told, and had no reply behind that for what it had asked before, but at the connection in use.
    told: u64,
    /// How many the node has had that has had most, since the client tracks.
    most: u64,
}

/// Those of the node of one of its connections.
#[derive(Debug, Default)]
pub(in crate::exclusive) struct NodeFlushes {
    /// How often the client had been told when it last asked something there, or waited for the reply.
    asked: u64,
    count: u64,
}

impl NodeFlushes {
    /// The connection is a further one of the client.
    pub(super) fn join(&mut self, client: &Flushes) {
        self.count = client.most;
    }

    /// What is sent there, or not answered yet, may read.
    pub(in crate::exclusive) fn asked(&mut self, client: &Flushes) {
        self.asked = client.told;
    }

    /// The node says that all is invalid; whether that is news for the client: nobody has told it of this `FLUSHALL`, or it
    /// may have got replies from there since it was told.
    fn is_news(&mut self, client: &mut Flushes) -> bool {
        self.count += 1;
        let is_first = self.count > client.most;
        client.most = client.most.max(self.count);
        is_first || self.asked >= client.told
    }
}

impl Lending {
    /// Passes on what comes of its own accord and begins at `at` in `out`, as the client is to see it.
    pub(in crate::exclusive) fn pass_on(&mut self, seen: Message, state: &ClientState, out: &mut Vec<u8>, at: usize) {
        let is_hidden = seen == Message::Monitored && self.shown.hides(&out[at..], self.lent.ours());
        let is_muted = seen == Message::Monitored && state.is_muted();
        // Those of all other nodes come otherwise.
        if is_hidden || is_muted || (!self.at_node.is_first && is_event(&out[at..])) {
            out.truncate(at);
        } else if invalidation::tells_of_an_end(&out[at..]) {
            self.translate(out, at, state.id);
        } else if out[at..] == *ALL_INVALID && !self.tells_of_flush() {
            out.truncate(at);
        }
    }

    /// Whether the client is told that all is invalid, as the node has just said.
    fn tells_of_flush(&mut self) -> bool {
        // Of keys that others have read for it nobody knows here.
        if !self.tracks() || self.broadcasts {
            return true;
        }
        let is_news = self.flushes.is_news(&mut self.tracked.flushes);
        // What is held back comes behind a reply whose parts have been read before.
        self.tracked.flushes.told += u64::from(is_news && !self.tracked.holds());
        self.keep_what_is_out();
        is_news
    }

    /// What the client waits for here comes behind all that it has been told, and may have been read before.
    pub(in crate::exclusive) fn keep_what_is_out(&mut self) {
        if self.is_waiting() {
            self.flushes.asked(&self.tracked.flushes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether each null of these nodes is passed on, where nothing is asked meanwhile.
    fn passed(client: &mut Flushes, nodes: &mut [NodeFlushes; 3], order: [usize; 3]) -> [bool; 3] {
        order.map(|at| {
            let is_news = nodes[at].is_news(client);
            client.told += u64::from(is_news);
            is_news
        })
    }

    #[test]
    fn each_flush_is_told_once_whoever_is_first_and_wherever_was_read() {
        let (mut client, mut nodes) = <(Flushes, [NodeFlushes; 3])>::default();
        for (order, read) in [([0, 1, 2], 3), ([2, 1, 0], 0), ([1, 0, 2], 1), ([1, 2, 0], 2)] {
            nodes[..read].iter_mut().for_each(|node| node.asked(&client));
            assert_eq!(passed(&mut client, &mut nodes, order), [true, false, false], "{order:?}, {read}");
        }
    }

    #[test]
    fn a_reply_between_the_nulls_of_two_nodes_is_not_kept_for_good() {
        let (mut client, mut nodes) = <(Flushes, [NodeFlushes; 3])>::default();
        assert_eq!(passed(&mut client, &mut nodes, [0, 1, 2]), [true, false, false]);
        assert!(nodes[0].is_news(&mut client));
        client.told += 1;
        // Sent before the null of node 0, or after it: the reply is behind it.
        nodes[1].asked(&client);
        assert!(nodes[1].is_news(&mut client));
        client.told += 1;
        assert!(!nodes[2].is_news(&mut client));
    }

    #[test]
    fn a_further_connection_counts_from_where_the_client_is() {
        let (mut client, mut nodes) = <(Flushes, [NodeFlushes; 3])>::default();
        assert_eq!(passed(&mut client, &mut nodes, [0, 1, 2]), [true, false, false]);
        nodes[1] = NodeFlushes::default();
        nodes[1].join(&client);
        assert_eq!(passed(&mut client, &mut nodes, [1, 0, 2]), [true, false, false]);
    }
}
