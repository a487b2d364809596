//! What is shown over HTTP, as it is at the moment of asking.

use std::sync::Arc;

use pool::Upstream;

use crate::{config::operator::Operator, console::topology, observe::published::Published};

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(super) operator: Arc<Operator>,
    pub(super) published: Arc<Published>,
}

impl Source {
    pub(crate) fn new(operator: &Arc<Operator>, published: &Arc<Published>) -> Self {
        Self { operator: Arc::clone(operator), published: Arc::clone(published) }
    }

    /// Why no client should be sent here, if so.
    pub(super) fn unready(&self) -> Option<String> {
        if self.published.registry.is_draining() {
            return Some("draining".to_owned());
        }
        if let Some(cluster) = self.published.cluster.get() {
            return topology::unready(cluster, &self.operator);
        }
        let topology = self.published.nodes.topology.borrow().clone();
        if let Some(awaited) = topology.and_then(|topology| topology.awaited.clone()) {
            return Some(format!("requests wait: {awaited}"));
        }
        match self.operator.pool().status().upstream {
            Upstream::Up(_) => None,
            Upstream::Unready { reason, .. } => Some(reason.to_string()),
            Upstream::Connecting => Some("connecting to the upstream".to_owned()),
            Upstream::Down(reason) => Some(format!("upstream is down: {reason}")),
        }
    }
}
