//! What the checks ask of a cluster.
//!
//! In: a [`Cluster`]. Out: policies that can be read, their rules with field paths, the
//! pods they mean, the cluster's DNS.
//! Never: a finding.

mod pods;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use policy::{Direction, NetworkPolicy, ObjectKey, Peer, Peers, Pod, PodPeer, Rule, Severity};

use super::finding::Finding;
pub use super::nearest::{Known, Nearest, is_sibling, nearest};
use crate::{Cluster, Reach};

/// A cluster with what the checks work out of it.
pub struct Context<'a> {
    /// All objects.
    pub cluster: &'a Cluster,
    /// What may pass.
    pub reach: Reach<'a>,
    /// Policies in which reading found an error. What they mean is not asked.
    broken: BTreeSet<ObjectKey>,
    /// Pods by namespace, key and value of a label, each in order.
    labelled: BTreeMap<(&'a str, &'a str, &'a str), Vec<&'a Pod>>,
    dns: Vec<&'a Pod>,
    /// The labels of the pods of some namespaces, by their names.
    known: RefCell<BTreeMap<Vec<&'a str>, Rc<Known<'a>>>>,
    known_namespaces: OnceCell<Known<'a>>,
}

/// A rule and where it is.
#[derive(Clone, Copy)]
pub struct RuleAt<'a> {
    /// Its policy.
    pub policy: &'a NetworkPolicy,
    /// Its direction.
    pub direction: Direction,
    /// Which one.
    pub index: usize,
    /// The rule.
    pub rule: &'a Rule,
}

impl<'a> RuleAt<'a> {
    /// `spec.ingress[0]`.
    pub fn field(&self) -> String {
        format!("spec.{}[{}]", self.direction, self.index)
    }

    /// `spec.ingress[0].from`.
    pub fn peers_field(&self) -> String {
        let name = match self.direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        format!("{}.{name}", self.field())
    }

    /// Whether it has more than one peer.
    pub fn has_several_peers(&self) -> bool {
        matches!(&self.rule.peers, Peers::Only(peers) if peers.len() > 1)
    }

    /// Its peers, each with its field.
    pub fn peers(&self) -> Vec<(String, &'a Peer)> {
        let Peers::Only(peers) = &self.rule.peers else { return Vec::new() };
        let field = self.peers_field();
        peers.iter().enumerate().map(|(at, peer)| (format!("{field}[{at}]"), peer)).collect()
    }
}

impl<'a> Context<'a> {
    /// For this cluster.
    pub fn new(cluster: &'a Cluster) -> Self {
        let errors = cluster.findings.iter().filter(|one| one.severity == Severity::Error);
        let broken = errors.filter(|one| !super::read::is_only_refused(one));
        let broken = broken.filter_map(|one| one.object.clone()).collect();
        let mut labelled: BTreeMap<(&str, &str, &str), Vec<&Pod>> = BTreeMap::new();
        for pod in cluster.snapshot.pods.values() {
            for (key, value) in pod.labels.iter() {
                labelled.entry((&*pod.key.namespace, key, value)).or_default().push(pod);
            }
        }
        let reach = Reach::new(&cluster.snapshot);
        let (known, known_namespaces) = (RefCell::default(), OnceCell::new());
        let dns = Vec::new();
        let mut context = Self { cluster, reach, broken, labelled, dns, known, known_namespaces };
        context.dns = context.find_dns();
        context
    }

