//! Controllers create and remove pods while addresses change owners.
//!
//! Where a scene says so, a node reuses its addresses from the lowest on. By default
//! the plugin `host-local` goes through its whole range first.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use kubebed::kubernetes::AGNHOST;
use netbed::testbed::Endpoint;
use serde_json::{Value, json};

use crate::scene::{HTTP, Scene, Try, WAIT, addresses, hold, namespace, pod, policy, serving};

const NAMESPACE: &str = "work";
/// The largest number of pods of one Deployment.
const MANY: &str = "--replicas=8";

/// The pods that connect to the pods of Deployments.
struct Clients {
    friend: Endpoint,
    stranger: Endpoint,
}

impl Scene {
    pub fn workloads(&mut self) -> Result<()> {
        // They hold the lowest addresses. While they live, these are not reused.
        let others = "--field-selector=metadata.namespace!=kube-system";
        let others = ["get", "pods", "--all-namespaces", others, "--output=name"];
        self.until("pods of other scenes are gone", || Ok(self.kubectl(&others)?.is_empty()))?;
        for node in self.kubernetes.cluster().nodes() {
            self.kubernetes.reuse_addresses(&node.name)?;
        }
        let server = json!({"matchLabels": {"app": "server"}});
        let from = json!([{"podSelector": {"matchLabels": {"role": "friend"}}}]);
        let spec = json!({"podSelector": server, "ingress": [{"from": from}]});
        self.put(&[
            namespace(NAMESPACE, json!({})),
            policy("work/friends", spec)?,
            pod("work/friend", "node-2", json!({"role": "friend"}))?,
            pod("work/stranger", "node-2", json!({"role": "stranger"}))?,
            pod("work/server", "node-1", json!({"app": "server"}))?,
            deployment("server"),
            deployment("open"),
        ])?;
        self.pods_ready(NAMESPACE)?;
        let clients = Clients {
            friend: self.kubernetes.pod("work/friend")?,
            stranger: self.kubernetes.pod("work/stranger")?,
        };
        self.deployments(&clients)?;
        self.job(&clients)?;
        self.stateful_set()?;
        self.remove(&[NAMESPACE])
    }

    fn deployments(&self, clients: &Clients) -> Result<()> {
        self.scale("server", "--replicas=2")?;
        self.judged(clients)?;
        self.scale("server", MANY)?;
        let closed = self.judged(clients)?;
        self.scale("server", "--replicas=3")?;
        self.judged(clients)?;
        self.work(&["rollout", "restart", "deployment/server"])?;
        self.work(&["rollout", "status", "deployment/server", WAIT])?;
        self.judged(clients)?;
        self.say("a Deployment scaled up, down and rolled");
        self.change_hands("server", "open", &closed)?;
        let open = self.judged(clients)?;
        let reused = closed.intersection(&open).count();
        ensure!(reused > 0, "no address of {closed:?} was used again: {open:?}");
        self.say(&format!("{reused} addresses of isolated pods went to open ones"));
        self.change_hands("open", "server", &open)?;
        let reused = self.judged(clients)?.intersection(&open).count();
        ensure!(reused > 0, "no address of {open:?} was used again");
        self.say(&format!("{reused} addresses of open pods went to isolated ones"));
        Ok(())
    }

