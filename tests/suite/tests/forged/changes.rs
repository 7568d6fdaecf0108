//! Forged packets at full speed while the binding changes. None may arrive, and no
//! honest one may be lost.
//!
//! Pods come and go, an address goes to another pod on another port, an interface is
//! renamed, a pod claims another's address and MAC, `nftpol` is killed and started
//! again. At the end the tables are flushed, and then removed for good: these are the
//! moments when forged packets must be seen to arrive.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netbed::arena::{Arena, Hits, Shot, Way, fire};
use netbed::forge::{marker, udp};
use netbed::program;
use samples::objects;
use samples::scratch::Folder;
use samples::testbed_spec::{Between, Network, PodSpec, pod_address};

const CYCLES: usize = 6;
const DEADLINE: Duration = Duration::from_secs(10);
/// The number of the address that pods come with, one after the other.
const COMER: usize = 200;
/// Ports of the honest flow, and of forged packets that pass for it.
const PORTS: (u16, u16) = (7000, 7001);

fn comer(v6: bool) -> IpAddr {
    pod_address(0, COMER, v6)
}

/// A node with `nftpol apply --watch`.
struct Node {
    folder: Folder,
    process: Option<Child>,
}

impl Node {
    fn file(&self) -> PathBuf {
        self.folder.path().join("objects.yaml")
    }

    /// The objects of the arena, and a friend of this name with the comer's addresses.
    fn write(&self, arena: &Arena, newcomer: Option<&str>) -> Result<()> {
        let mut spec = arena.testbed().spec().clone();
        let friend = spec.pods.iter().find(|pod| pod.name == "friend").context("a friend")?;
        let (name, labels) = (newcomer.unwrap_or_default().to_owned(), friend.labels.clone());
        let addresses = [false, true].map(comer).to_vec();
        spec.pods.extend(newcomer.map(|_| PodSpec {
            namespace: "dev".into(),
            name,
            labels,
            node: 0,
            addresses,
            host_network: false,
            ports: Vec::new(),
        }));
        let text = objects::manifests(&spec, &Arena::policies());
        let next = self.folder.path().join("next");
        fs::write(&next, text).context("write objects")?;
        fs::rename(next, self.file()).context("replace the objects")
    }

    fn start(&mut self, arena: &Arena) -> Result<()> {
        let mut command = arena.endpoint("node-1")?.namespace.command(program::path()?);
        command.args(["apply", "--watch", "--node", "node-1", "-f"]).arg(self.file());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().context("start nftpol")?);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("a process")?;
        ensure!(process.try_wait()?.is_none(), "nftpol ended by itself");
        process.kill().context("kill nftpol")?;
        process.wait().context("wait for nftpol")?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.process.is_some() {
            let _ = self.kill();
        }
    }
}

/// Waits until the table binds the comer's IPv4 address, or does not.
fn until_bound(arena: &Arena, address: IpAddr, bound: bool) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        let mut command = arena.endpoint("node-1")?.namespace.command("nft");
        let output = command.args(["list", "set", "inet", "nftpol", "owned4"]).output()?;
        let listing = String::from_utf8_lossy(&output.stdout).replace([',', '}'], " ");
        let has = listing.split_whitespace().any(|word| word == address.to_string());
        if output.status.success() && has == bound {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    anyhow::bail!("{address} is not bound (or still is) after {DEADLINE:?}")
}

fn way(arena: &Arena) -> Way {
    match arena.testbed().spec().network {
        Network::Bridge | Network::Macvlan | Network::Moved => Way::Neighbour,
        Network::Routed => Way::Gateway,
    }
}

fn shots(arena: &Arena) -> Result<Vec<Shot>> {
    let mut shots = Vec::new();
    for v6 in [false, true] {
        let at = |name: &str| arena.address(name, v6);
        let mut shot = |name: &str, from: &str, way, source: IpAddr, honest| -> Result<()> {
            let marker = marker();
            let packet = udp((source, PORTS.0).into(), (at("victim")?, PORTS.1).into(), &marker);
            let mut shot = arena.shot(name, (from, way, "victim"), &packet, marker)?;
            shot.honest = honest;
            shots.push(shot);
            Ok(())
        };
        shot("friend", "friend", way(arena), at("friend")?, true)?;
        shot("friend-2", "friend-2", Way::Gateway, at("friend-2")?, true)?;
        for (name, source) in [
            ("as friend", at("friend")?),
            ("as friend-2", at("friend-2")?),
            ("as the comer", comer(v6)),
            ("as the victim", at("victim")?),
        ] {
            for way in [Way::Gateway, way(arena)] {
                shot(&format!("attacker {name}, {way:?}"), "attacker", way, source, false)?;
            }
        }
        shot("stranger as friend", "stranger", way(arena), at("friend")?, false)?;
        shot("outsider as friend", "outsider", Way::Gateway, at("friend")?, false)?;
    }
    Ok(shots)
}

