//! What others' plugins failed at, one test a failure.

use std::net::IpAddr;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::world::{PATIENCE, World};
use netbed::net::Namespace;
use netbed::program::Finished;
use nft::Kernel;
use policy::Direction;
use ruleset::{Family, TableId};
use samples::fixtures;
use samples::testbed_spec::{Families, Network};
use serde_json::{Value, json};

use super::newcomer::{ANSWERS, NODE, Newcomer, POLICY, call};

pub fn world() -> Result<World> {
    let spec = fixtures::dev_pods(Network::Bridge, &[NODE], &["web"], Families::V4);
    let world = World::new(spec, "fx")?;
    world.server.apply(POLICY)?;
    Ok(world)
}

pub fn node(world: &World) -> Result<&Namespace> {
    Ok(&world.cluster.endpoint(NODE)?.namespace)
}

/// Whether the kernel isolates a pod in both directions.
pub fn is_isolated(node: &Namespace, address: IpAddr) -> Result<bool> {
    let mut kernel = node.run(Kernel::open)??;
    let id = TableId { family: ruleset::TableFamily::Inet, name: compiler::scaffold::table() };
    let Some(dump) = kernel.dump(&id)? else { return Ok(false) };
    let has = |direction| {
        let set = compiler::scaffold::isolated_set(direction, Family::V4);
        let set = dump.ruleset.sets.get(&set);
        set.is_some_and(|set| {
            set.elements.iter().any(|element| element.addresses().any(|one| one == address))
        })
    };
    Ok(Direction::BOTH.into_iter().all(has))
}

pub fn soon(what: &str, is: impl Fn() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !is()? {
        ensure!(start.elapsed() < PATIENCE, "not {what}");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

pub fn code(done: &Finished) -> Result<u64> {
    let error: Value = serde_json::from_str(&done.stdout).context(done.stdout.clone())?;
    ensure!(done.code == Some(1), "{done:?}");
    error["code"].as_u64().context("an error without a code")
}

/// Others' agents have a kubeconfig that is stale after a reboot, and no pod starts, not
/// even theirs. Here a pod waits for a bounded time, and the agent needs no pod network.
#[test]
fn without_an_agent_add_ends_in_time_and_as_it_was_told() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let pod = Newcomer::new(node, 30)?;
    for (more, expected) in [
        (json!({"waitMs": 300}), Some(11)),
        (json!({"waitMs": 300, "withoutAgent": "fail"}), Some(11)),
        (json!({"waitMs": 300, "withoutAgent": "continue"}), None),
    ] {
        let start = Instant::now();
        let done = pod.call(node, "ADD", &more)?;
        ensure!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
        match expected {
            Some(expected) => assert_eq!(code(&done)?, expected, "{more}"),
            None => assert_eq!(done.code, Some(0), "{done:?}"),
        }
    }
    assert_eq!(pod.call(node, "DEL", &json!({}))?.code, Some(0), "a pod must be able to end");
    assert_eq!(code(&pod.call(node, "CHECK", &json!({"waitMs": 200}))?)?, 11);
    assert_eq!(
        code(&call(node, "STATUS", "any", &Value::Null, &json!({"cniVersion": "1.1.0"}))?)?,
        50
    );
    let gc = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
    assert_eq!(call(node, "GC", "any", &Value::Null, &gc)?.code, Some(0));
    Ok(())
}

#[test]
fn each_command_in_each_version_with_an_agent() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    let pod = Newcomer::new(node, 31)?;
    world.server.create_pods(&[pod.object(false)])?;
    for version in ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let more = json!({"cniVersion": version});
        let added = pod.call(node, "ADD", &more)?.success()?;
        let added: Value = serde_json::from_str(&added)?;
        assert_eq!(added["ips"][0]["address"], format!("{}/24", pod.address));
        ensure!(is_isolated(node, pod.address)?, "{version}: not when ADD ended");
        soon("checked", || Ok(pod.call(node, "CHECK", &more)?.code == Some(0)))?;
        assert_eq!(pod.call(node, "DEL", &more)?.code, Some(0), "{version}");
        assert_eq!(pod.call(node, "DEL", &more)?.code, Some(0), "{version}, again");
    }
    let more = json!({"cniVersion": "1.1.0"});
    assert_eq!(call(node, "STATUS", "any", &Value::Null, &more)?.code, Some(0));
    agent.stop().map(drop)
}

