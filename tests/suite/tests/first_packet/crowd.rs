//! Many new pods, one after another in a few threads.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kubebed::world::{PATIENCE, World};
use netbed::net::Namespace;
use samples::fixtures;
use samples::testbed_spec::{Families, Network};
use serde_json::{Value, json};

use super::newcomer::{ANSWERS, NODE, Newcomer, POLICY, PORT};

/// How long after its start a pod's address is reported. A kubelet takes as long and longer.
const REPORTED_AFTER: Duration = Duration::from_millis(400);
/// How long a pod is watched after that.
const REST: Duration = Duration::from_millis(200);
/// Time between two packets of a pod, and to it.
const EVERY: Duration = Duration::from_millis(2);
/// How often an agent is killed.
const KILLED_EVERY: Duration = Duration::from_millis(2500);
/// Pods at a time.
const THREADS: usize = 6;
/// Where the outsider hears pods.
const SINK: u16 = 7777;
/// The lowest address of a new pod.
const LOWEST: usize = 20;

/// How new pods are guarded.
pub struct Mode {
    pub plugin: bool,
    pub unknown: &'static str,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugin = if self.plugin { "with" } else { "without" };
        write!(f, "{plugin} the plugin, --unknown-pods={}", self.unknown)
    }
}

/// What was seen.
pub struct Outcome {
    /// Pods that started.
    pub pods: usize,
    /// Packets that came from or to an isolated pod after its start.
    pub wrong: u64,
    /// Packets that were tried.
    pub sent: u64,
    /// For each pod with wrong ones: how long after its start the last one was.
    pub longest: Vec<Duration>,
    /// Agents that were killed.
    pub restarts: usize,
    /// ADDs that failed and were tried again, as a kubelet does.
    pub refused: usize,
}

