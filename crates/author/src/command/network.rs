//! `--network`: the network that an answer is about.

use anyhow::Result;
use clap::Args;
use policy::ObjectKey;

use crate::Cluster;
use crate::cluster::{NetworkError, further_networks};

/// Which network.
#[derive(Args, Clone, Debug, Default)]
pub struct NetworkArg {
    /// The answer is about this further network of the pods, by its MultiNetworkPolicies, and not
    /// about the primary one. A name alone is of the namespace of --namespace.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    network: Option<String>,
}

impl NetworkArg {
    /// Whether it is a further one.
    pub fn is_further(&self) -> bool {
        self.network.is_some()
    }

    /// The cluster as this network has it. Prints what is to be known of it, and if it is the
    /// primary one, which policies have no part in the answer.
    ///
    /// # Errors
    /// There is no such network, or its policies could not be read.
    pub fn of(&self, mut cluster: Cluster) -> Result<Cluster> {
        let Some(network) = self.named(&[&cluster])? else {
            let beside = beside(&[&cluster]);
            tell(&beside);
            cluster.notices.extend(beside);
            return Ok(cluster);
        };
        let on = cluster.on_network(&network);
        tell(&on.notices);
        Ok(on)
    }

    /// The same for two versions, of which one may lack the network.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_both(&self, versions: [Cluster; 2]) -> Result<[Cluster; 2]> {
        let [before, after] = &versions;
        let Some(network) = self.named(&[before, after])? else {
            tell(&beside(&[before, after]));
            return Ok(versions);
        };
        let [before, mut after] = versions.map(|one| one.on_network(&network));
        // A notice of both versions is printed once.
        after.notices.retain(|notice| !before.notices.contains(notice));
        tell(&before.notices);
        tell(&after.notices);
        Ok([before, after])
    }

    fn named(&self, versions: &[&Cluster]) -> Result<Option<ObjectKey>, NetworkError> {
        let Some(written) = &self.network else { return Ok(None) };
        let mut unknown = None;
        for version in versions {
            let network = version.network_of(written)?;
            match version.knows_network(&network) {
                Ok(()) => return Ok(Some(network)),
                Err(error) => unknown = Some(error),
            }
        }
        unknown.map_or(Ok(None), Err)
    }
}

/// Which policies have no part in an answer about the primary network.
fn beside(versions: &[&Cluster]) -> Vec<String> {
    let mut lines: Vec<String> = versions
        .iter()
        .filter_map(|one| further_networks(&one.snapshot))
        .map(|further| {
            format!(
                "{further}; this answer is about the primary one (--network NAMESPACE/NAME asks \
                 about another)"
            )
        })
        .collect();
    lines.dedup();
    lines
}

fn tell(notices: &[String]) {
    notices.iter().for_each(|notice| eprintln!("notice: {notice}"));
}