    /// The policies in which nothing is wrong.
    pub fn policies(&self) -> impl Iterator<Item = &'a NetworkPolicy> {
        let policies = self.cluster.snapshot.policies.values().map(Arc::as_ref);
        policies.filter(|policy| !self.broken.contains(&policy.key))
    }

    /// The policies of a namespace in which nothing is wrong.
    pub fn policies_in(&self, namespace: &str) -> impl Iterator<Item = &'a NetworkPolicy> {
        let policies = self.cluster.snapshot.policies.range(ObjectKey::new(namespace, "")..);
        policies
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, policy)| policy.as_ref())
            .filter(|policy| !self.broken.contains(&policy.key))
    }

    /// All rules of a policy.
    pub fn rules(&self, policy: &'a NetworkPolicy) -> Vec<RuleAt<'a>> {
        let mut all = Vec::new();
        for direction in Direction::BOTH {
            for (index, rule) in policy.rules(direction).unwrap_or_default().iter().enumerate() {
                all.push(RuleAt { policy, direction, index, rule });
            }
        }
        all
    }

    /// All rules of all policies.
    pub fn all_rules(&self) -> Vec<RuleAt<'a>> {
        self.policies().flat_map(|policy| self.rules(policy)).collect()
    }

    /// All peers of all rules, each with its field.
    pub fn all_peers(&self) -> Vec<(RuleAt<'a>, String, &'a Peer)> {
        let of = |rule: RuleAt<'a>| {
            rule.peers().into_iter().map(move |(field, peer)| (rule, field, peer))
        };
        self.all_rules().into_iter().flat_map(of).collect()
    }

    /// All peers that select pods.
    pub fn pod_peers(&self) -> Vec<(RuleAt<'a>, String, &'a PodPeer)> {
        let pods = |(rule, field, peer): (RuleAt<'a>, String, &'a Peer)| match peer {
            Peer::Pods(pods) => Some((rule, field, pods)),
            Peer::IpBlock(_) => None,
        };
        self.all_peers().into_iter().filter_map(pods).collect()
    }

    /// All pods.
    pub fn pods(&self) -> impl Iterator<Item = &'a Pod> {
        self.cluster.snapshot.pods.values().map(Arc::as_ref)
    }

    /// Whether the labels of a namespace are known.
    pub fn knows_namespace(&self, name: &str) -> bool {
        self.cluster.snapshot.namespaces.contains_key(name)
            && !self.cluster.assumed_namespaces.contains(name)
    }

    /// A finding about a field of a policy.
    pub fn finding(
        &self,
        id: &'static str,
        policy: &NetworkPolicy,
        field: impl Into<String>,
        message: impl Into<String>,
    ) -> Finding {
        let field = field.into();
        Finding {
            id,
            level: super::checks::level(id),
            kind: "NetworkPolicy".to_owned(),
            object: Some(policy.key.clone()),
            at: self.cluster.places.of(&policy.key, &field).cloned(),
            field,
            message: message.into(),
            label: None,
            help: None,
            fix: None,
        }
    }

    /// A finding about another object.
    pub fn finding_of(
        &self,
        id: &'static str,
        kind: &str,
        object: &ObjectKey,
        message: impl Into<String>,
    ) -> Finding {
        Finding {
            id,
            level: super::checks::level(id),
            kind: kind.to_owned(),
            object: Some(object.clone()),
            at: self.cluster.places.object(kind, object).cloned(),
            field: String::new(),
            message: message.into(),
            label: None,
            help: None,
            fix: None,
        }
    }

    /// What a pod is called: its workload, if it has one.
    pub fn name(&self, pod: &Pod) -> String {
        match self.cluster.workloads.get(&pod.key) {
            Some(workload) => format!("{} {}", workload.kind, workload.key),
            None => format!("Pod {}", pod.key),
        }
    }

    /// The cluster's DNS, as far as the input has it.
    pub fn dns(&self) -> &[&'a Pod] {
        &self.dns
    }

    fn find_dns(&self) -> Vec<&'a Pod> {
        let snapshot = &self.cluster.snapshot;
        let by_service = DNS_SERVICES.iter().filter_map(|(namespace, name)| {
            let selector = self.cluster.services.get(&ObjectKey::new(*namespace, *name))?;
            Some((*namespace, selector.selector.as_ref()?))
        });
        let mut found: Vec<&Pod> = Vec::new();
        for (namespace, selector) in by_service {
            let pods = snapshot.pods.values().filter(|pod| {
                pod.key.namespace == namespace && selector.matches(&pod.labels) && is_alive(pod)
            });
            found.extend(pods.map(Arc::as_ref));
        }
        if found.is_empty() {
            let kube_dns = |pod: &&Pod| {
                pod.key.namespace == "kube-system"
                    && pod.labels.get("k8s-app") == Some("kube-dns")
                    && is_alive(pod)
            };
            found.extend(self.pods().filter(kube_dns));
        }
        found
    }
}

/// The Services that resolvers of pods ask: of Kubernetes (kubernetes.io, "DNS for Services and
/// Pods"), RKE2's chart, and OpenShift's DNS operator.
pub const DNS_SERVICES: [(&str, &str); 5] = [
    ("kube-system", "kube-dns"),
    ("kube-system", "coredns"),
    ("kube-system", "rke2-coredns-rke2-coredns"),
    ("openshift-dns", "dns-default"),
    ("kube-dns", "kube-dns"),
];

/// Whether a pod has not ended.
pub fn is_alive(pod: &Pod) -> bool {
    use policy::Phase;
    !matches!(pod.phase, Phase::Succeeded | Phase::Failed)
}

/// `1 pod`, `2 pods`.
pub fn counted(count: usize, one: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {one}s"),
    }
}

/// The first names of a list.
pub fn some(names: impl IntoIterator<Item = String>) -> String {
    const SHOWN: usize = 3;
    let names: BTreeSet<String> = names.into_iter().collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<String> = names.into_iter().take(SHOWN).collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
