//! From objects to a [`Cluster`]: workloads become pods, and what is missing is made up.
//!
//! In: objects of files and of an API server. Those of files come last and replace others.
//! Out: a cluster of which every pod has addresses and a namespace.
//! Never: a made-up thing without a notice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use policy::{Mode, Namespace, Now, ObjectKey, Pod, Snapshot};
use watcher::Object;
use watcher::related::{PodDetails, Related, Workload, WorkloadTemplate};

use super::Cluster;
use super::addresses::{Free, MadeUp, attach, give_addresses};
use super::network::audited;

/// Collects objects.
#[derive(Debug, Default)]
pub struct Builder {
    cluster: Cluster,
    /// Whose each pod is, as the pod says.
    owners: BTreeMap<ObjectKey, Workload>,
    /// The pods that objects of pods are of.
    pods: BTreeMap<ObjectKey, Arc<Pod>>,
    /// The further networks that pods ask for.
    asked_networks: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
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
        let Snapshot { policies, multi_policies, namespaces, .. } = &mut self.cluster.snapshot;
        for object in objects {
            match object {
                Object::NetworkPolicy(one) => drop(policies.insert(one.key.clone(), one)),
                Object::Namespace(one) => drop(namespaces.insert(one.name.clone(), one)),
                Object::Pod(one) => drop(self.pods.insert(one.key.clone(), one)),
                Object::MultiNetworkPolicy(one) => {
                    multi_policies.insert(one.policy.key.clone(), one);
                }
            }
        }
    }

    /// Adds related objects. A workload replaces the pods of one with its kind and key.
    pub fn related(&mut self, related: impl IntoIterator<Item = Related>) {
        for one in related {
            match one {
                Related::Pod(PodDetails { key, owner, listens, networks }) => {
                    self.asked_networks.insert(key.clone(), networks);
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
                Related::Network(key) => drop(self.cluster.declared_networks.insert(key)),
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
        let Self { mut cluster, pods, asked_networks, mode, now, .. } = self;
        cluster.snapshot.pods = pods.into_iter().collect();
        give_addresses(&mut cluster, made_up);
        attach(&mut cluster, &asked_networks);
        assume_namespaces(&mut cluster, written);
        cluster.snapshot = policy::with_modes(&cluster.snapshot, mode, now);
        let audited = audited(&cluster.snapshot);
        cluster.notices.extend(audited);
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
            self.asked_networks.insert(key.clone(), template.networks.clone());
            self.cluster.workloads.insert(key, template.workload.clone());
        }
    }

    /// Whether it is a former version that a Deployment or a CronJob keeps: a ReplicaSet or
    /// Job of a workload that is not in the input is not.
    fn is_old(&self, template: &WorkloadTemplate) -> bool {
        template.owner.is_some() && template.workload.replicas == Some(0)
    }
}

/// Makes the namespaces that are used and that no object is of.
fn assume_namespaces(cluster: &mut Cluster, written: &BTreeSet<String>) {
    let Snapshot { policies, multi_policies, pods, namespaces, .. } = &mut cluster.snapshot;
    let used = policies.keys().chain(multi_policies.keys()).chain(pods.keys());
    let used: BTreeSet<String> = used.map(|key| key.namespace.clone()).collect();
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
