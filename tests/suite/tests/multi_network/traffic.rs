//! Datagrams of pods to the server, by each of its addresses, counted where they arrive.
//!
//! In: a stage. Out: what was sent and what arrived, of pairs that the policies of `changes`
//! allow or deny on network one. Never: an answer that counts: on a busy machine it is late.

use std::collections::BTreeMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use netbed::fire::say;
use netbed::new_flows::NewFlows;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;

use crate::stage::{NETWORKS, Stage};

/// Where the server answers.
const UDP: u16 = 5557;
/// For datagrams that wait, in bytes.
const ROOM: usize = 16 << 20;

/// Answers what [`NewFlows`] asks, and counts by who asked.
struct Answers {
    at: IpAddr,
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<BTreeMap<IpAddr, u64>>>,
}

impl Answers {
    fn start(stage: &Stage, at: IpAddr) -> Result<Self> {
        let server = stage.world.cluster.endpoint("a/server")?;
        let socket = server.namespace.run(|| UdpSocket::bind((at, UDP)))??;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        // A machine that is busy must not lose what had arrived.
        setsockopt(&socket, RcvBufForce, &ROOM).context("room for datagrams")?;
        let (stop, heard) = (Arc::<AtomicBool>::default(), Arc::<Mutex<BTreeMap<_, _>>>::default());
        let (ended, counts) = (Arc::clone(&stop), Arc::clone(&heard));
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while !ended.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                *counts.entry(from.ip()).or_insert(0) += 1;
                drop(counts);
                let said = buffer[..length].strip_prefix(b"echo ").unwrap_or_default();
                let _ = socket.send_to(said, from);
            }
        });
        Ok(Self { at, stop, heard })
    }

    fn heard(&self, from: IpAddr) -> u64 {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&from).copied().unwrap_or(0)
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A flow of a pod to the server.
pub struct Asking {
    pub name: String,
    from: IpAddr,
    to: IpAddr,
    pub is_allowed: bool,
    flow: NewFlows,
}

/// Flows of pods to the server on further networks and by its primary address.
pub struct Traffic {
    answers: Vec<Answers>,
    pub flows: Vec<Asking>,
}

impl Traffic {
    pub fn start(stage: &Stage) -> Result<Self> {
        let primary =
            |pod: &str| stage.world.cluster.endpoint(pod)?.address(false).context("no address");
        let [one, two] = &NETWORKS;
        let mut this = Self { answers: Vec::new(), flows: Vec::new() };
        for (pod, from, to, is_allowed) in [
            ("a/client", one.addresses(3)[0], one.addresses(2)[0], true),
            ("a/client", one.addresses(3)[1], one.addresses(2)[1], true),
            ("a/other", one.addresses(4)[0], one.addresses(2)[0], false),
            ("a/other", one.addresses(4)[1], one.addresses(2)[1], false),
            ("b/client", one.addresses(5)[0], one.addresses(2)[0], false),
            ("a/other", two.addresses(4)[0], two.addresses(2)[0], true),
            ("a/other", primary("a/other")?, primary("a/server")?, true),
        ] {
            if this.answers.iter().all(|answers| answers.at != to) {
                this.answers.push(Answers::start(stage, to)?);
            }
            let source = stage.world.cluster.endpoint(pod)?;
            let flow = NewFlows::start(source, (to, UDP).into(), u64::MAX)?;
            let name = format!("{pod} {from} to {to}");
            this.flows.push(Asking { name, from, to, is_allowed, flow });
        }
        Ok(this)
    }

    /// Of a flow: what was sent until now, and what of it arrived.
    pub fn of(&self, asking: &Asking) -> (u64, u64) {
        let sent = asking.flow.asked().sent;
        sleep(Duration::from_millis(200));
        let mut answers = self.answers.iter().filter(|answers| answers.at == asking.to);
        (sent, answers.next().map_or(0, |answers| answers.heard(asking.from)))
    }

    /// Fails at the first packet that arrived and must not, or was lost.
    pub fn end(self, what: &str) -> Result<()> {
        for asking in &self.flows {
            let (sent, arrived) = self.of(asking);
            let Asking { name, is_allowed, .. } = asking;
            let word = if *is_allowed { "allowed" } else { "denied" };
            say(&format!("| {what} | {name} | {word} | {sent} sent | {arrived} arrived |\n"))?;
            ensure!(sent > 0, "{what}: {name} asked nothing");
            ensure!(*is_allowed || arrived == 0, "{what}: {name}: {arrived} arrived");
            ensure!(!*is_allowed || arrived >= sent, "{what}: {name}: {arrived} of {sent} arrived");
        }
        Ok(())
    }
}
