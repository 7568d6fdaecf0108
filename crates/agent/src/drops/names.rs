//! Whose an address is, or was until a moment ago.
//!
//! In: the cluster as it is known. Out: the pod or the node behind an address.
//! Never: more than [`GONE_MAX`] addresses of pods that are gone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use imbl::ordmap::DiffItem;
use policy::{Pod, Snapshot};

/// How long an address of a pod that is gone keeps its name.
const GONE_FOR: Duration = Duration::from_secs(60);
/// How many of them.
const GONE_MAX: usize = 10_000;
/// How many addresses of nodes are known. The largest clusters have 5,000 nodes.
const NODES_MAX: usize = 20_000;

/// Who is behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Who {
    /// A pod with an address of its own.
    Pod(Arc<Pod>),
    /// A node, or pods in its network.
    Node(Arc<str>),
    /// Nobody that is known.
    #[default]
    Unknown,
}

/// The names of addresses.
#[derive(Debug, Default)]
pub struct Names {
    seen: Snapshot,
    pods: HashMap<IpAddr, Arc<Pod>>,
    gone: HashMap<IpAddr, (Instant, Arc<Pod>)>,
    nodes: HashMap<IpAddr, Arc<str>>,
}

impl Names {
    /// Takes over what changed. Costs as much as the change.
    pub fn follow(&mut self, cluster: &Snapshot, now: Instant) {
        if self.seen.pods.ptr_eq(&cluster.pods) {
            return;
        }
        let before = std::mem::replace(&mut self.seen, cluster.clone());
        for change in before.pods.diff(&cluster.pods) {
            match change {
                DiffItem::Add(_, pod) => self.add(pod),
                DiffItem::Remove(_, pod) => self.remove(pod, &[], now),
                DiffItem::Update { old: (_, old), new: (_, pod) } => {
                    self.remove(old, &pod.addresses, now);
                    self.add(pod);
                }
            }
        }
        self.gone.retain(|_, (since, _)| now.saturating_duration_since(*since) < GONE_FOR);
    }

    fn add(&mut self, pod: &Arc<Pod>) {
        if let Some(node) = &pod.node {
            for address in &pod.host_addresses {
                if self.nodes.len() < NODES_MAX && !self.nodes.contains_key(address) {
                    self.nodes.insert(*address, node.as_str().into());
                }
            }
        }
        if pod.host_network {
            return;
        }
        for address in &pod.addresses {
            let holder = self.pods.get(address);
            // A pod that ended keeps reporting its address, which another may have by now.
            let is_taken = holder.is_some_and(|one| one.key != pod.key && one.is_subject());
            if !is_taken || pod.is_subject() {
                self.pods.insert(*address, Arc::clone(pod));
            }
        }
    }

    fn remove(&mut self, pod: &Arc<Pod>, but: &[IpAddr], now: Instant) {
        for address in pod.addresses.iter().filter(|address| !but.contains(address)) {
            if self.pods.get(address).is_some_and(|holder| holder.key == pod.key) {
                self.pods.remove(address);
                if self.gone.len() < GONE_MAX {
                    self.gone.insert(*address, (now, Arc::clone(pod)));
                }
            }
        }
    }

    /// Who is behind an address, or was less than a minute ago.
    pub fn of(&self, address: IpAddr, now: Instant) -> Who {
        if let Some(pod) = self.pods.get(&address) {
            return Who::Pod(Arc::clone(pod));
        }
        if let Some(node) = self.nodes.get(&address) {
            return Who::Node(Arc::clone(node));
        }
        match self.gone.get(&address) {
            Some((since, pod)) if now.saturating_duration_since(*since) < GONE_FOR => {
                Who::Pod(Arc::clone(pod))
            }
            _ => Who::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use policy::{Labels, ObjectKey, Phase};

    use super::*;

    fn pod(name: &str, address: &str, phase: Phase) -> Pod {
        Pod {
            key: ObjectKey::new("dev", name),
            labels: Labels::new(),
            node: Some("node-1".to_owned()),
            addresses: vec![address.parse().expect("an address")],
            host_addresses: vec!["192.168.1.1".parse().expect("an address")],
            host_network: false,
            phase,
            created: 0,
            is_ending: false,
            grace_seconds: 30,
            attachment: policy::Attachment::default(),
            ports: Vec::new(),
        }
    }

    fn name(names: &Names, address: &str, now: Instant) -> String {
        match names.of(address.parse().expect("an address"), now) {
            Who::Pod(pod) => pod.key.name.clone(),
            Who::Node(node) => format!("node {node}"),
            Who::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn a_pod_that_is_gone_keeps_its_name_for_a_minute() {
        let (mut names, start) = (Names::default(), Instant::now());
        names.follow(&Snapshot::new([], [pod("a", "10.0.0.1", Phase::Running)], []), start);
        assert_eq!(name(&names, "10.0.0.1", start), "a");
        assert_eq!(name(&names, "192.168.1.1", start), "node node-1");
        assert_eq!(name(&names, "10.0.0.9", start), "unknown");
        names.follow(&Snapshot::new([], [pod("b", "10.0.0.2", Phase::Running)], []), start);
        assert_eq!(name(&names, "10.0.0.1", start + GONE_FOR / 2), "a");
        assert_eq!(name(&names, "10.0.0.1", start + GONE_FOR), "unknown");
    }

    #[test]
    fn an_address_is_that_of_the_pod_that_runs() {
        let (mut names, now) = (Names::default(), Instant::now());
        let ended = pod("ended", "10.0.0.1", Phase::Succeeded);
        let runs = pod("runs", "10.0.0.1", Phase::Running);
        for order in [[ended.clone(), runs.clone()], [runs, ended.clone()]] {
            let mut all: Vec<Pod> = Vec::new();
            for one in order {
                all.push(one);
                names.follow(&Snapshot::new([], all.clone(), []), now);
            }
            assert_eq!(name(&names, "10.0.0.1", now), "runs");
            names.follow(&Snapshot::default(), now);
        }
    }
}
