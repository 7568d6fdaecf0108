//! From objects to a [`Cluster`]: workloads become pods, and what is missing is made up.
//!
//! In: objects of files and of an API server. Those of files come last and replace others.
//! Out: a cluster of which every pod has addresses and a namespace.
//! Never: a made-up thing without a notice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use policy::{Mode, Namespace, Now, ObjectKey, Peer, Peers, Phase, Pod, Snapshot};
use watcher::Object;
use watcher::related::{PodDetails, Related, Workload, WorkloadTemplate};

use super::Cluster;

/// Where made-up addresses come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeUp {
    /// IPv4.
    pub ipv4: Ipv4Net,
    /// IPv6.
    pub ipv6: Ipv6Net,
    /// Whether somebody said that these are the pods' addresses.
    pub is_given: bool,
}

/// The networks that are reserved for measurements (RFC 2544 and RFC 5180), which no
/// policy names.
impl Default for MadeUp {
    fn default() -> Self {
        let ipv4 = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);
        let ipv6 = Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48);
        Self { ipv4, ipv6, is_given: false }
    }
}

/// Collects objects.
#[derive(Debug, Default)]
pub struct Builder {
    cluster: Cluster,
    /// Whose each pod is, as the pod says.
    owners: BTreeMap<ObjectKey, Workload>,
    /// The pods that objects of pods are of.
    pods: BTreeMap<ObjectKey, Arc<Pod>>,
    /// What policies do that say nothing of it.
    mode: Mode,
    /// When audits end is told by this.
    now: Now,
}

impl Builder {
    /// Audits are over or not at this moment. Where nobody says whether policies are enforced,
    /// this mode holds.
    pub fn at(&mut self, now: Now, mode: Mode) {
        (self.now, self.mode) = (now, mode);
    }

    /// Adds policies, pods and namespaces. They replace those with their keys.
    pub fn objects(&mut self, objects: impl IntoIterator<Item = Object>) {
        let Snapshot { policies, namespaces, .. } = &mut self.cluster.snapshot;
        for object in objects {
            match object {
                Object::NetworkPolicy(one) => drop(policies.insert(one.key.clone(), one)),
                Object::Namespace(one) => drop(namespaces.insert(one.name.clone(), one)),
                Object::Pod(one) => drop(self.pods.insert(one.key.clone(), one)),
                // Answers are about the primary network.
                Object::MultiNetworkPolicy(_) => {}
            }
        }
    }

    /// Adds related objects. A workload replaces the pods of one with its kind and key.
    pub fn related(&mut self, related: impl IntoIterator<Item = Related>) {
        for one in related {
            match one {
                Related::Pod(PodDetails { key, owner, listens }) => {
                    self.cluster.listens.insert(key.clone(), listens);
                    match owner {
                        Some(owner) => drop(self.owners.insert(key, owner)),
                        None => drop(self.owners.remove(&key)),
                    }
                }
                Related::Workload(one) => self.workload(*one),
                Related::Service(key, one) => drop(self.cluster.services.insert(key, one)),
                Related::Ingress(key, one) => drop(self.cluster.ingresses.insert(key, one)),
                Related::Endpoints(key, one) => {
                    let all = self.cluster.endpoints.entry(key).or_default();
                    all.addresses.extend(one.addresses);
                    all.ports.extend(one.ports);
                    all.ports.sort_unstable();
                    all.ports.dedup();
                }
                Related::Node(one) => drop(self.cluster.nodes.insert(one.name.clone(), one)),
            }
        }
    }

    fn workload(&mut self, one: WorkloadTemplate) {
        let id = (one.workload.kind.clone(), one.workload.key.clone());
        if self.cluster.templates.contains_key(&id) {
            // It was of the API server, and files have another version: so are its pods.
            let gone: Vec<ObjectKey> = self
                .pods
                .keys()
                .filter(|pod| {
                    let root = self.owner(pod);
                    root.is_some_and(|root| (root.kind, root.key) == id)
                })
                .cloned()
                .collect();
            for key in gone {
                self.pods.remove(&key);
                self.cluster.listens.remove(&key);
            }
        }
        self.cluster.templates.insert(id, one);
    }

