//! Whether the name of this node is right.
//!
//! In: the name that the operator gave, snapshots. Out: the condition `node`.
//! Never: a guess that changes what is enforced.
//!
//! A mistyped name has no Pod, and a table made for it isolates nobody. A real node
//! has always had some Pod: at least nftpol's own. So no table is touched until one was
//! seen. A node that is empty later is empty.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use policy::Snapshot;

use crate::local_pods::LocalPods;
use crate::report;
use crate::status::{Condition, Status};

/// Nodes that a message names at most.
const NODES_SHOWN: usize = 5;
/// How often the message is written again. Each time this looks at all pods.
const MESSAGE_EVERY: Duration = Duration::from_secs(10);

/// What is known of the node's name.
#[derive(Debug)]
pub struct OwnNode {
    name: String,
    /// `None` once a Pod was seen.
    awaited: Option<LocalPods>,
    said: Option<Instant>,
}

impl OwnNode {
    /// No Pod was seen yet.
    pub fn of(name: &str) -> Self {
        Self { name: name.to_owned(), awaited: Some(LocalPods::of(Some(name))), said: None }
    }

    /// Whether a Pod of this node was seen, now or before. Tells the status.
    pub fn is_seen(&mut self, snapshot: &Snapshot, now: Instant, status: &Status) -> bool {
        let Some(awaited) = &mut self.awaited else { return true };
        awaited.follow(snapshot);
        if awaited.iter().next().is_some() {
            self.awaited = None;
            status.holds(Condition::Node);
            return true;
        }
        let is_due =
            self.said.is_none_or(|said| now.saturating_duration_since(said) >= MESSAGE_EVERY);
        if is_due && let Some(missing) = missing(&self.name, snapshot) {
            self.said = Some(now);
            let problem = format!(
                "{missing}; the kernel keeps the rules that it has until a Pod is there (correct \
                 --node-name or $NODE_NAME, or wait for the first Pod of a new node)"
            );
            status.fails(Condition::Node, problem);
        }
        false
    }
}

/// Says that no Pod is on this node, and on which nodes there are Pods. `None` if one is.
pub fn missing(node: &str, snapshot: &Snapshot) -> Option<String> {
    let nodes: BTreeSet<&str> =
        snapshot.pods.values().filter_map(|pod| pod.node.as_deref()).collect();
    if nodes.contains(node) {
        return None;
    }
    let others = match (watcher::suggest(node, nodes.iter().copied()), nodes.len()) {
        (Some(meant), _) => format!("did you mean {meant:?}?"),
        (None, 0) => "no Pod has a spec.nodeName".to_owned(),
        (None, _) => format!("Pods are on: {}", report::some(nodes.iter(), NODES_SHOWN)),
    };
    Some(format!("no Pod is on node {node:?} ({others})"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use policy::{Labels, ObjectKey, Phase, Pod};

    use super::*;

    fn on(nodes: &[&str]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (number, node) in nodes.iter().enumerate() {
            let pod = Pod {
                key: ObjectKey::new("dev", number.to_string()),
                labels: Labels::default(),
                node: (!node.is_empty()).then(|| (*node).to_owned()),
                addresses: Vec::new(),
                host_addresses: Vec::new(),
                host_network: false,
                phase: Phase::Pending,
                created: 0,
                is_ending: false,
                grace_seconds: 0,
                attachment: policy::Attachment::default(),
                ports: Vec::new(),
            };
            snapshot.pods.insert(pod.key.clone(), Arc::new(pod));
        }
        snapshot
    }

    #[test]
    fn a_name_without_a_pod_is_explained() {
        let many = ["a1", "b2", "c3", "d4", "e5", "f6", "g7"];
        let cases: [(&str, &[&str], Option<&str>); 6] = [
            ("worker-1", &["worker-1"], None),
            ("wroker-1", &["worker-1", "x"], Some("did you mean \"worker-1\"?")),
            ("Worker-1", &["worker-1"], Some("did you mean \"worker-1\"?")),
            ("one", &many, Some("Pods are on: a1, b2, c3, d4, e5 and 2 more")),
            ("one", &[""], Some("no Pod has a spec.nodeName")),
            ("", &["", "worker-1"], Some("Pods are on: worker-1")),
        ];
        for (node, nodes, expected) in cases {
            let expected = expected.map(|why| format!("no Pod is on node {node:?} ({why})"));
            assert_eq!(missing(node, &on(nodes)), expected, "{node} of {nodes:?}");
        }
    }

    #[test]
    fn a_pod_that_was_seen_once_settles_it() {
        let (status, now) = (Status::new(), Instant::now());
        let mut own = OwnNode::of("worker-1");
        let problem = || status.problem(Condition::Node).unwrap_or_default();
        assert!(!own.is_seen(&on(&[]), now, &status));
        assert!(problem().contains("no Pod has a spec.nodeName"), "{}", problem());
        assert!(!own.is_seen(&on(&["worker-2"]), now + MESSAGE_EVERY, &status));
        assert!(problem().contains("did you mean \"worker-2\"?"), "{}", problem());
        assert!(own.is_seen(&on(&["worker-2", "worker-1"]), now, &status));
        assert_eq!(problem(), "");
        assert!(own.is_seen(&on(&["worker-2"]), now, &status), "it is empty now");
        assert_eq!(problem(), "");
    }
}
