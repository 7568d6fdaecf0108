//! What the table in a pod's own namespace holds beside policies.
//!
//! In: what is known of the namespace, the pod's object, in which directions it is
//! isolated. Out: the sets of `crate::scaffold::inside`, and whether strays are shut.

use std::collections::BTreeSet;

use policy::{Direction, Inside, NodeNetwork, subject_of};

use crate::scaffold::inside::{self, Contents};
use crate::{ClusterIndex, Compiled, Options};

/// What is around a pod.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    network: NodeNetwork,
    contents: Contents,
    shut: BTreeSet<Direction>,
}

impl Surroundings {
    /// The network.
    pub fn network(&self) -> &NodeNetwork {
        &self.network
    }

    /// Goes on to another network and other objects. `shut`: in which directions the pod
    /// is isolated now.
    pub fn update(
        &mut self,
        network: &NodeNetwork,
        cluster: &ClusterIndex,
        options: &Options,
        shut: &BTreeSet<Direction>,
        out: &mut Compiled,
    ) {
        self.network = network.clone();
        let contents = network.inside.as_ref().map(|inside| contents(inside, cluster, options));
        let contents = contents.unwrap_or_default();
        if contents != self.contents {
            let before = inside::sets(&self.contents);
            for ((name, set), (_, old)) in inside::sets(&contents).into_iter().zip(before) {
                if set != old {
                    out.ruleset.sets.insert(name, set);
                }
            }
            self.contents = contents;
        }
        if *shut != self.shut {
            inside::shut(&mut out.ruleset, shut);
            self.shut = shut.clone();
        }
    }
}

fn contents(inside: &Inside, cluster: &ClusterIndex, options: &Options) -> Contents {
    let subject = subject_of(cluster.snapshot(), options.node.as_deref(), &inside.pod);
    let pod = subject.map(|subject| subject.pod);
    let node = pod.into_iter().flat_map(|pod| &pod.host_addresses).chain(&inside.node);
    Contents {
        apart: inside.apart.iter().copied().collect(),
        node: node.copied().filter(|address| cluster.owner(*address).is_none()).collect(),
        reported: pod.into_iter().flat_map(|pod| pod.addresses.iter().copied()).collect(),
    }
}
