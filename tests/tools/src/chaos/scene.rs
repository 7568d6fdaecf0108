//! The cluster, and how its objects change.
//!
//! The pods of the namespace `dev` have interfaces, and packets are sent between them. Their
//! policies are in every state of the plan. Around them is a random cluster of objects
//! without interfaces, on the same node and on another, which collide with each other.
//! Everything is written into etcd, so that any change is possible.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kubebed::apiserver::ApiServer;
use policy::{
    Labels, Namespace, NetworkPolicy, ObjectKey, Operator, Pod, Requirement, Selector, Snapshot,
};
use samples::objects;
use samples::random::{Draws, Edit, NODES};
use samples::testbed_spec::{Families, Network, TestbedSpec};

use super::dice::Dice;

/// The node with the agent.
pub const NODE: &str = NODES[0].0;
/// The namespace of the pods that packets are sent between.
pub const DEV: &str = "dev";
/// Its pods. Nobody may reach the first, and the second may reach nobody.
pub const PODS: [&str; 5] = ["victim", "prisoner", "stranger", "control", "third"];

/// What holds always, and what comes and goes.
const POLICIES: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: victim, namespace: dev}
spec:
  podSelector: {matchLabels: {app: victim}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: third}}}], ports: [{port: 80}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: prisoner, namespace: dev}
spec:
  podSelector: {matchLabels: {app: prisoner}}
  policyTypes: [Egress]
";
const SOMETIMES: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: sometimes, namespace: dev}
spec:
  podSelector: {matchExpressions: [{key: app, operator: In, values: [victim, prisoner]}]}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{namespaceSelector: {matchLabels: {app: x}}}]}]
  egress: [{to: [{podSelector: {matchLabels: {app: third}}}], ports: [{port: 53, protocol: UDP}]}]
";

/// The cluster with its wires.
pub fn spec(dice: &mut Dice) -> TestbedSpec {
    let network = dice.one_of(&[Network::Bridge, Network::Routed]);
    let spec = TestbedSpec::new(network, &[NODE]).namespace(DEV, &[]);
    PODS.iter().fold(spec, |spec, name| spec.pod(DEV, name, &[("app", name)], Families::Both, &[]))
}

/// The objects, as they are in etcd.
pub struct Scene {
    objects: Snapshot,
    /// The objects of `dev` when all are there.
    dev: Snapshot,
    draws: Draws,
    dice: Dice,
    /// How many changes there were.
    pub changes: u64,
    /// The last changes.
    lately: VecDeque<(Instant, String)>,
}

/// Policies of [`Scene::fill`].
const FILLERS: usize = 1500;
/// Changes that a failure shows.
const LATELY: usize = 20;

impl Scene {
    /// Writes the first objects.
    ///
    /// # Errors
    /// When etcd refuses them.
    pub fn new(server: &ApiServer, spec: &TestbedSpec, seed: u64) -> Result<Self> {
        let mut draws = Draws::new(seed);
        let dev = objects::snapshot(spec, &format!("{POLICIES}---\n{SOMETIMES}"))?;
        let mut all = draws.crowd();
        all.kept.clear();
        for name in ["a", "a-b", "c"] {
            let fresh = Namespace {
                name: name.to_owned(),
                labels: Labels::new(),
                is_ending: false,
                switch: Default::default(),
            };
            let fresh = Arc::new(fresh.with_metadata_name());
            all.namespaces.entry(name.to_owned()).or_insert(fresh);
        }
        all.pods.extend(dev.pods.clone());
        all.policies.extend(dev.policies.clone());
        all.namespaces.extend(dev.namespaces.clone());
        server.store_changes(&Snapshot::default(), &all)?;
        Ok(Self {
            objects: all,
            dev,
            draws,
            dice: Dice::new(seed),
            changes: 0,
            lately: VecDeque::new(),
        })
    }

    /// The objects.
    pub fn objects(&self) -> &Snapshot {
        &self.objects
    }

    /// The last changes of objects, for a failure.
    pub fn lately(&self, start: Instant) -> String {
        let line = |(when, what): &(Instant, String)| {
            format!("{:9.3} s  {what}\n", (*when - start).as_secs_f64())
        };
        self.lately.iter().map(line).collect()
    }

    /// Changes something. Returns how long to wait before the next change.
    ///
    /// # Errors
    /// When etcd refuses it.
    pub fn change(&mut self, server: &ApiServer) -> Result<Duration> {
        let before = self.objects.clone();
        for _ in 0..=self.dice.below(3) {
            match self.dice.one_in(4) {
                true => self.change_dev()?,
                false => self.change_crowd(),
            }
        }
        self.changes += 1;
        self.lately.push_back((Instant::now(), changed(&before, &self.objects)));
        while self.lately.len() > LATELY {
            self.lately.pop_front();
        }
        server.store_changes(&before, &self.objects).context("change the objects")?;
        Ok(self.dice.time(20, 170))
    }