/// The runtime is faster than the watch: nothing is allowed until the object is there.
#[test]
fn a_pod_whose_object_is_not_known_is_isolated_and_then_judged_by_its_policies() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    let pod = Newcomer::new(node, 32)?;
    let start = Instant::now();
    pod.call(node, "ADD", &json!({"waitMs": 700}))?.success()?;
    ensure!(start.elapsed() > Duration::from_millis(400), "it did not wait for the object");
    ensure!(is_isolated(node, pod.address)?, "open, and nobody knows it");
    // No policy selects it.
    let free = policy::Pod { labels: policy::Labels::new(), ..pod.object(false) };
    world.server.create_pods(&[free])?;
    soon("free", || Ok(!is_isolated(node, pod.address)?))?;
    agent.stop().map(drop)
}

/// Any process of root's in the node's network can speak as the plugin does. A plugin gives
/// an address again once the former interface is gone.
#[test]
fn no_announcement_takes_the_address_of_a_pod_whose_interface_lives() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    let victim = Newcomer::new(node, 36)?;
    world.server.create_pods(&[victim.object(true)])?;
    soon("isolated", || is_isolated(node, victim.address))?;
    soon("bound", || Ok(agent.metric("nftpol_bound_ports")? >= 2.0))?;
    let free = policy::Pod { labels: policy::Labels::new(), ..super::newcomer::object("free") };
    world.server.create_pods(&[free])?;
    let result = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "new99"}, {"name": "eth0", "sandbox": "/run/netns/any"}],
        "ips": [{"address": format!("{}/24", victim.address), "interface": 1}],
    });
    let claim = || call(node, "ADD", "free", &result, &json!({"waitMs": 3000}));
    let said = claim()?;
    assert_eq!(code(&said)?, 11, "{said:?}");
    ensure!(said.stdout.contains("first-36, whose interface is there"), "{said:?}");
    ensure!(is_isolated(node, victim.address)?, "its isolation is lifted");
    // The object of a pod that is gone can stay for a while. Its interface does not.
    node.ip("link delete new36")?;
    soon("given", || Ok(claim()?.code == Some(0)))?;
    soon("free", || Ok(!is_isolated(node, victim.address)?))?;
    agent.stop().map(drop)
}

/// The agent dies while a pod waits for it: the next one answers, or the plugin says that
/// nobody did.
#[test]
fn an_agent_that_is_killed_during_add_lets_no_pod_start_open() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let mut first = world.agent(NODE, &[ANSWERS])?;
    first.ready_within(PATIENCE)?;
    let pod = Newcomer::new(node, 33)?;
    let added = scope(|scope| {
        // Its object is not there, so ADD waits.
        let adds = scope.spawn(|| pod.call(node, "ADD", &json!({"waitMs": 20_000})));
        sleep(Duration::from_millis(300));
        first.kill()?;
        let mut second = world.agent(NODE, &[ANSWERS])?;
        second.ready_within(PATIENCE)?;
        world.server.create_pods(&[pod.object(false)])?;
        let added = adds.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        second.stop()?;
        anyhow::Ok(added)
    })?;
    assert_eq!(added.code, Some(0), "{added:?}");
    ensure!(is_isolated(node, pod.address)?, "open");
    Ok(())
}

/// DEL never comes: the interface's end ends it.
#[test]
fn a_lost_del_leaves_nothing_behind() -> Result<()> {
    let world = world()?;
    let node = node(&world)?;
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    let pod = Newcomer::new(node, 34)?;
    world.server.create_pods(&[pod.object(false)])?;
    pod.call(node, "ADD", &json!({}))?.success()?;
    ensure!(is_isolated(node, pod.address)?, "not when ADD ended");
    // The agent has seen whose the interface is.
    soon("bound", || Ok(agent.metric("nftpol_bound_ports")? >= 2.0))?;
    world.server.delete_pods(&[pod.object(false).key])?;
    sleep(Duration::from_millis(300));
    ensure!(is_isolated(node, pod.address)?, "it may still run");
    let address = pod.address;
    drop(pod);
    soon("forgotten", || Ok(!is_isolated(node, address)?)).with_context(|| agent.log())?;
    agent.stop().map(drop)
}
