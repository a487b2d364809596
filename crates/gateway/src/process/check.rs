//! `--check` of a cluster: are the nodes there that the configuration names, are they of one cluster, and has each slot
//! a node?

use cluster::{ClusterSettings, Found};
use settings::GatewaySettings;

use crate::listener::threads::runtime;

/// Prints what was found, problems to standard error; false if the cluster cannot be served as it is.
pub(crate) fn cluster(settings: &GatewaySettings) -> anyhow::Result<bool> {
    let Some(seeds) = cluster_settings(settings) else { return Ok(true) };
    let (pool, most) = (&settings.pool, settings.pool.pools_max);
    let asked = cluster::examine(&seeds, &pool.endpoint, pool.connect_timeout, most);
    let runtime = runtime()?;
    let Found { cluster, warnings, errors } = runtime.block_on(asked);
    // A name may still be looked up, for as long as the system's resolver likes.
    runtime.shutdown_background();
    if let Some(cluster) = cluster {
        println!("# Cluster: {cluster}.");
    }
    for warning in warnings {
        println!("# WARNING: upstream.url: {warning}");
    }
    for error in &errors {
        eprintln!("respool: upstream.url: {error}");
    }
    Ok(errors.is_empty())
}

/// How the cluster is found, if the upstream is one.
pub(crate) fn cluster_settings(settings: &GatewaySettings) -> Option<ClusterSettings> {
    let is_shown = settings.session.presented.is_some();
    let settings::ClusterSettings { seeds, refresh, reached_at, scripts_bytes_max } = settings.cluster.clone()?;
    Some(ClusterSettings { seeds, refresh, reached_at, scripts_bytes_max, is_shown })
}
