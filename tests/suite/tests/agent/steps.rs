//! Changes made with kubectl reach the packets. The test shows which changes, and
//! when.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use kubebed::world::{World, soon, soon_as};
use netbed::net::Namespace;
use netbed::probe::Knock;
use netbed::program;
use netbed::scenario::{Scenario, allowed};
use policy::{Kept, KeptFor, ObjectKey, Phase, Pod, Snapshot};
use samples::fixtures;
use samples::testbed_spec::Network;

const KNOCKS: [Knock; 3] = [Knock::Tcp(80), Knock::Tcp(8080), Knock::Udp(53)];

const ISOLATED: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress: []
";

/// Ports, a pod selector, a namespace selector and an ipBlock.
const ALLOWING: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress:
  - from:
    - podSelector: {matchLabels: {role: friend}}
    - namespaceSelector: {matchLabels: {circle: friends}}
    - ipBlock: {cidr: 192.168.77.0/24}
    ports: [{port: 80}]
";

/// Each step of users and of the cluster itself, on two nodes. After each step, all
/// pairs match what the specification says about the objects on the API server.
#[test]
fn whatever_changes_in_the_cluster_reaches_the_packets() -> Result<()> {
    let world = World::new(fixtures::town(Network::Bridge, &["node-1", "node-2"]), "as")?;
    let scenario = Scenario::new(&world.cluster, &KNOCKS)?;
    let _agents = world.agents()?;
    let mut table = Table::new(&world, &scenario)?;
    let kubectl = |arguments: &[&str], input: &str| {
        world.server.kubectl(arguments, input)?.success().map(drop)
    };
    let cart = world.cluster.spec().pods().into_iter().find(|pod| pod.key.name == "cart");
    let cart = cart.context("a pod cart")?;

    table.step("kubectl apply: isolates", || kubectl(&["apply", "-f", "-"], ISOLATED))?;
    table.step("kubectl apply: the same, edited", || kubectl(&["apply", "-f", "-"], ALLOWING))?;
    let label = ["label", "pod", "-n", "shop", "pay", "role=friend"];
    table.step("kubectl label pod: a peer now", || kubectl(&label, ""))?;
    let unlabel = ["label", "pod", "-n", "shop", "pay", "role-"];
    table.step("kubectl label pod: no longer a peer", || kubectl(&unlabel, ""))?;
    let label = ["label", "namespace", "dev", "circle=friends"];
    table.step("kubectl label namespace: all its pods", || kubectl(&label, ""))?;
    let unlabel = ["label", "namespace", "dev", "circle-"];
    table.step("kubectl label namespace: none of its pods", || kubectl(&unlabel, ""))?;
    let ports =
        r#"[{"op": "replace", "path": "/spec/ingress/0/ports", "value": [{"port": 8080}]}]"#;
    let edit = ["patch", "networkpolicy", "-n", "shop", "web", "--type=json", "-p", ports];
    table.step("kubectl patch: another port", || kubectl(&edit, ""))?;
    let label = ["label", "pod", "-n", "shop", "cart", "app=other", "--overwrite"];
    table.step("kubectl label pod: no longer selected", || kubectl(&label, ""))?;
    let label = ["label", "pod", "-n", "shop", "cart", "app=cart", "--overwrite"];
    table.step("kubectl label pod: selected again", || kubectl(&label, ""))?;
    // Its interface stays, so that it may still run: it is isolated as before, and no peer.
    table.keep(&cart);
    table.ends("the pod ends (Succeeded)", || {
        world.server.set_pods_status(&[Pod { phase: Phase::Succeeded, ..cart.clone() }])
    })?;
    let delete = ["delete", "pod", "-n", "shop", "cart", "--grace-period=0", "--force"];
    table.ends("kubectl delete pod --force", || kubectl(&delete, ""))?;
    table.kept.clear();
    let successor = Pod { key: ObjectKey::new("dev", "successor"), ..cart.clone() };
    table.step("its address goes to a pod of another namespace, with a policy", || {
        world.server.create_pods(std::slice::from_ref(&successor))?;
        kubectl(&["apply", "-f", "-"], &ISOLATED.replace("namespace: shop", "namespace: dev"))
    })?;
    table.step("back to the first pod", || {
        world.server.delete_pods(std::slice::from_ref(&successor.key))?;
        world.server.create_pods(std::slice::from_ref(&cart))
    })?;
    let label = ["label", "namespace", "dev", "circle=friends"];
    table.step("kubectl label namespace: its pods are peers again", || kubectl(&label, ""))?;
    table.step("kubectl delete namespace, with all in it", || {
        let pods: Vec<ObjectKey> =
            world.cluster.spec().pods().into_iter().map(|pod| pod.key).collect();
        let inside: Vec<ObjectKey> =
            pods.into_iter().filter(|key| key.namespace == "dev").collect();
        kubectl(&["delete", "networkpolicy", "-n", "dev", "--all"], "")?;
        world.server.delete_pods(&inside)?;
        world.server.delete_namespace("dev")
    })?;
    let delete = ["delete", "networkpolicy", "--all-namespaces", "--all"];
    table.step("kubectl delete networkpolicy --all", || kubectl(&delete, ""))?;
    table.print()
}

