//! A node loses its power and comes back.
//!
//! After such a start an isolated pod answers anyone who knows its address, until the
//! agent runs and has learnt the address. Here two pods on another node ask every
//! address that the pod can get, all the time. Then the same with the overlay `boot`,
//! whose unit runs before the node's programs: no stranger is answered.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kubebed::world::manifests;
use netbed::testbed::Endpoint;
use serde_json::json;

use crate::scene::{HTTP, PATIENCE, Scene, Try, hold, namespace, pod, policy};

const NODE: &str = "node-1";
/// The port where upstream's test server answers datagrams, and the question.
const UDP: u16 = 8081;
const QUESTION: &[u8] = b"hostname\n";
/// Pause between two questions to the same address.
const EVERY: Duration = Duration::from_millis(5);
/// The addresses that a node assigns first, after its own.
const LOWEST: std::ops::Range<u8> = 2..20;
/// How long an answer may be in flight.
const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// Where the nodes of this cluster have what the overlay installs.
const PROGRAMS: &str = "/var/lib/host/nftpol";
const UNITS: &str = "/var/lib/host/units";
/// How long the node is off, and how long the test watches it once it is back.
const DARK: Duration = Duration::from_secs(3);
const REST: Duration = Duration::from_secs(2);

impl Scene {
    pub fn reboot(&mut self) -> Result<()> {
        let from = json!([{"podSelector": {"matchLabels": {"role": "friend"}}}]);
        let server = json!({"matchLabels": {"role": "server"}});
        self.kubernetes.reuse_addresses(NODE)?;
        self.put(&[
            namespace("reboot", json!({})),
            policy("reboot/friends", json!({"podSelector": server, "ingress": [{"from": from}]}))?,
            pod("reboot/server", NODE, json!({"role": "server"}))?,
            pod("reboot/friend", "node-2", json!({"role": "friend"}))?,
            pod("reboot/stranger", "node-2", json!({"role": "stranger"}))?,
        ])?;
        self.pods_ready("reboot")?;
        let wrong = self.killed_and_restarted(None)?;
        self.say(&format!("without the unit: {wrong} wrong answers"));
        self.install_unit()?;
        self.pods_ready("reboot")?;
        let unit = self.unit()?;
        let wrong = self.killed_and_restarted(Some(&unit))?;
        ensure!(wrong == 0, "with the unit, a stranger was answered {wrong} times");
        self.say("with the unit: 0 wrong answers");
        self.kubectl(&["apply", "-k", &manifests().display().to_string()])?;
        self.agents_ready()?;
        self.remove(&["reboot"])
    }

    /// Applies the overlay `boot`. The node's own folders take the place of those of the
    /// machine, which all nodes share.
    fn install_unit(&self) -> Result<()> {
        for node in (1..=self.nodes()).map(|number| format!("node-{number}")) {
            self.kubernetes.exec(&node, &["mkdir", "-p", UNITS])?.success()?;
        }
        let overlay = manifests().join("overlays/boot").display().to_string();
        let objects = self.kubectl(&["kustomize", &overlay])?;
        let objects = objects.replace("path: /opt/nftpol", &format!("path: {PROGRAMS}"));
        let objects = objects.replace("path: /etc/systemd/system", &format!("path: {UNITS}"));
        self.kubernetes.kubectl(&["apply", "-f", "-"], &objects)?.success()?;
        self.agents_ready()
    }

    /// The words that the installed unit runs.
    fn unit(&self) -> Result<Vec<String>> {
        let path = format!("{UNITS}/multi-user.target.wants/nftpol-restore.service");
        let unit = self.kubernetes.exec(NODE, &["cat", &path])?.success()?;
        let starts = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
        let words = starts.context("a unit that starts nothing")?.replace("/opt/nftpol", PROGRAMS);
        Ok(words.split_whitespace().map(str::to_owned).collect())
    }