    /// The cluster, for changes that do not depend on one another.
    pub fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// The topmost workload of a pod, such as a Deployment.
    fn owner(&self, pod: &ObjectKey) -> Option<Workload> {
        let mut owner = self.owners.get(pod)?.clone();
        // A Deployment has ReplicaSets and a CronJob has Jobs. More steps are a mistake.
        for _ in 0..4 {
            let id = (owner.kind.clone(), owner.key.clone());
            let Some(template) = self.cluster.templates.get(&id) else { break };
            owner.replicas = template.workload.replicas;
            match &template.owner {
                Some(above) => owner = above.clone(),
                None => break,
            }
        }
        Some(owner)
    }

    /// The cluster. `written`: the namespaces that an object has.
    pub fn finish(mut self, made_up: MadeUp, written: &BTreeSet<String>) -> Cluster {
        let pods = self.pods.keys().cloned().collect::<Vec<_>>();
        for key in pods {
            if let Some(owner) = self.owner(&key) {
                self.cluster.workloads.insert(key, owner);
            }
        }
        self.templates_to_pods();
        let Self { mut cluster, pods, mode, now, .. } = self;
        cluster.snapshot.pods = pods.into_iter().collect();
        give_addresses(&mut cluster, made_up);
        assume_namespaces(&mut cluster, written);
        cluster.snapshot = policy::with_modes(&cluster.snapshot, mode, now);
        let audited = cluster.snapshot.policies.values().filter(|one| !one.is_enforced()).count();
        if audited > 0 {
            cluster.notices.push(format!(
                "{audited} {} in audit (nftpol.dev/mode) and drop nothing; what passes is told as \
                 if they were not there",
                if audited == 1 { "policy is" } else { "policies are" }
            ));
        }
        cluster
    }

    /// A pod for each workload of which there is none.
    fn templates_to_pods(&mut self) {
        let has_pod: BTreeSet<(String, ObjectKey)> = self
            .cluster
            .workloads
            .values()
            .map(|one| (one.kind.clone(), one.key.clone()))
            .collect();
        for (id, template) in &self.cluster.templates {
            // What a Deployment or CronJob of the input makes is not another workload.
            let is_top = template.owner.as_ref().is_none_or(|owner| {
                !self.cluster.templates.contains_key(&(owner.kind.clone(), owner.key.clone()))
            });
            // A workload of a cluster that has no pod now is scaled to nothing, or is a Job
            // that ended; it counts, because it may have one at any time.
            if !is_top || has_pod.contains(id) || self.is_old(template) {
                continue;
            }
            let mut key = id.1.clone();
            if self.pods.contains_key(&key) {
                key.name = format!("{}-{}", key.name, id.0.to_lowercase());
            }
            let pod = Pod { key: key.clone(), ..template.pod.clone() };
            self.pods.insert(key.clone(), Arc::new(pod));
            self.cluster.listens.insert(key.clone(), template.listens.clone());
            self.cluster.workloads.insert(key, template.workload.clone());
        }
    }

    /// Whether it is a former version that a Deployment or a CronJob keeps: a ReplicaSet or
    /// Job of a workload that is not in the input is not.
    fn is_old(&self, template: &WorkloadTemplate) -> bool {
        template.owner.is_some() && template.workload.replicas == Some(0)
    }
}

/// Gives addresses of both families to pods that live and have none.
fn give_addresses(cluster: &mut Cluster, made_up: MadeUp) {
    cluster.made_up = made_up;
    let mut free = Free::new(cluster, made_up);
    let lacking = cluster.snapshot.pods.values().filter(|pod| {
        pod.addresses.is_empty() && !matches!(pod.phase, Phase::Succeeded | Phase::Failed)
    });
    let lacking: Vec<Arc<Pod>> = lacking.cloned().collect();
    let count = lacking.len();
    for pod in lacking {
        let mut pod = Pod::clone(&pod);
        pod.addresses = free.next();
        if pod.host_network {
            pod.host_addresses.clone_from(&pod.addresses);
        }
        cluster.symbolic.insert(pod.key.clone());
        cluster.snapshot.pods.insert(pod.key.clone(), Arc::new(pod));
    }
    if count > 0 && !made_up.is_given && has_blocks(&cluster.snapshot) {
        cluster.notices.push(format!(
            "{count} {} no address here, so it is not known which ipBlock holds them; they count \
             as outside of every private network (--pod-cidr tells)",
            if count == 1 { "pod has" } else { "pods have" }
        ));
    }
}