/// Applies the six policies of `fixtures/policies` one after another. Every table is
/// verified before it is sent.
#[test]
fn policies_applied_and_deleted() -> Result<()> {
    let world = World::new(fixtures::town(Network::Routed, &["node-1", "node-2"]), "ap")?;
    let scenario = Scenario::new(&world.cluster, &KNOCKS)?;
    let agents = world.agents_with(&["--verify"])?;
    let files = fixtures::files("policies")?;
    for (path, policies) in &files {
        world.server.apply(policies)?;
        soon(&world, &scenario).with_context(|| path.display().to_string())?;
        commands_agree(&world).with_context(|| path.display().to_string())?;
        world.server.kubectl(&["delete", "-f", "-"], policies)?.success()?;
    }
    let counts = soon(&world, &scenario)?;
    assert_eq!(counts.refused, 0);
    for agent in &agents {
        let proofs =
            ["equal", "failed"].map(|word| format!("nftpol_proofs_total{{result=\"{word}\"}}"));
        let [equal, failed] = proofs.map(|name| agent.metric(&name));
        assert!(equal? >= 2.0 * files.len() as f64);
        assert_eq!(failed?, 0.0);
    }
    Ok(())
}

/// Without manifests, commands read the cluster. On each node they find the table
/// that its agent made.
fn commands_agree(world: &World) -> Result<()> {
    let kubeconfig = world.kubeconfig().display().to_string();
    // On the nodes the tables belong to the agents.
    let elsewhere = Namespace::new("ck")?;
    for node in world.cluster.nodes() {
        let run = |words: &[&str]| {
            let words = [words, &["--kubeconfig", &kubeconfig, "--node", &node.name]].concat();
            program::run(&node.namespace, &words, "")
        };
        assert_eq!(run(&["diff"])?.success()?, "");
        let proof = run(&["verify", "--kernel"])?.success()?;
        ensure!(proof.starts_with("the kernel's table does what"), "{proof}");
        let mut nft = elsewhere.command("nft");
        nft.args(["--check", "--file", "-"]);
        program::finish(nft, &run(&["render"])?.success()?)?.success()?;
    }
    Ok(())
}

/// Steps, what the specification expects after each, and what was observed.
struct Table<'a> {
    world: &'a World,
    scenario: &'a Scenario<'a>,
    before: Vec<bool>,
    /// Of pods whose objects are gone while their interfaces stay.
    kept: BTreeMap<IpAddr, Arc<Kept>>,
    rows: String,
}

impl<'a> Table<'a> {
    fn new(world: &'a World, scenario: &'a Scenario<'a>) -> Result<Self> {
        let rows = "\n| step | flows changed | passed / refused, as expected | after, ms |\n\
                    |---|---:|---:|---:|\n"
            .to_owned();
        let kept = BTreeMap::new();
        let mut table = Self { world, scenario, before: Vec::new(), kept, rows };
        table.before = table.allowed()?;
        Ok(table)
    }

    /// Takes a step, which must change what happens to packets, and waits until
    /// packets show the change.
    fn step(&mut self, name: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let changed = self.observe(name, act)?;
        ensure!(changed > 0, "{name}: changed nothing");
        Ok(())
    }

    /// A pod loses its object, and nothing changes for those that it may still meet.
    fn ends(&mut self, name: &str, act: impl FnOnce() -> Result<()>) -> Result<()> {
        self.observe(name, act).map(drop)
    }

    fn keep(&mut self, pod: &Pod) {
        let kept = Arc::new(Kept { pod: Arc::new(pod.clone()), why: KeptFor::Running });
        self.kept.extend(pod.addresses.iter().map(|address| (*address, Arc::clone(&kept))));
    }

    fn observe(&mut self, name: &str, act: impl FnOnce() -> Result<()>) -> Result<usize> {
        act().with_context(|| name.to_owned())?;
        let start = Instant::now();
        let counts = soon_as(&self.snapshot()?, self.scenario).with_context(|| name.to_owned())?;
        let milliseconds = start.elapsed().as_millis();
        let after = self.allowed()?;
        let changed = self.before.iter().zip(&after).filter(|(before, after)| before != after);
        let changed = changed.count();
        self.before = after;
        let (passed, refused) = (counts.passed, counts.refused);
        self.rows += &format!("| {name} | {changed} | {passed} / {refused} | {milliseconds} |\n");
        Ok(changed)
    }

    /// The objects, and what is kept.
    fn snapshot(&self) -> Result<Snapshot> {
        let mut snapshot = self.world.snapshot()?;
        snapshot.kept.extend(self.kept.clone());
        Ok(snapshot)
    }

    /// What the specification allows now.
    fn allowed(&self) -> Result<Vec<bool>> {
        let World { cluster, .. } = self.world;
        allowed(cluster, &self.snapshot()?, self.scenario.flows())
    }

    fn print(&self) -> Result<()> {
        std::io::stderr().write_all(self.rows.as_bytes()).context("write to stderr")
    }
}