    /// How often a stranger was answered after the node had started again. `before`: what
    /// runs before its programs.
    fn killed_and_restarted(&mut self, before: Option<&[String]>) -> Result<usize> {
        let friend = self.kubernetes.pod("reboot/friend")?;
        let stranger = self.kubernetes.pod("reboot/stranger")?;
        self.served(&friend, &stranger)?;
        self.kubernetes.reuse_addresses(NODE)?;
        let [asks, may_not] = [Asking::start(&friend)?, Asking::start(&stranger)?];
        let alive = Instant::now();
        self.until("the friend is answered", || Ok(!asks.since(alive).is_empty()))?;
        self.kubernetes.kill_node(NODE)?;
        let dead = Instant::now();
        self.say("a node is dead");
        sleep(DARK);
        let start = Instant::now();
        ensure!(may_not.since(alive).is_empty(), "a stranger is answered");
        ensure!(asks.since(dead + ON_ITS_WAY).is_empty(), "a dead node answers");
        let words: Vec<&str> = before.into_iter().flatten().map(String::as_str).collect();
        self.kubernetes.boot_node(NODE, &words)?;
        let wait = || Ok(!asks.since(start).is_empty());
        self.until("the friend is answered again", wait)?;
        self.agents_ready()?;
        self.served(&friend, &stranger)?;
        let well = Instant::now();
        sleep(REST);
        let (answers, wrong) = (asks.since(start), may_not.since(start));
        let first = answers.first().context("no answer")?.duration_since(start);
        ensure!(may_not.since(well).is_empty(), "a stranger is still answered");
        let open = wrong.first().zip(wrong.last()).map_or(Duration::ZERO, |(a, b)| *b - *a);
        self.say(&format!(
            "killed and restarted: the friend was answered after {} ms, the stranger {} times \
             within {} ms before the agent had its first view of the cluster",
            first.as_millis(),
            wrong.len(),
            open.as_millis()
        ));
        Ok(wrong.len())
    }

    fn served(&self, friend: &Endpoint, stranger: &Endpoint) -> Result<()> {
        let start = Instant::now();
        loop {
            // The pod has another address once its node is back.
            let server = self.kubernetes.pod("reboot/server");
            let done = server.and_then(|server| {
                let to = SocketAddr::new(server.addresses[0], HTTP);
                let way = |from, passes| Try { what: "to the server".into(), from, to, passes };
                hold(&[way(friend, true), way(stranger, false)])
            });
            match done {
                Ok(()) => return Ok(()),
                Err(error) if start.elapsed() > PATIENCE => return Err(error),
                Err(_) => sleep(Duration::from_millis(100)),
            }
        }
    }
}

/// Asks all addresses for as long as this value lives.
struct Asking {
    stop: Arc<AtomicBool>,
    answers: Arc<Mutex<Vec<Instant>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Asking {
    fn start(from: &Endpoint) -> Result<Self> {
        let socket = from.namespace.run(|| UdpSocket::bind("0.0.0.0:0"))?.context("ask")?;
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let stop = Arc::new(AtomicBool::new(false));
        let answers = Arc::new(Mutex::new(Vec::new()));
        let (asks, ended) = (socket.try_clone()?, Arc::clone(&stop));
        let ask = move || {
            while !ended.load(Ordering::Relaxed) {
                for host in LOWEST {
                    // What cannot be sent now is sent later.
                    let address = IpAddr::V4(Ipv4Addr::new(10, 244, 1, host));
                    let _ = asks.send_to(QUESTION, SocketAddr::new(address, UDP));
                }
                sleep(EVERY);
            }
        };
        let (ended, log) = (Arc::clone(&stop), Arc::clone(&answers));
        let listen = move || {
            let mut buffer = [0; 64];
            while !ended.load(Ordering::Relaxed) {
                let heard = socket.recv(&mut buffer);
                if heard.is_ok_and(|length| buffer[..length].starts_with(b"server")) {
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                }
            }
        };
        Ok(Self { stop, answers, threads: vec![thread::spawn(ask), thread::spawn(listen)] })
    }

    /// When the server's answers arrived, from this moment on.
    fn since(&self, moment: Instant) -> Vec<Instant> {
        let all = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().copied().filter(|one| *one >= moment).collect()
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has already printed why.
            let _ = thread.join();
        }
    }
}
