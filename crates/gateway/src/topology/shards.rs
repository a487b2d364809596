//! Follows the replicas of each shard of a cluster, where they may have reads: a task for each shard, as long as
//! its primary stays.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ::topology::{Address, Shard};
use cluster::Cluster;
use pool::Pools;
use settings::ReadSettings;
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::{
    observe::{published::Published, sharing::nodes::Nodes},
    topology::follower::{By, Followed, keep_running},
};

/// A shard that is followed.
struct Following {
    task: AbortHandle,
    nodes: Arc<Nodes>,
    /// Its replicas, for the task.
    named: watch::Sender<Vec<Address>>,
}

/// Goes on until it is aborted, which ends all of them.
pub(super) async fn follow_shards(cluster: Cluster, reads: ReadSettings, pools: Pools, published: Arc<Published>) {
    let (mut maps, mut tasks) = (cluster.watch(), JoinSet::new());
    let mut running: BTreeMap<Address, Following> = BTreeMap::new();
    loop {
        let shards = shards(&cluster);
        running.retain(|primary, following| {
            let stays = shards.iter().any(|shard| shard.primary == *primary);
            if !stays {
                following.task.abort();
            }
            stays
        });
        for Shard { primary, replicas, .. } in shards {
            if let Some(following) = running.get(&primary) {
                // Those that stay go on having reads.
                following.named.send_if_modified(|named| std::mem::replace(named, replicas.clone()) != replicas);
                continue;
            }
            let (named, to_task) = watch::channel(replicas);
            let (by, nodes) = (By::Shard(cluster.clone(), primary.clone(), to_task), Arc::<Nodes>::default());
            let followed = Followed { by, reads: Some(reads), period: reads.period() };
            let task = tasks.spawn(keep_running(followed, pools.clone(), Arc::clone(&nodes)));
            running.insert(primary, Following { task, nodes, named });
        }
        let known = running.iter().map(|(primary, following)| (primary.clone(), Arc::clone(&following.nodes)));
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
