//! A pod without an object runs on under its policies, whatever took its object.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World, soon, soon_as};
use netbed::probe::Knock;
use netbed::scenario::Scenario;
use policy::{Kept, KeptFor, ObjectKey, Pod, Snapshot};
use samples::fixtures;
use samples::testbed_spec::{Families, Network};

const NODE: &str = "node-1";
/// For this long packets are tried in which an opening would show.
const WHILE: Duration = Duration::from_secs(1);

/// The node of one world, and its pod `web`, which is isolated.
struct Scene<'a> {
    world: &'a World,
    scenario: Scenario<'a>,
    web: Pod,
}

impl<'a> Scene<'a> {
    fn new(world: &'a World) -> Result<Self> {
        let scenario = Scenario::new(&world.cluster, &[Knock::Tcp(80), Knock::Icmp])?;
        let web = world.cluster.spec().pods().into_iter().find(|pod| pod.key.name == "web");
        world.server.apply(&fixtures::isolated("web", "Ingress"))?;
        Ok(Self { world, scenario, web: web.context("a pod web")? })
    }

    fn agent(&self) -> Result<Daemon<'a>> {
        let mut agent = self.world.agent(NODE, &["--verify"])?;
        agent.ready_within(PATIENCE)?;
        Ok(agent)
    }

    /// The objects of the API server, and what is kept of `web`.
    fn with(&self, kept: &Kept) -> Result<Snapshot> {
        let mut snapshot = self.world.snapshot()?;
        let addresses = self.web.addresses.iter();
        snapshot.kept.extend(addresses.map(|address| (*address, Arc::new(kept.clone()))));
        Ok(snapshot)
    }

    /// Packets do what the specification says, again and again.
    fn holds(&self, what: &str, snapshot: &Snapshot) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < WHILE {
            self.scenario.check_snapshot(snapshot).with_context(|| what.to_owned())?;
        }
        Ok(())
    }

    fn running(&self) -> Kept {
        Kept { pod: Arc::new(self.web.clone()), why: KeptFor::Running }
    }

    fn shut(&self) -> Result<Kept> {
        let kept = Kept::of_restart(&self.web.addresses).context("an address")?;
        // Its own node always reaches it, by another hook.
        let host_addresses = self.web.host_addresses.clone();
        Ok(Kept { pod: Arc::new(Pod { host_addresses, ..Pod::clone(&kept.pod) }), ..kept })
    }

    fn allow_db(&self) -> Result<()> {
        let peer = format!("[{{from: [{}]}}]", fixtures::peer("db"));
        self.world.server.apply(&fixtures::policy_for("web", &[("ingress", &peer)]))
    }
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        ensure!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn kept(agent: &Daemon<'_>, reason: &str) -> Result<f64> {
    agent.metric(&format!("nftpol_kept_addresses{{reason=\"{reason}\"}}"))
}

#[test]
fn a_pod_deleted_by_force_stays_isolated_until_its_interface_is_gone() -> Result<()> {
    let pods = ["web", "db", "far"];
    let spec = fixtures::dev_pods(Network::Bridge, &[NODE], &pods, Families::Both);
    let world = World::beside(spec, "ak")?;
    let scene = Scene::new(&world)?;
    let agent = scene.agent()?;
    soon(&world, &scene.scenario)?;

    let delete = ["delete", "pod", "-n", "dev", "web", "--grace-period=0", "--force"];
    world.server.kubectl(&delete, "")?.success()?;
    until("the addresses are kept", || Ok(kept(&agent, "removed")? == 2.0))?;
    let now = scene.with(&scene.running())?;
    scene.holds("after kubectl delete --force", &now)?;
    until("it is logged", || Ok(agent.log().contains("is kept: its pod's object is gone")))?;

    scene.allow_db()?;
    let now = scene.with(&scene.running())?;
    soon_as(&now, &scene.scenario).context("the present policies hold for it")?;

    // Its labels are forgotten with the process. The kernel knows that it was isolated.
    agent.kill()?;
    scene.holds("without an agent", &now)?;
    let agent = scene.agent()?;
    ensure!(kept(&agent, "restart")? == 2.0, "{}", agent.log());
    let now = scene.with(&scene.shut()?)?;
    soon_as(&now, &scene.scenario).context("after a restart")?;
    scene.holds("after a restart", &now)?;
    let agent_again = {
        agent.kill()?;
        scene.agent()?
    };
    ensure!(kept(&agent_again, "restart")? == 2.0, "after two restarts: {}", agent_again.log());
    scene.holds("after two restarts", &now)?;

    let web = &world.cluster.endpoint("dev/web")?.namespace;
    web.ip("link del eth0")?;
    until("nothing is kept", || Ok(kept(&agent_again, "restart")? == 0.0))?;
    until("its addresses are not in the table", || {
        let mut nft = world.cluster.endpoint(NODE)?.namespace.command("nft");
        let table = nft.args(["list", "table", "inet", "nftpol"]).output()?;
        let table = String::from_utf8(table.stdout)?;
        // What was logged lately is forgotten later.
        let mut lines = table.lines().filter(|line| !line.contains("limit rate"));
        let names = |line: &str, address| line.contains(&format!("{address} "));
        Ok(!lines.any(|line| scene.web.addresses.iter().any(|one| names(line, one))))
    })?;
    agent_again.stop().map(drop)
}

