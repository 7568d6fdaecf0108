//! Pods with a second interface, of kind macvlan, under MultiNetworkPolicy.
//!
//! In: a cluster whose pods have a second network, with `manifests/overlays/multi-network`.
//! Out: which pods reach which by their second addresses, and that their primary ones go
//! their own way; how many denied datagrams were answered while policies change and agents
//! start again. Multus is not there: a plugin of the tests stands for it
//! (`kubebed::kubernetes::second`).

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kubebed::kubernetes::{Kubernetes, Options, second};
use netbed::testbed::Endpoint;
use serde_json::{Value, json};

use crate::agents::pod_agents_privileges;
use crate::macvlan::{OPEN, SERVER, cast, flows, policies, tries};
use crate::scene::{HTTP, Scene, Try, WAIT, hold, policy};

const STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// How often the policy changes under traffic.
const EDITS: usize = 10;

/// Plays it in a cluster of its own.
pub fn secondary(say: &dyn Fn(&str)) -> Result<()> {
    let options = Options::read(&["--second-network", "--dual-stack"])?;
    say(&options.to_string());
    let kubernetes = Kubernetes::up(options, say)?;
    let mut scene = Scene { kubernetes, start: Instant::now() };
    if let Err(error) = scene.second_wire() {
        scene.last_words();
        return Err(error);
    }
    scene.kubernetes.check()
}

impl Scene {
    fn second_wire(&mut self) -> Result<()> {
        self.apply("multi-network/crd.yaml")?;
        let wait = ["wait", "--for=condition=Established", "crd", "--all", WAIT];
        self.kubectl(&wait)?;
        self.put(&cast()?)?;
        self.put(&for_second(policies()?))?;
        self.pods_ready("wire")?;
        let first = self.pods_of_wire()?;
        let second = self.by_second_addresses(&first)?;
        for pods in [&first, &second] {
            hold(&tries(self, pods, |_| true)?).context("without nftpol all pass")?;
        }
        self.say("without nftpol: all pass, by both addresses");
        self.kubernetes.deploy()?;
        hold(&tries(self, &second, |allowed| allowed)?).context("with the pod agent")?;
        hold(&tries(self, &first, |_| true)?).context("the primary network is not theirs")?;
        self.say(
            "with the pod agent: the second addresses as the policies say, the first all open",
        );
        for node in self.kubernetes.cluster().nodes() {
            let shown = pod_agents_privileges(&node.namespace).context(node.name.clone())?;
            self.say(&format!("{}: {shown}", node.name));
        }
        let asked = flows(self, &second)?;
        self.answered(&asked, "at rest")?;
        for edit in 0..EDITS {
            self.put(&for_second(vec![same(edit)?]))?;
            sleep(Duration::from_millis(300));
        }
        self.answered(&asked, &format!("{EDITS} edits of the policy"))?;
        let agent = "daemonset/nftpol-pods";
        self.kubectl(&["-n", "kube-system", "rollout", "restart", agent])?;
        self.kubectl(&["-n", "kube-system", "rollout", "status", agent, WAIT])?;
        self.answered(&asked, "nftpol-pods started again")?;
        drop(asked);
        self.network_policy_stays_apart(&first, &second)?;
        self.kubectl(&["-n", "wire", "label", "pod", "stranger", "role=friend"])?;
        let all = tries(self, &second, |allowed| allowed)?;
        let friend = |one: &Try<'_>| one.what == "wire/stranger";
        let all = all.into_iter().map(|one| Try { passes: one.passes || friend(&one), ..one });
        hold(&all.collect::<Vec<_>>()).context("after a label changed")?;
        self.say("a label changed: as the policies say");
        self.remove(&["wire"])
    }

    /// A NetworkPolicy shuts a pod's first address, and leaves the second open.
    fn network_policy_stays_apart(&self, first: &[Endpoint], second: &[Endpoint]) -> Result<()> {
        let open = json!({"matchLabels": {"app": "open"}});
        let shut = policy("wire/shut", json!({"podSelector": open, "policyTypes": ["Ingress"]}))?;
        self.put(&[shut])?;
        let mut all = tries(self, second, |allowed| allowed)?;
        let own = first.iter().find(|one| one.name == OPEN).context("no such pod")?;
        let from = first.iter().find(|one| one.name == "wire/stranger").context("no such pod")?;
        let to = own.addresses.iter().map(|address| SocketAddr::new(*address, HTTP));
        all.extend(to.map(|to| Try { what: "by the first".to_owned(), from, to, passes: false }));
        hold(&all).context("under a NetworkPolicy")?;
        self.say("a NetworkPolicy: the first address is shut, the second ones as before");
        self.kubectl(&["-n", "wire", "delete", "networkpolicy", "shut"]).map(drop)
    }

    /// The same pods, by the addresses in their annotation.
    fn by_second_addresses(&self, pods: &[Endpoint]) -> Result<Vec<Endpoint>> {
        pods.iter()
            .map(|pod| {
                let addresses = self.second_addresses(&pod.name)?;
                let Endpoint { name, .. } = pod;
                let own = self.kubernetes.pod(name)?;
                Ok(Endpoint { addresses, ..own })
            })
            .collect()
    }

    fn second_addresses(&self, name: &str) -> Result<Vec<IpAddr>> {
        let (namespace, pod) = name.split_once('/').context("no namespace")?;
        let object = self.kubectl(&["-n", namespace, "get", "pod", pod, "-o", "json"])?;
        let object: Value = serde_json::from_str(&object)?;
        let status = object["metadata"]["annotations"][STATUS].as_str().context("no status")?;
        let status: Value = serde_json::from_str(status).context("the annotation")?;
        let mut entries = status.as_array().context("no list")?.iter();
        let entry = entries.find(|one| one["name"] == second::NAME).context("not on it")?;
        let addresses = entry["ips"].as_array().into_iter().flatten();
        Ok(addresses.filter_map(|one| one.as_str()?.parse().ok()).collect())
    }
}

/// The same policies for the second network.
fn for_second(policies: Vec<Value>) -> Vec<Value> {
    let each = policies.into_iter().map(|mut policy| {
        policy["apiVersion"] = "k8s.cni.cncf.io/v1beta1".into();
        policy["kind"] = "MultiNetworkPolicy".into();
        policy["metadata"]["annotations"] = json!({"k8s.v1.cni.cncf.io/policy-for": second::NAME});
        policy
    });
    each.collect()
}

/// The policy of the server, in one of two forms that mean the same for the pods.
fn same(edit: usize) -> Result<Value> {
    let friends = match edit % 2 {
        0 => {
            json!([{"podSelector": {"matchExpressions": [{"key": "role", "operator": "Exists"}]}}])
        }
        _ => json!([{"podSelector": {"matchLabels": {"role": "friend"}}}]),
    };
    let server = SERVER.rsplit('/').next();
    policy(
        "wire/friends",
        json!({"podSelector": {"matchLabels": {"app": server}}, "ingress": [{"from": friends}]}),
    )
}
