//! What the cases of an answer do not show.
//!
//! In: the ends and the cases. Out: a line each.

use policy::{Direction, Peer, Peers};

use super::judge::Judge;
use super::places::Place;
use super::report::{Case, Policy, Rule, Side, Verdict};
use super::targets::Target;

/// The notes of an answer.
pub fn of(
    judge: &Judge<'_>,
    sources: &[Place<'_>],
    targets: &[Target<'_>],
    cases: &[Case],
) -> Vec<String> {
    let mut notes = Vec::new();
    let is_open = |case: &Case| !case.egress.is_isolated && !case.ingress.is_isolated;
    if cases.iter().all(is_open) {
        notes.push("nothing isolates either end: allowed, as between all that no policy selects");
    }
    let mut notes: Vec<String> = notes.into_iter().map(str::to_owned).collect();
    let to: Vec<&Place<'_>> = targets.iter().map(|one| &one.place).collect();
    let from: Vec<&Place<'_>> = sources.iter().collect();
    notes.extend(in_node_network(&from).chain(in_node_network(&to)));
    if from.len() > 1 && from.iter().any(|one| to.iter().any(|other| one.name == other.name)) {
        notes.push("a pod always reaches itself; the cases are about two pods".to_owned());
    }
    notes.extend(own_node(&from, &to).or_else(|| own_node(&to, &from)));
    notes.extend(unknown_address(judge, Direction::Ingress, &from, cases));
    notes.extend(unknown_address(judge, Direction::Egress, &to, cases));
    notes
}

fn in_node_network<'p>(places: &[&'p Place<'p>]) -> impl Iterator<Item = String> {
    let mut pods = places.iter().filter(|one| one.pod.is_some_and(|pod| pod.host_network));
    let first = pods.next().map(|one| one.name.clone());
    first
        .map(|name| {
            format!(
                "{name} is in the network of its node: no policy isolates it, and rules see the \
                 node's address"
            )
        })
        .into_iter()
}

/// Where the node of a pod is not known, and the other end is a node.
fn own_node(pods: &[&Place<'_>], nodes: &[&Place<'_>]) -> Option<String> {
    let is_node =
        |place: &&&Place<'_>| place.pod.map_or(place.node.is_some(), |pod| pod.host_network);
    let node = nodes.iter().find(is_node)?;
    let pod = pods.iter().find(|place| {
        place.pod.is_some_and(|pod| !pod.host_network && pod.host_addresses.is_empty())
    })?;
    let node = match (&node.pod, &node.node) {
        (None, Some(name)) => format!("node/{name}"),
        _ => format!("the node of {}", node.name),
    };
    Some(format!(
        "which node {} is on is not known; if it is on {node}, all passes between the two",
        pod.name
    ))
}

/// Where ipBlocks could decide, and the address that they are asked about is made up.
fn unknown_address(
    judge: &Judge<'_>,
    direction: Direction,
    others: &[&Place<'_>],
    cases: &[Case],
) -> Option<String> {
    let place = others.iter().find(|one| one.symbolic && one.pod.is_some())?;
    let sides = cases.iter().map(|case| match direction {
        Direction::Egress => &case.egress,
        Direction::Ingress => &case.ingress,
    });
    let mut names = sides.filter(|side| is_by_block(side)).flat_map(|side| &side.policies);
    let has_blocks = |report: &&Policy| {
        let mut policies = judge.cluster.snapshot.policies.values();
        let policy = policies.find(|one| one.key.to_string() == report.name);
        let rules = policy.and_then(|one| one.rules(direction)).unwrap_or_default();
        rules.iter().any(|rule| match &rule.peers {
            Peers::Anyone => false,
            Peers::Only(peers) => peers.iter().any(|peer| match peer {
                Peer::IpBlock(_) => true,
                Peer::Pods(_) => false,
            }),
        })
    };
    let policy = &names.find(has_blocks)?.name;
    Some(format!(
        "the address of {} is not known: an ipBlock of {policy} may hold it in the cluster",
        place.name
    ))
}

/// Whether no rule allows all without an ipBlock.
fn is_by_block(side: &Side) -> bool {
    let rules = side.policies.iter().flat_map(|policy| &policy.rules);
    let by_others = |rule: &Rule| !rule.peer.why.iter().any(|why| why.starts_with("ipBlock"));
    side.verdict != Verdict::Allowed || !rules.filter(|one| one.allows).any(by_others)
}
