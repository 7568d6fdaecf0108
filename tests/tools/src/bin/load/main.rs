//! The cost of an agent in a large cluster with a real API server.
//!
//! Takes the number of pods (default 10,000; any hundreds up to 1,000,000). Prints Markdown
//! tables: time to ready, memory, CPU time and bytes on the wire, for the first lists, for
//! relists, and for pods that come and go; and, without a number, the cost of a pod in small
//! and large namespaces whose policies use port names. It sets no limits, because figures
//! depend on the machine.

mod crowd;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::apiserver::policies;
use kubebed::apiserver::proxy::Proxy;
use kubebed::daemon::Daemon;
use kubebed::world::World;
use policy::{ObjectKey, Pod, Snapshot};
use samples::large::{self, NODE};
use samples::testbed_spec::{Network, TestbedSpec};

const PATIENCE: Duration = Duration::from_secs(120);
/// The number of pods that come and go.
const PODS: usize = 200;

/// Pods of a namespace of the cluster.
const PODS_A_NAMESPACE: usize = 100;

fn main() -> Result<()> {
    let number = std::env::args().nth(1).map(|word| word.parse::<usize>()).transpose();
    match number.context("the number of pods")? {
        Some(pods) => large_cluster(&large::sized(pods.div_ceil(PODS_A_NAMESPACE))?),
        None => large_cluster(&large::large()?).and_then(|()| crowd::measure()),
    }
}

fn large_cluster(cluster: &Snapshot) -> Result<()> {
    let mut world = World::new(TestbedSpec::new(Network::Routed, &[NODE]), "ld")?;
    fill_at_once(&mut world, cluster)?;
    println!(
        "| {} pods, {} policies | time | CPU, s | RSS, MiB | peak RSS, MiB | received, MB |",
        cluster.pods.len(),
        cluster.policies.len()
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let (agent, took) = start_agent(&world, world.kubeconfig())?;
    measure("start to ready, over TLS", &agent, None, 0.0, took)?;
    idle(&agent)?;
    let before = agent.metric("process_cpu_seconds_total")?;
    let guest = cluster.pods.get(&large::remote_pod()).context("no remote pod")?;
    let took = come_and_go(&world, &agent, guest)?;
    measure(&format!("{PODS} remote pods created and deleted"), &agent, None, before, took)?;
    agent.stop()?;
    through_proxy(&world)
}

/// Puts the objects of a snapshot into etcd, and starts the API server again, so that it
/// has read them when it is ready.
fn fill_at_once(world: &mut World, cluster: &Snapshot) -> Result<()> {
    let start = Instant::now();
    world.server.store_cluster(cluster)?;
    eprintln!("{} pods stored in {:.1?}", cluster.pods.len(), start.elapsed());
    world.server.restart()?;
    let pods = world.snapshot()?.pods.len();
    ensure!(pods == cluster.pods.len(), "the API server has {pods} pods");
    eprintln!("the API server has read them after {:.1?}", start.elapsed());
    Ok(())
}

/// Creates the objects of a snapshot, one by one.
fn fill(world: &World, cluster: &Snapshot) -> Result<()> {
    let start = Instant::now();
    let policies = cluster.policies.values().map(|policy| policies::object(policy));
    let namespaces: Vec<_> = cluster.namespaces.values().map(|one| (**one).clone()).collect();
    let pods: Vec<Pod> = cluster.pods.values().map(|pod| (**pod).clone()).collect();
    world.server.apply_namespaces(&namespaces)?;
    world.server.create_pods(&pods)?;
    world.server.create_policies(&policies.collect::<Result<Vec<_>, _>>()?)?;
    let policies = cluster.policies.len();
    eprintln!("{} pods, {policies} policies created in {:.1?}", pods.len(), start.elapsed());
    Ok(())
}

/// Starts an agent on the node. Returns how long it took to be ready.
fn start_agent<'a>(world: &'a World, kubeconfig: &Path) -> Result<(Daemon<'a>, Duration)> {
    let namespace = &world.cluster.endpoint(NODE)?.namespace;
    let mut agent = Daemon::start(namespace, kubeconfig, NODE, &[])?;
    let took = agent.ready_within(PATIENCE)?;
    Ok((agent, took))
}