/// What all threads share.
struct Stage {
    world: World,
    mode: (bool, &'static str),
    /// The pods that run now, and since when.
    running: Mutex<BTreeMap<IpAddr, Instant>>,
    /// What was heard of and by each, and when last.
    wrong: Mutex<BTreeMap<IpAddr, (u64, Duration)>>,
    next: AtomicUsize,
    started: AtomicUsize,
    refused: AtomicUsize,
    sent: AtomicU64,
    stop: AtomicBool,
}

/// Starts this many pods.
pub fn run(mode: &Mode, pods: usize) -> Result<Outcome> {
    ensure!(pods <= 230, "one subnet has no room for {pods} pods");
    let spec = fixtures::dev_pods(Network::Bridge, &[NODE], &["web"], Families::V4);
    let stage = Stage {
        world: World::new(spec, "fk")?,
        mode: (mode.plugin, mode.unknown),
        running: Mutex::default(),
        wrong: Mutex::default(),
        next: AtomicUsize::new(0),
        started: AtomicUsize::new(0),
        refused: AtomicUsize::new(0),
        sent: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    };
    stage.world.server.apply(POLICY)?;
    let outsider = stage.world.cluster.endpoint("outsider")?;
    let sink = SocketAddr::new(outsider.address(false).context("an address")?, SINK);
    let hears = outsider.namespace.run(|| UdpSocket::bind(sink))?.context("listen outside")?;
    hears.set_read_timeout(Some(Duration::from_millis(20)))?;
    let asks = outsider.namespace.run(|| UdpSocket::bind("0.0.0.0:0"))?.context("ask")?;
    let restarts = scope(|scope| {
        scope.spawn(|| stage.hear(&hears));
        scope.spawn(|| stage.ask(&asks));
        let agents = scope.spawn(|| stage.agents());
        let workers: Vec<_> =
            (0..THREADS).map(|_| scope.spawn(|| stage.work(pods, sink))).collect();
        let done: Vec<Result<()>> = workers.into_iter().map(joined).collect();
        // What is on its way arrives.
        sleep(REST);
        stage.stop.store(true, Ordering::Relaxed);
        let restarts = joined(agents)?;
        done.into_iter().collect::<Result<()>>().map(|()| restarts)
    })?;
    let wrong = stage.wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Outcome {
        pods: stage.started.into_inner(),
        wrong: wrong.values().map(|(count, _)| count).sum(),
        sent: stage.sent.into_inner(),
        longest: wrong.values().map(|(_, last)| *last).collect(),
        restarts,
        refused: stage.refused.into_inner(),
    })
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

impl Stage {
    /// An agent, killed again and again.
    fn agents(&self) -> Result<usize> {
        let unknown = format!("--unknown-pods={}", self.mode.1);
        let mut options = vec![unknown.as_str()];
        options.extend(self.mode.0.then_some(ANSWERS));
        let start = || self.world.agent(NODE, &options);
        let mut agent = start()?;
        agent.ready_within(PATIENCE)?;
        let mut killed = 0;
        let mut since = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(20));
            if since.elapsed() > KILLED_EVERY {
                agent.kill()?;
                killed += 1;
                agent = start()?;
                since = Instant::now();
            }
        }
        agent.kill()?;
        Ok(killed)
    }

    fn work(&self, pods: usize, sink: SocketAddr) -> Result<()> {
        // The first agent is ready before the first pod.
        let node = &self.world.cluster.endpoint(NODE)?.namespace;
        let begin = Instant::now();
        while !has_rules(node)? {
            ensure!(begin.elapsed() < 2 * PATIENCE, "no agent enforces");
            sleep(Duration::from_millis(20));
        }
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= pods {
                return Ok(());
            }
            let pod = self.begin(node, LOWEST + number)?;
            self.live(&pod, sink).with_context(|| pod.name.clone())?;
            if self.mode.0 {
                pod.call(node, "DEL", &Value::Null)?;
            }
            self.world.server.delete_pods(&[pod.object(true).key])?;
        }
    }

    /// Its object, its sandbox, its address, and with the plugin ADD.
    fn begin(&self, node: &Namespace, number: usize) -> Result<Newcomer> {
        let pod = Newcomer::new(node, number)?;
        self.world.server.create_pods(&[pod.object(false)])?;
        if self.mode.0 {
            self.attach(&pod, node)?;
        }
        self.started.fetch_add(1, Ordering::Relaxed);
        Ok(pod)
    }

    /// Tries again as a container runtime does.
    fn attach(&self, pod: &Newcomer, node: &Namespace) -> Result<()> {
        let start = Instant::now();
        loop {
            let done = pod.call(node, "ADD", &json!({}))?;
            match done.code {
                Some(0) => return Ok(()),
                Some(_) if start.elapsed() < PATIENCE => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                }
                _ => bail!("ADD fails: {done:?}"),
            }
        }
    }

    /// Its containers run.
    fn live(&self, pod: &Newcomer, sink: SocketAddr) -> Result<()> {
        let socket = pod.socket()?;
        let start = Instant::now();
        lock(&self.running).insert(pod.address, start);
        let reported = AtomicBool::new(false);
        let speak = || {
            while !self.stop.load(Ordering::Relaxed) && !reported.load(Ordering::Relaxed) {
                // What is dropped on the way out is no error of a datagram's sender.
                let _ = socket.send_to(b"wrong", sink);
                self.sent.fetch_add(1, Ordering::Relaxed);
                sleep(EVERY);
            }
        };
        let listen = || {
            let mut buffer = [0; 16];
            while !reported.load(Ordering::Relaxed) {
                if socket.recv(&mut buffer).is_ok() {
                    self.is_wrong(pod.address, start);
                }
            }
        };
        scope(|scope| {
            scope.spawn(speak);
            scope.spawn(listen);
            sleep(REPORTED_AFTER);
            let done = self.world.server.set_pods_status(&[pod.object(true)]);
            sleep(REST);
            reported.store(true, Ordering::Relaxed);
            done
        })?;
        lock(&self.running).remove(&pod.address);
        Ok(())
    }

    /// The outsider hears pods.
    fn hear(&self, socket: &UdpSocket) {
        let mut buffer = [0; 16];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((_, from)) = socket.recv_from(&mut buffer) else { continue };
            let start = lock(&self.running).get(&from.ip()).copied();
            self.is_wrong(from.ip(), start.unwrap_or_else(Instant::now));
        }
    }

    /// The outsider asks all pods that run.
    fn ask(&self, socket: &UdpSocket) {
        while !self.stop.load(Ordering::Relaxed) {
            let all: Vec<IpAddr> = lock(&self.running).keys().copied().collect();
            for address in all {
                let _ = socket.send_to(b"wrong", SocketAddr::new(address, PORT));
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
            sleep(EVERY);
        }
    }

    fn is_wrong(&self, address: IpAddr, start: Instant) {
        let mut wrong = lock(&self.wrong);
        let entry = wrong.entry(address).or_default();
        *entry = (entry.0 + 1, entry.1.max(start.elapsed()));
    }
}

fn has_rules(node: &Namespace) -> Result<bool> {
    let listed = node.command("nft").args(["list", "tables"]).output().context("run nft")?;
    Ok(String::from_utf8_lossy(&listed.stdout).contains("table inet nftpol\n"))
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