    /// One Deployment's pods go, and the other Deployment gets their addresses.
    fn change_hands(&self, from: &str, to: &str, had: &BTreeSet<IpAddr>) -> Result<()> {
        self.scale(from, "--replicas=0")?;
        let nodes: Vec<&str> =
            self.kubernetes.cluster().nodes().map(|node| node.name.as_str()).collect();
        // A pod without a grace period leaves the API server before its address is
        // free.
        let free = || {
            for address in had {
                for node in &nodes {
                    if self.kubernetes.has_given(node, *address)? {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        };
        self.until("addresses are free", free)?;
        nodes.iter().try_for_each(|node| self.kubernetes.reuse_addresses(node))?;
        self.scale(to, MANY)
    }

    /// The friend reaches every running pod. The stranger reaches a pod unless it is
    /// isolated. Returns the addresses of the Deployments' pods.
    fn judged(&self, clients: &Clients) -> Result<BTreeSet<IpAddr>> {
        let pods = self.list(NAMESPACE, "pods", "of")?;
        let pods = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let (mut tries, mut all) = (Vec::new(), BTreeSet::new());
        for pod in pods {
            let isolated = pod["metadata"]["labels"]["app"] == "server";
            for address in addresses(pod) {
                all.insert(address);
                let to = SocketAddr::new(address, HTTP);
                for (from, passes) in [(&clients.friend, true), (&clients.stranger, !isolated)] {
                    let what = format!("{} to {}", from.name, pod["metadata"]["name"]);
                    tries.push(Try { what, from, to, passes });
                }
            }
        }
        hold(&tries)?;
        Ok(all)
    }

    /// The pod of a Job is a friend. It completes and keeps its address in its
    /// status. The next pod with this address is not a friend.
    fn job(&self, clients: &Clients) -> Result<()> {
        let server = SocketAddr::new(self.kubernetes.pod("work/server")?.addresses[0], HTTP);
        self.kubernetes.reuse_addresses("node-2")?;
        let friend = json!({"role": "friend", "name": "job"});
        let ends = json!({
            "nodeName": "node-2",
            "restartPolicy": "Never",
            // It prints its help and ends.
            "containers": [{"name": "main", "image": AGNHOST, "args": ["help"]}],
        });
        let template = json!({"metadata": {"labels": friend}, "spec": ends});
        let metadata = json!({"name": "done", "namespace": NAMESPACE});
        self.put(&[json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata,
            "spec": {"template": template},
        })])?;
        self.work(&["wait", "job/done", "--for=condition=Complete", WAIT])?;
        let done = self.list(NAMESPACE, "pods", "name=job")?;
        let done = done.first().context("the Job has no pod")?;
        assert_eq!(done["status"]["phase"], "Succeeded");
        let address = *addresses(done).first().context("a completed pod without address")?;
        let free = || Ok(!self.kubernetes.has_given("node-2", address)?);
        self.until("the address of a completed pod is free", free)?;
        self.in_no_set(address)?;
        self.kubernetes.reuse_addresses("node-2")?;
        self.put(&[pod("work/heir", "node-2", json!({}))?])?;
        self.work(&["wait", "pod/heir", "--for=condition=Ready", WAIT])?;
        let heir = self.kubernetes.pod("work/heir")?;
        ensure!(heir.addresses[0] == address, "{heir:?} lacks the address {address}");
        let still = self.list(NAMESPACE, "pods", "name=job")?;
        ensure!(still.iter().any(|pod| addresses(pod).contains(&address)), "{still:?}");
        let way = |from, passes| Try { what: "to the server".into(), from, to: server, passes };
        hold(&[way(&heir, false), way(&clients.friend, true)])?;
        self.say(&format!(
            "a completed Job's pod still names {address}: in no set, its heir is refused"
        ));
        Ok(())
    }

    /// The pod of a StatefulSet is a friend under its name, whatever its address.
    fn stateful_set(&self) -> Result<()> {
        let server = SocketAddr::new(self.kubernetes.pod("work/server")?.addresses[0], HTTP);
        let labels = json!({"role": "friend", "name": "stateful"});
        let metadata = json!({"name": "db", "namespace": NAMESPACE});
        let template = json!({"metadata": {"labels": labels}, "spec": serving()});
        self.put(&[json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata,
            "spec": {
                "serviceName": "db", "replicas": 1,
                "selector": {"matchLabels": {"name": "stateful"}}, "template": template,
            },
        })])?;
        let rolled = ["rollout", "status", "statefulset/db", WAIT];
        self.work(&rolled)?;
        let passes = |from: &Endpoint| {
            hold(&[Try {
                what: format!("{} to the server", from.name),
                from,
                to: server,
                passes: true,
            }])
        };
        let first = self.kubernetes.pod("work/db-0")?;
        passes(&first)?;
        self.work(&["delete", "pod", "db-0"])?;
        self.work(&rolled)?;
        let again = || Ok(self.kubernetes.pod("work/db-0").is_ok());
        self.until("the pod has an address", again)?;
        let second = self.kubernetes.pod("work/db-0")?;
        let (old, new) = (first.addresses[0], second.addresses[0]);
        ensure!(old != new, "the pod kept its address {old}");
        passes(&second)?;
        self.in_no_set(old)?;
        self.say(&format!(
            "a StatefulSet's pod came back with {new} for {old}, which is in no set"
        ));
        Ok(())
    }

    /// Waits until no node's table contains this address.
    fn in_no_set(&self, address: IpAddr) -> Result<()> {
        let address = address.to_string();
        let of_address = |c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':');
        let gone = || {
            for node in self.kubernetes.cluster().nodes() {
                let list = ["nft", "list", "table", "inet", "nftpol"];
                let table = self.kubernetes.exec(&node.name, &list)?.success()?;
                if table.split(of_address).any(|word| word == address) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        self.until(&format!("{address} is gone from the tables"), gone)
    }

    fn scale(&self, deployment: &str, replicas: &str) -> Result<()> {
        let deployment = format!("deployment/{deployment}");
        self.work(&["scale", &deployment, replicas])?;
        self.work(&["rollout", "status", &deployment, WAIT])
    }

    fn work(&self, words: &[&str]) -> Result<()> {
        self.kubectl(&[&["-n", NAMESPACE], words].concat()).map(drop)
    }
}

/// Without pods at first.
fn deployment(name: &str) -> Value {
    let labels = json!({"app": name, "of": name});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": serving()},
        },
    })
}
