//! The pods of a node, from one snapshot to the next.
//!
//! In: snapshots. Out: the node's pods, at the cost of what changed. Never: a walk
//! over all pods of the cluster for each event.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use policy::{ObjectKey, Pod, Snapshot};

/// The pods of a node.
#[derive(Clone, Debug)]
pub struct LocalPods {
    /// `None`: all pods are local.
    node: Option<String>,
    /// As of the last snapshot.
    all: OrdMap<ObjectKey, Arc<Pod>>,
    local: OrdMap<ObjectKey, Arc<Pod>>,
}

impl LocalPods {
    /// Of this node; `None`: all pods are local.
    pub fn of(node: Option<&str>) -> Self {
        Self { node: node.map(str::to_owned), all: OrdMap::new(), local: OrdMap::new() }
    }

    /// Goes on to this snapshot. Whether a pod of the node changed.
    pub fn follow(&mut self, snapshot: &Snapshot) -> bool {
        if self.all.ptr_eq(&snapshot.pods) {
            return false;
        }
        let before = std::mem::replace(&mut self.all, snapshot.pods.clone());
        let local = self.local.clone();
        for change in before.diff(&snapshot.pods) {
            let (key, pod) = match change {
                DiffItem::Add(key, pod) | DiffItem::Update { new: (key, pod), .. } => {
                    (key, Some(pod))
                }
                DiffItem::Remove(key, _) => (key, None),
            };
            let is_local = |pod: &&Arc<Pod>| self.node.is_none() || pod.node == self.node;
            match pod.filter(is_local) {
                Some(pod) => self.local.insert(key.clone(), Arc::clone(pod)),
                None => self.local.remove(key),
            };
        }
        self.local != local
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.local.values()
    }
}

#[cfg(test)]
mod tests {
    use policy::{Labels, Phase};

    use super::*;

    fn pod(name: &str, node: &str) -> Pod {
        Pod {
            key: ObjectKey::new("dev", name),
            labels: Labels::default(),
            node: Some(node.to_owned()),
            addresses: Vec::new(),
            host_addresses: Vec::new(),
            host_network: false,
            phase: Phase::Running,
            created: 0,
            is_ending: false,
            grace_seconds: 0,
            attachment: policy::Attachment::default(),
            ports: Vec::new(),
        }
    }

    #[test]
    fn it_follows_pods_that_come_change_and_go() {
        let mut snapshot = Snapshot::default();
        let mut local = LocalPods::of(Some("a"));
        let mut seen = |snapshot: &Snapshot| {
            local.follow(snapshot);
            local.iter().map(|pod| pod.key.name.clone()).collect::<Vec<_>>()
        };
        for pod in [pod("web", "a"), pod("far", "b")] {
            snapshot.pods.insert(pod.key.clone(), Arc::new(pod));
        }
        assert_eq!(seen(&snapshot), ["web"]);
        let moved = pod("far", "a");
        snapshot.pods.insert(moved.key.clone(), Arc::new(moved));
        assert_eq!(seen(&snapshot), ["far", "web"]);
        snapshot.pods.remove(&ObjectKey::new("dev", "web"));
        assert_eq!(seen(&snapshot), ["far"]);
        let gone = pod("far", "b");
        snapshot.pods.insert(gone.key.clone(), Arc::new(gone));
        assert_eq!(seen(&snapshot), [""; 0]);
    }
}
