//! What the pod agent's loop takes of memory, by the number of isolated pods on macvlan
//! interfaces of its node.
//!
//! Takes that number, and optionally `everyone`: then each of them is under a policy that
//! lets in all pods of the cluster. The cluster is that of `large`: 10,000 pods, 1,000
//! policies. The loop is the pod agent's own, in network namespaces of this kernel. Only
//! the API server is left out: its lists are given to the loop. Prints one row of a table.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use agent::enforcer::Message;
use agent::metrics::Metrics;
use agent::pods::{Parts, PodEnforcer};
use agent::problems::Problems;
use agent::status::{Condition, Status};
use agent::view::View;
use anyhow::{Context, Result, bail, ensure};
use compiler::Options;
use netbed::net::Namespace;
use policy::{Mode, Pod, PodUid, Snapshot};
use samples::large::{self, NODE};
use samples::scratch::Folder;
use watcher::api::{Event, Found};
use watcher::{Kind, Object};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const PATIENCE: Duration = Duration::from_secs(300);
/// Wide enough for all of the cluster's addresses, so that none of them needs a route.
const PREFIXES: [u8; 2] = [8, 16];

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let count = words.next().context("how many pods?")?.parse::<usize>()?;
    let everyone = words.next().is_some_and(|word| word == "everyone");
    let cluster = with_local(large::large()?, count, everyone)?;
    let local = || cluster.pods.values().filter(|pod| pod.node.as_deref() == Some(NODE));
    ensure!(local().count() == count, "the node has {} pods", local().count());

    let node = Namespace::new("pm")?;
    node.ip("link add d0 type bridge\nlink set d0 up")?;
    let proc = Folder::new("proc")?;
    let mut namespaces = Vec::new();
    for (number, pod) in local().enumerate() {
        namespaces.push(wired(&node, pod, &proc.path().join((1000 + number).to_string()))?);
    }

    let before = resident()?;
    let (status, took) = enforce(&cluster, proc.path().to_owned(), count)?;
    sleep(Duration::from_secs(2));
    let loaded = resident()?;
    let report = status.report();
    ensure!(status.problem(Condition::Enforced).is_none(), "{report}");
    let kind = if everyone { ", all pods as peers" } else { "" };
    println!("| {count}{kind} | {:.1} | {before:.1} | {:.1} |", loaded, took.as_secs_f64());
    drop(namespaces);
    Ok(())
}

/// The cluster with this many pods on the node, which have uids.
fn with_local(mut cluster: Snapshot, count: usize, everyone: bool) -> Result<Snapshot> {
    let on_node = |pod: &&Arc<Pod>| pod.node.as_deref() == Some(NODE);
    let local: Vec<Arc<Pod>> = cluster.pods.values().filter(on_node).cloned().collect();
    for (number, pod) in local.into_iter().enumerate() {
        let mut pod = (*pod).clone();
        match number < count {
            true => pod.attachment.uid = PodUid(number as u128 + 1),
            false => pod.node = Some("another".to_owned()),
        }
        cluster.pods.insert(pod.key.clone(), Arc::new(pod));
    }
    if everyone {
        let names: Vec<String> = cluster.namespaces.keys().cloned().collect();
        for name in names {
            let mut policy = large::everyone();
            policy.key.namespace = name;
            policy.pod_selector = policy::Selector::everything();
            cluster.policies.insert(policy.key.clone(), Arc::new(policy));
        }
    }
    Ok(cluster)
}

/// A namespace with a macvlan interface, and a process that is in it.
fn wired(node: &Namespace, pod: &Pod, process: &std::path::Path) -> Result<Namespace> {
    let namespace = Namespace::new("pm")?;
    let name = namespace.name();
    node.ip(&format!(
        "link add link d0 name m0 type macvlan mode bridge\nlink set m0 netns {name}"
    ))?;
    let mut lines = "link set lo up\nlink set m0 name eth0\nlink set eth0 up\n".to_owned();
    for (address, prefix) in pod.addresses.iter().zip(PREFIXES) {
        lines.push_str(&format!("address add {address}/{prefix} dev eth0\n"));
    }
    namespace.ip(&lines)?;
    let PodUid(uid) = pod.attachment.uid;
    fs::create_dir_all(process.join("ns"))?;
    fs::write(process.join("cgroup"), format!("0::/kubepods/pod{uid:032x}/01\n"))?;
    symlink(namespace.path(), process.join("ns/net"))?;
    Ok(namespace)
}

/// Runs the loop until all pods are enforced. It goes on.
fn enforce(cluster: &Snapshot, proc: PathBuf, count: usize) -> Result<(Status, Duration)> {
    let (sender, messages) = mpsc::channel();
    let (status, metrics) = (Status::new(), Arc::new(Metrics::new()));
    let options = Options { node: Some(NODE.to_owned()), log: None, ..Options::default() };
    let parts = Parts {
        messages,
        node: NODE.to_owned(),
        proc,
        options,
        mode: Mode::Enforce,
        verify: false,
        multi_network_policies: false,
        owns: true,
        drops: None,
        view: View::default(),
        problems: tokio::sync::watch::channel(Problems::new()).0,
        status: status.clone(),
        metrics: Arc::clone(&metrics),
    };
    let start = Instant::now();
    let mut enforcer = PodEnforcer::new(parts)?;
    thread::spawn(move || enforcer.run());
    for event in lists(cluster) {
        sender.send(Message::Event(Instant::now(), event))?;
    }
    let is_done = |text: &str| {
        let line =
            text.lines().find_map(|line| line.strip_prefix("nftpol_syncs_total{result=\"ok\"} "));
        line.and_then(|count| count.parse::<f64>().ok()).is_some_and(|one| one >= count as f64)
    };
    while !is_done(&metrics.prometheus_text(&status)?) {
        if start.elapsed() > PATIENCE {
            bail!("not enforced: {}", status.report());
        }
        sleep(Duration::from_millis(100));
    }
    std::mem::forget(sender);
    Ok((status, start.elapsed()))
}

fn lists(cluster: &Snapshot) -> [Event; 3] {
    let found = |object| Found { object, diagnostics: vec![] };
    let pods = cluster.pods.values().cloned().map(Object::Pod).map(found).collect();
    let policies = cluster.policies.values().cloned().map(Object::NetworkPolicy);
    let namespaces = cluster.namespaces.values().cloned().map(Object::Namespace);
    [
        Event::Listed { kind: Kind::Namespace, objects: namespaces.map(found).collect() },
        Event::Listed { kind: Kind::NetworkPolicy, objects: policies.map(found).collect() },
        Event::Listed { kind: Kind::Pod, objects: pods },
    ]
}

/// Resident memory in MiB: VmRSS of proc_pid_status(5).
fn resident() -> Result<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")).context("no VmRSS")?;
    Ok(kilobytes.parse::<f64>()? / 1024.0)
}
