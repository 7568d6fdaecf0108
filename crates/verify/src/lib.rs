//! A proof that a ruleset means what the specification says.
//!
//! In: a [`policy::Snapshot`], the node and its network, the policies that are set
//! aside, and the two [`ruleset::Ruleset`]s that must enforce them.
//! Out: a [`Report`]. Either the two agree on every possible packet (both
//! families, all addresses, protocols, ports, ICMP types, hop limits, frames,
//! interfaces and flow states), or it lists packets on which they differ.
//! Never: samples, the compiler's code, `ruleset::simulator`'s code, I/O.
//!
//! | module | input | output |
//! |---|---|---|
//! | `ranges`, `region` | ranges | canonical sets of numbers, and of (address, code) |
//! | `space` | headers | numbers, and back |
//! | `allowed`, `model` | the policy model | what policies allow each isolated address |
//! | `exits` | the node's network, the ruleset | kinds of interfaces where packets go out |
//! | `expected` | all that | what must pass, edges included |
//! | `frames` | the ruleset, the tunnels | the frames to compare |
//! | `sets`, `packet_set`, `condition`, `machine` | the ruleset | what passes, with all packets run at once |
//! | `proof` | both | the differences; `proof/inside`: in a pod's own namespace |
//! | `audit` | both | what is told of policies in audit, and should not be, or the reverse |
//! | `binding` | the node's network, both rulesets | the differences at the other hooks |
//! | `change` | two rulesets | what one lets pass and the other does not |
//!
//! Two kinds of packets are not checked. Packets between a pod and its own node
//! cross other hooks; only the way into the node's tunnels is checked there.
//! Fragments are reassembled by connection tracking before the forward hook.

mod allowed;
mod audit;
mod binding;
mod change;
mod condition;
mod error;
mod exits;
mod expected;
mod frames;
mod machine;
mod model;
mod packet_set;
mod proof;
mod ranges;
mod region;
mod report;
mod sets;
mod space;

use std::collections::BTreeSet;

use policy::spec::binding::{Binding, isolated_pods, nodes};
use policy::{NodeNetwork, ObjectKey, Snapshot, spec};
use ruleset::{Hook, Ruleset};

pub use change::{Change, Part, Unknown, changes, changes_inside};
pub use error::VerifyError;
pub use report::{
    AuditDifference, Bound, BoundDifference, Counts, Difference, Reason, Report, Unjudged,
};

/// Compares what a node's tables do with what the specification says.
///
/// `node` is the node whose pods are local (`spec.nodeName`). With `None` all
/// pods are local. Policies that are set aside isolate and allow nothing.
/// `network` is what the node's interfaces are known to be. `bridge` is the table
/// of the bridge family, `None` if there is none.
///
/// # Errors
/// See [`VerifyError`]: no kernel would accept the ruleset, so it has no
/// meaning.
pub fn verify(
    snapshot: &Snapshot,
    node: Option<&str>,
    set_aside: &BTreeSet<ObjectKey>,
    network: &NodeNetwork,
    inet: &Ruleset,
    bridge: Option<&Ruleset>,
) -> Result<Report, VerifyError> {
    let snapshot = model::without_rules_of(snapshot, set_aside);
    let (isolated, nodes) = (isolated_pods(&snapshot, node), nodes(&snapshot, network));
    let binding = Binding { network, isolated: &isolated, nodes: &nodes };
    let nothing = Ruleset::bridge(inet.table.clone());
    let bridge = bridge.unwrap_or(&nothing);
    let owners = spec::owners(&snapshot);
    let model = model::Model::new(&snapshot, &owners, node, network);
    if let Some(inside) = &network.inside {
        return proof::inside::run(&model, &binding, inside, node, inet);
    }
    let at = |hook| proof::Proof::new(hook, &model, &binding, node, inet).run();
    let mut report = at(Hook::Forward)?;
    if network.ipvs || !binding::bases(inet, Hook::Output).is_empty() {
        report.extend(at(Hook::Output)?);
    }
    let (bound, bound_differences) = binding::compare(&binding, &[inet, bridge])?;
    let unjudged = unjudged(&model, network, node);
    Ok(Report { bound, bound_differences, unjudged, ..report })
}

/// The node's pods with an address that no port has.
fn unjudged(model: &model::Model<'_>, network: &NodeNetwork, node: Option<&str>) -> Unjudged {
    let no_network = *network == NodeNetwork::default();
    let bound = |pod: &policy::Pod| {
        let mut ports = network.ports.values().filter(|port| port.pod == pod.key);
        let addresses: BTreeSet<_> = ports.by_ref().flat_map(|port| &port.addresses).collect();
        pod.addresses.iter().all(|address| addresses.contains(address))
    };
    let local = model.snapshot.pods.values().filter(|pod| model::is_local(pod, node));
    let unbound = local.filter(|pod| !no_network && !bound(pod)).map(|pod| pod.key.clone());
    Unjudged { unbound: unbound.collect(), no_network }
}