    fn change_crowd(&mut self) {
        let edit = self.draws.upheaval();
        // What is kept of a namespace that is gone is told by the order of two watches.
        if matches!(edit, Edit::DeleteNamespace(_)) {
            return;
        }
        let mut crowd = self.objects.clone();
        let is_dev = |key: &ObjectKey| key.namespace == DEV;
        crowd.pods = crowd.pods.into_iter().filter(|(key, _)| !is_dev(key)).collect();
        crowd.policies = crowd.policies.into_iter().filter(|(key, _)| !is_dev(key)).collect();
        crowd.namespaces.remove(DEV);
        edit.apply(&mut crowd);
        crowd.kept.clear();
        let dev = &self.objects;
        crowd.pods.extend(dev.pods.iter().filter(|(key, _)| is_dev(key)).map(cloned));
        crowd.policies.extend(dev.policies.iter().filter(|(key, _)| is_dev(key)).map(cloned));
        crowd.namespaces.extend(dev.namespaces.iter().filter(|(key, _)| *key == DEV).map(cloned));
        self.objects = crowd;
    }

    fn change_dev(&mut self) -> Result<()> {
        let dice = &mut self.dice;
        match dice.below(4) {
            // By force, while the pod runs on; and back.
            0 => {
                let key = ObjectKey::new(DEV, dice.one_of(&PODS[..2]));
                if self.objects.pods.remove(&key).is_none() {
                    let pod = self.dev.pods.get(&key).context("a pod of dev")?;
                    self.objects.pods.insert(key, Arc::clone(pod));
                }
            }
            1 => {
                let key = ObjectKey::new(DEV, "sometimes");
                if self.objects.policies.remove(&key).is_none() {
                    let policy = self.dev.policies.get(&key).context("a policy of dev")?;
                    self.objects.policies.insert(key, Arc::clone(policy));
                }
            }
            2 => {
                let key = ObjectKey::new(DEV, dice.one_of(&PODS));
                let Some(pod) = self.objects.pods.get_mut(&key) else { return Ok(()) };
                let labels = [("app", key.name.as_str()), ("tier", dice.one_of(&["x", "y"]))];
                let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
                *pod = Arc::new(Pod { labels, ..Pod::clone(pod) });
            }
            _ => {
                // Not `app: x`, which would let its pods in.
                let labels: Labels =
                    [("tier".to_owned(), dice.one_of(&["x", "y"]).to_owned())].into();
                let namespace = Namespace {
                    name: DEV.to_owned(),
                    labels,
                    is_ending: false,
                    switch: Default::default(),
                };
                let namespace = Arc::new(namespace.with_metadata_name());
                self.objects.namespaces.insert(DEV.to_owned(), namespace);
            }
        }
        Ok(())
    }

    /// These are the objects again.
    pub fn went_back(&mut self, objects: Snapshot) {
        self.objects = objects;
    }

    /// Many policies that select nobody come, so that the agent needs more memory; or go.
    ///
    /// # Errors
    /// When etcd refuses it.
    pub fn fill(&mut self, server: &ApiServer, filled: bool) -> Result<()> {
        let before = self.objects.clone();
        for number in 0..FILLERS {
            let key = ObjectKey::new("c", format!("filler-{number}"));
            if filled {
                let values = (0..50).map(|value| format!("nobody-{number}-{value}")).collect();
                let nobody = Requirement { key: "app".to_owned(), operator: Operator::In(values) };
                let pod_selector = Selector::new([nobody]);
                let policy = NetworkPolicy { pod_selector, ..NetworkPolicy::shut(key.clone()) };
                self.objects.policies.insert(key, Arc::new(policy));
            } else {
                self.objects.policies.remove(&key);
            }
        }
        server.store_changes(&before, &self.objects)
    }

    /// A pod with an interface comes or goes.
    ///
    /// # Errors
    /// When etcd refuses it.
    pub fn pod(&mut self, server: &ApiServer, key: &ObjectKey, pod: Option<Pod>) -> Result<()> {
        let before = self.objects.clone();
        match pod {
            Some(pod) => drop(self.objects.pods.insert(key.clone(), Arc::new(pod))),
            None => drop(self.objects.pods.remove(key)),
        }
        server.store_changes(&before, &self.objects)
    }
}

/// What differs, for people.
fn changed(before: &Snapshot, after: &Snapshot) -> String {
    let mut words = Vec::new();
    let differing = before.diff(after);
    for key in &differing.pods {
        let reports = |pod: &Arc<Pod>| format!("{:?} on {:?}", pod.addresses, pod.node);
        let now = after.pods.get(key).map_or("gone".to_owned(), reports);
        words.push(format!("pod {key} {now}"));
    }
    for key in &differing.policies {
        let now = if after.policies.contains_key(key) { "set" } else { "gone" };
        words.push(format!("policy {key} {now}"));
    }
    words.extend(differing.namespaces.iter().map(|name| format!("namespace {name}")));
    words.join("; ")
}

fn cloned<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}