/// Others are told that its pod has ended, or that it has another address. The object can
/// be wrong.
#[test]
fn an_address_that_goes_from_the_status_of_a_pod_stays_isolated() -> Result<()> {
    let pods = ["web", "db", "far"];
    let spec = fixtures::dev_pods(Network::Routed, &[NODE], &pods, Families::V4);
    let world = World::beside(spec, "au")?;
    let scene = Scene::new(&world)?;
    let agent = scene.agent()?;
    soon(&world, &scene.scenario)?;
    let failed = Pod { phase: policy::Phase::Failed, ..scene.web.clone() };
    let elsewhere = Pod { addresses: vec!["10.99.99.99".parse()?], ..scene.web.clone() };
    // The other address has no interface, so it is kept for a while when it goes.
    for (what, changed, left) in [("failed", failed, 0.0), ("another address", elsewhere, 1.0)] {
        world.server.set_pods_status(&[changed])?;
        until(what, || Ok(kept(&agent, "removed")? == 1.0))?;
        scene.holds(what, &scene.with(&scene.running())?)?;
        world.server.set_pods_status(std::slice::from_ref(&scene.web))?;
        until("it reports its address again", || Ok(kept(&agent, "removed")? == left))?;
        soon(&world, &scene.scenario)?;
        scene.holds("as before", &world.snapshot()?)?;
    }
    agent.stop().map(drop)
}

/// The next pod of the name has another address, and other labels.
#[test]
fn the_next_pod_of_the_same_name_does_not_speak_for_the_former_one() -> Result<()> {
    let pods = ["web", "db", "far"];
    let spec = fixtures::dev_pods(Network::Bridge, &[NODE], &pods, Families::V4);
    let world = World::beside(spec, "az")?;
    let scene = Scene::new(&world)?;
    let agent = scene.agent()?;
    soon(&world, &scene.scenario)?;
    world.server.delete_pods(&[ObjectKey::new("dev", "web")])?;
    let next = Pod {
        addresses: vec!["10.99.99.99".parse()?],
        labels: policy::Labels::new(),
        ..scene.web.clone()
    };
    world.server.create_pods(&[next])?;
    until("the address is kept", || Ok(kept(&agent, "removed")? == 1.0))?;
    scene.holds("the next pod is there", &scene.with(&scene.running())?)?;
    // It comes back as it was: a mistake of somebody, such as a static pod's mirror.
    world.server.delete_pods(&[ObjectKey::new("dev", "web")])?;
    world.server.create_pods(std::slice::from_ref(&scene.web))?;
    until("nothing is kept of the address", || {
        // That of the next pod has no interface, so it is kept for a while.
        Ok(kept(&agent, "removed")? == 1.0)
    })?;
    scene.holds("the pod is back", &world.snapshot()?)?;
    agent.stop().map(drop)
}

/// The namespace controller deletes policies and pods in any order (CVE-2024-7598).
#[test]
fn the_policies_of_a_namespace_that_ends_hold_while_its_pods_run() -> Result<()> {
    let pods = ["web", "db", "far"];
    let spec = fixtures::dev_pods(Network::Bridge, &[NODE], &pods, Families::V4);
    let world = World::beside(spec, "ax")?;
    let scene = Scene::new(&world)?;
    let agent = scene.agent()?;
    soon(&world, &scene.scenario)?;
    let before = world.snapshot()?;
    let kubectl = |words: &[&str]| world.server.kubectl(words, "")?.success();
    kubectl(&["delete", "namespace", "dev", "--wait=false"])?;
    kubectl(&["delete", "networkpolicy", "-n", "dev", "--all"])?;
    until("the policy is kept", || Ok(agent.metric("nftpol_kept_policies")? == 1.0))?;
    let mut now = world.snapshot()?;
    ensure!(now.policies.is_empty() && now.namespaces["dev"].is_ending, "{now:#?}");
    now.policies = before.policies;
    scene.holds("the policy is gone", &now)?;
    ensure!(agent.log().contains("policy dev/isolated is kept"), "{}", agent.log());

    // What it was is forgotten. The kernel knows that a pod was isolated.
    agent.kill()?;
    let agent = scene.agent()?;
    let all = policy::NetworkPolicy::shut(ObjectKey::new("dev", "all"));
    now.policies = [(all.key.clone(), Arc::new(all))].into_iter().collect();
    soon_as(&now, &scene.scenario).context("after a restart")?;
    scene.holds("after a restart", &now)?;
    agent.stop().map(drop)
}

#[test]
fn a_pod_object_of_another_node_lifts_no_isolation_and_is_named() -> Result<()> {
    let pods = ["web", "db", "far"];
    let spec = fixtures::dev_pods(Network::Bridge, &[NODE], &pods, Families::V4);
    let world = World::beside(spec, "aw")?;
    let scene = Scene::new(&world)?;
    let agent = scene.agent()?;
    soon(&world, &scene.scenario)?;
    let liar = Pod {
        key: ObjectKey::new("dev", "zz"),
        labels: policy::Labels::new(),
        node: Some("node-2".to_owned()),
        ..scene.web.clone()
    };
    world.server.create_pods(std::slice::from_ref(&liar))?;
    until("it is counted", || Ok(agent.metric("nftpol_shared_addresses")? == 1.0))?;
    scene.holds("another node's pod has the address", &world.snapshot()?)?;
    until("there is an Event", || {
        let events = world.server.kubectl(&["get", "events", "-n", "dev"], "")?.success()?;
        Ok(events.contains("SharedAddress") && events.contains("dev/zz, which is not on it"))
    })?;
    world.server.delete_pods(&[liar.key])?;
    until("it is gone", || Ok(agent.metric("nftpol_shared_addresses")? == 0.0))?;
    scene.holds("as before", &world.snapshot()?)?;
    agent.stop().map(drop)
}
