//! Follows the replicas of each shard of a cluster, where they may have reads: a task for each shard, as long as the
//! cluster has it as it is.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ::topology::Shard;
use cluster::Cluster;
use pool::Pools;
use settings::ReadSettings;
use tokio::task::{AbortHandle, JoinSet};

use crate::{
    observe::{published::Published, sharing::nodes::Nodes},
    topology::follower::{By, Followed, keep_running},
};

/// Goes on until it is aborted, which ends all of them.
pub(super) async fn follow_shards(cluster: Cluster, reads: ReadSettings, pools: Pools, published: Arc<Published>) {
    let (mut maps, mut tasks) = (cluster.watch(), JoinSet::new());
    let mut running: BTreeMap<Shard, (AbortHandle, Arc<Nodes>)> = BTreeMap::new();
    loop {
        let shards = shards(&cluster);
        running.retain(|shard, (task, _)| {
            let stays = shards.contains(shard);
            if !stays {
                task.abort();
            }
            stays
        });
        for shard in shards {
            running.entry(shard.clone()).or_insert_with(|| {
                let (by, nodes) = (By::Shard(cluster.clone(), shard), Arc::<Nodes>::default());
                let followed = Followed { by, reads: Some(reads), period: reads.period() };
                (tasks.spawn(keep_running(followed, pools.clone(), Arc::clone(&nodes))), nodes)
            });
        }
        let known = running.iter().map(|(shard, (_, nodes))| (shard.primary.clone(), Arc::clone(nodes)));
        published.shards.replace(known.collect::<HashMap<_, _>>());
        if maps.changed().await.is_err() {
            return;
        }
        while tasks.try_join_next().is_some() {}
    }
}

/// Those that have replicas, which one node names in another order than the next.
fn shards(cluster: &Cluster) -> Vec<Shard> {
    let map = cluster.map();
    let shards = map.layout().shards().iter().filter(|shard| !shard.replicas.is_empty()).cloned();
    shards
        .map(|mut shard| {
            shard.replicas.sort_unstable();
            shard
        })
        .collect()
}