/// One round of everything that can happen to a binding.
fn cycle(arena: &mut Arena, node: &mut Node, number: usize) -> Result<()> {
    let addresses = [false, true].map(comer);
    let (first, second) = (format!("first{number}"), format!("second{number}"));
    let claims = |arena: &Arena, verb: &str, mac: &str| -> Result<()> {
        let mac = text(arena.mac(mac)?);
        arena.endpoint("attacker")?.namespace.ip(&format!(
            "link set eth0 address {mac}\naddr {verb} {}/32 dev eth0\naddr {verb} {}/32 dev eth0",
            comer(false),
            arena.address("friend", false)?
        ))
    };
    // A claim before the pod is there, in every other round.
    if !number.is_multiple_of(2) {
        claims(arena, "add", "friend")?;
    }
    arena.add(&first, 100 + number, &addresses)?;
    node.write(arena, Some(&first))?;
    until_bound(arena, comer(false), true)?;
    reaches(arena, &first)?;
    let (from, to) = (100 + number, format!("renamed{number}"));
    arena.endpoint("node-1")?.namespace.ip(&format!("link set veth{from} name {to}"))?;
    if number.is_multiple_of(2) {
        claims(arena, "add", "victim")?;
    }
    if number % 3 == 1 {
        node.kill()?;
        node.start(arena)?;
    }
    sleep(Duration::from_millis(150));
    reaches(arena, &first)?;
    // The same address on another port, while the first one is still there.
    arena.add(&second, 200 + number, &addresses)?;
    node.write(arena, Some(&second))?;
    sleep(Duration::from_millis(100));
    arena.remove(&first)?;
    reaches(arena, &second)?;
    claims(arena, "del", "attacker")?;
    node.write(arena, None)?;
    until_bound(arena, comer(false), false)?;
    arena.remove(&second)
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The new pod reaches the victim soon.
fn reaches(arena: &Arena, name: &str) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        let marker = marker();
        let to = (arena.address("victim", false)?, arena.port()).into();
        let packet = udp((comer(false), arena.port()).into(), to, &marker);
        arena.packet(name, way(arena), "victim", &packet)?;
        if arena.arrives("victim", marker)? {
            return Ok(());
        }
    }
    anyhow::bail!("{name} does not reach the victim after {DEADLINE:?}")
}

fn wrong(shots: &[Shot], hits: &[Hits]) -> u64 {
    shots.iter().zip(hits).filter(|(shot, _)| !shot.honest).map(|(_, hits)| hits.arrived()).sum()
}

fn nft(arena: &Arena, command: &[&str]) -> Result<()> {
    let status = arena.endpoint("node-1")?.namespace.command("nft").args(command).status()?;
    ensure!(status.success(), "nft {command:?}");
    Ok(())
}

/// Flushes everything. Returns how long forged packets arrived.
fn flush(arena: &Arena, shots: &[Shot], hits: &[Hits]) -> Result<Duration> {
    let start = Instant::now();
    nft(arena, &["flush", "ruleset"])?;
    let (mut seen, mut last) = (wrong(shots, hits), start);
    while last.elapsed() < Duration::from_millis(500) {
        ensure!(start.elapsed() < DEADLINE, "forged packets arrive {DEADLINE:?} after a flush");
        let now = wrong(shots, hits);
        if now > seen {
            (seen, last) = (now, Instant::now());
        }
        sleep(Duration::from_millis(2));
    }
    Ok(last - start)
}

fn under_fire(network: Network) -> Result<()> {
    let mut arena = Arena::new(network, Between::Routes)?;
    if network == Network::Bridge {
        // Otherwise it changes with the bridge's ports, and the shots are made before.
        let mac = text(arena.gateway("attacker")?);
        arena.endpoint("node-1")?.namespace.ip(&format!("link set cni0 address {mac}"))?;
    }
    arena.enforce()?;
    let shots = shots(&arena)?;
    let ear = arena.ear("victim")?;
    let mut node = Node { folder: Folder::new("forged")?, process: None };
    node.write(&arena, None)?;
    node.start(&arena)?;
    let (result, hits) = fire(&shots, &ear, |hits| {
        for number in 0..CYCLES {
            cycle(&mut arena, &mut node, number).with_context(|| format!("round {number}"))?;
        }
        Ok(wrong(&shots, hits))
    })?;
    let mut table = String::from("\n| packets | sent | arrived |\n|---|---|---|\n");
    for (shot, hits) in shots.iter().zip(&hits) {
        let (sent, arrived) = (hits.sent(), hits.arrived());
        table += &format!("| {} | {sent} | {arrived} |\n", shot.name);
    }
    std::io::stderr().write_all(table.as_bytes())?;
    ensure!(result == 0 && wrong(&shots, &hits) == 0, "forged packets arrived:{table}");
    for (shot, hits) in shots.iter().zip(&hits).filter(|(shot, _)| shot.honest) {
        let (sent, arrived) = (hits.sent(), hits.arrived());
        ensure!(sent == arrived, "{}: {arrived} of {sent} arrived", shot.name);
    }
    controls(&arena, &shots, &ear, node)
}

/// Moments when forged packets must be seen to arrive.
fn controls(arena: &Arena, shots: &[Shot], ear: &OwnedFd, mut node: Node) -> Result<()> {
    let (gap, flushed) = fire(shots, ear, |hits| flush(arena, shots, hits))?;
    let network = arena.testbed().spec().network;
    let told = format!("{network:?}: forged packets arrived for {gap:?} after a flush\n");
    std::io::stderr().write_all(told.as_bytes())?;
    ensure!(wrong(shots, &flushed) > 0, "a flush lets nothing in: this test would see nothing");
    node.kill()?;
    nft(arena, &["flush", "ruleset"])?;
    let ((), open) = fire(shots, ear, |_| {
        sleep(Duration::from_millis(200));
        Ok(())
    })?;
    for (shot, hits) in shots.iter().zip(&open) {
        ensure!(hits.arrived() > 0, "{} never arrives: this test would not see it", shot.name);
    }
    Ok(())
}

#[test]
fn bindings_of_a_bridge_change_under_fire() -> Result<()> {
    under_fire(Network::Bridge)
}

#[test]
fn bindings_of_routed_pods_change_under_fire() -> Result<()> {
    under_fire(Network::Routed)
}