/// Prints a row. Returns the CPU time so far.
fn measure(
    name: &str,
    agent: &Daemon<'_>,
    proxy: Option<(&Proxy, u64)>,
    before: f64,
    took: Duration,
) -> Result<f64> {
    let cpu = agent.metric("process_cpu_seconds_total")?;
    let resident = agent.metric("process_resident_memory_bytes")? / f64::from(1 << 20);
    let peak = peak_mebibytes(agent)?;
    let bytes = proxy.map(|(proxy, before)| (proxy.traffic().sent - before) as f64 / 1e6);
    let bytes = bytes.map(|bytes| format!("{bytes:.1}")).unwrap_or_default();
    println!("| {name} | {took:.2?} | {:.2} | {resident:.1} | {peak:.1} | {bytes} |", cpu - before);
    Ok(cpu)
}

/// VmHWM of proc(5).
fn peak_mebibytes(agent: &Daemon<'_>) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: f64 = kilobytes.context("no VmHWM")?.trim().parse()?;
    Ok(kilobytes / 1024.0)
}

/// Ten seconds in which nothing happens.
fn idle(agent: &Daemon<'_>) -> Result<()> {
    let before = agent.metric("process_cpu_seconds_total")?;
    sleep(Duration::from_secs(10));
    measure("10 s at rest", agent, None, before, Duration::from_secs(10)).map(drop)
}

/// Remote pods come, get an address and go, one after another. Returns how long all
/// of them took.
fn come_and_go(world: &World, agent: &Daemon<'_>, like: &Pod) -> Result<Duration> {
    let syncs = agent.metric("nftpol_syncs_total{result=\"ok\"}")?;
    let start = Instant::now();
    for number in 0..PODS {
        let key = ObjectKey::new(&like.key.namespace, format!("guest-{number}"));
        let address = Ipv4Addr::new(10, 128, 0, u8::try_from(number)?);
        let pod = Pod { key: key.clone(), addresses: vec![address.into()], ..like.clone() };
        world.server.create_pods(&[pod])?;
        world.server.delete_pods(&[key])?;
    }
    let took = start.elapsed();
    let syncs = agent.metric("nftpol_syncs_total{result=\"ok\"}")? - syncs;
    ensure!(syncs > PODS as f64, "{syncs} changes for {PODS} pods");
    Ok(took)
}

/// The same start, and relists, with bytes counted on the wire.
fn through_proxy(world: &World) -> Result<()> {
    let namespace = &world.cluster.endpoint(NODE)?.namespace;
    let upstream = world.server.service_account_client("kube-system", "nftpol")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let proxy = Proxy::start(&world.server, namespace, address, upstream)?;
    let (agent, took) = start_agent(world, &proxy.kubeconfig()?)?;
    let cpu = measure("start to ready, bytes counted", &agent, Some((&proxy, 0)), 0.0, took)?;
    sleep(Duration::from_secs(2));
    let (start, sent) = (Instant::now(), proxy.traffic().sent);
    let batches = agent.metric("nftpol_batches_total")?;
    let lists = listed(&agent)?;
    ensure!(proxy.expire(None) > 0, "no watch to expire");
    while listed(&agent)? < lists + 3.0 {
        ensure!(start.elapsed() < PATIENCE, "no new lists");
        sleep(Duration::from_millis(10));
    }
    measure("all lists again", &agent, Some((&proxy, sent)), cpu, start.elapsed())?;
    ensure!(agent.metric("nftpol_batches_total")? == batches, "new lists changed the kernel");
    agent.stop().map(drop)
}

/// The number of lists so far.
fn listed(agent: &Daemon<'_>) -> Result<f64> {
    ["NetworkPolicy", "Pod", "Namespace"]
        .iter()
        .map(|kind| {
            agent.metric(&format!("nftpol_watch_events_total{{kind=\"{kind}\",type=\"listed\"}}"))
        })
        .sum()
}