fn has_blocks(snapshot: &Snapshot) -> bool {
    let mut rules = snapshot
        .policies
        .values()
        .flat_map(|policy| [&policy.ingress, &policy.egress].into_iter().flatten().flatten());
    rules.any(|rule| match &rule.peers {
        Peers::Anyone => false,
        Peers::Only(peers) => peers.iter().any(|peer| match peer {
            Peer::IpBlock(_) => true,
            Peer::Pods(_) => false,
        }),
    })
}

/// Addresses that nobody has.
struct Free {
    made_up: MadeUp,
    taken: BTreeSet<IpAddr>,
    next: u32,
}

impl Free {
    fn new(cluster: &Cluster, made_up: MadeUp) -> Self {
        let pods = cluster.snapshot.pods.values();
        let taken = pods.flat_map(|pod| pod.addresses.iter().chain(&pod.host_addresses));
        Self { made_up, taken: taken.copied().collect(), next: 0 }
    }

    /// One of each family, as long as there are any.
    fn next(&mut self) -> Vec<IpAddr> {
        loop {
            self.next += 1;
            let (ipv4, ipv6) = (self.made_up.ipv4, self.made_up.ipv6);
            let one = ipv4.network().to_bits().checked_add(self.next).map(Ipv4Addr::from_bits);
            let one = one.filter(|address| ipv4.contains(address)).map(IpAddr::V4);
            let six = ipv6.network().to_bits().checked_add(self.next.into());
            let six = six.map(Ipv6Addr::from_bits).filter(|address| ipv6.contains(address));
            let both: Vec<IpAddr> = one.into_iter().chain(six.map(IpAddr::V6)).collect();
            if both.iter().all(|address| !self.taken.contains(address)) {
                return both;
            }
        }
    }
}

/// Makes the namespaces that are used and that no object is of.
fn assume_namespaces(cluster: &mut Cluster, written: &BTreeSet<String>) {
    let Snapshot { policies, pods, namespaces, .. } = &mut cluster.snapshot;
    let used: BTreeSet<String> =
        policies.keys().chain(pods.keys()).map(|key| key.namespace.clone()).collect();
    for name in used.into_iter().filter(|name| !written.contains(name)) {
        cluster.notices.push(format!(
            "namespace {name} is not in the input; it counts as one without labels but \
             kubernetes.io/metadata.name"
        ));
        let namespace = Arc::new(Namespace::synthesised(&name));
        namespaces.insert(name.clone(), namespace);
        cluster.assumed_namespaces.insert(name);
    }
}

/// The cluster with a second pod for each workload that may have several and of which the
/// input has only the template: a pod reaches itself, and the other one perhaps not.
pub fn twins(cluster: &Cluster) -> Cluster {
    let mut with = cluster.clone();
    let mut free = Free::new(cluster, cluster.made_up);
    for (key, workload) in &cluster.workloads {
        let one = cluster.snapshot.pods.get(key).filter(|_| cluster.symbolic.contains(key));
        let (Some(one), false) = (one, workload.replicas == Some(1)) else { continue };
        let mut twin = Pod::clone(one);
        // No name of an object has a space.
        twin.key.name = format!("{} 2", twin.key.name);
        twin.addresses = free.next();
        if twin.host_network {
            twin.host_addresses.clone_from(&twin.addresses);
        }
        with.symbolic.insert(twin.key.clone());
        with.workloads.insert(twin.key.clone(), workload.clone());
        if let Some(listens) = cluster.listens.get(key) {
            with.listens.insert(twin.key.clone(), listens.clone());
        }
        with.snapshot.pods.insert(twin.key.clone(), Arc::new(twin));
    }
    with
}

/// The network of a `--pod-cidr`.
impl MadeUp {
    /// Takes addresses of a family from this network.
    pub fn within(&mut self, net: IpNet) {
        self.is_given = true;
        match net {
            IpNet::V4(net) => self.ipv4 = net,
            IpNet::V6(net) => self.ipv6 = net,
        }
    }
}
