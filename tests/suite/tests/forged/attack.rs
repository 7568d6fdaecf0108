//! An attack as a value, and the run that holds it against the table.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use netbed::arena::{Arena, Way};
use netbed::forge::{Marker, Packet, marker, udp};
use samples::testbed_spec::{Between, Network};

/// Families of the forged packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// IPv4 and IPv6.
    Both,
    V4,
    V6,
}

/// One attack.
#[derive(Clone, Copy)]
pub struct Attack {
    /// The kind of attack.
    pub point: &'static str,
    pub name: &'static str,
    /// Where it applies.
    pub networks: fn(Network, Between) -> bool,
    pub families: On,
    /// Who attacks whom.
    pub cases: &'static [(&'static str, &'static str)],
    /// The hardware addresses to send to. A neighbour's is only tried on one bridge.
    pub ways: &'static [Way],
    /// Makes the attack. Returns whether it worked.
    pub run: fn(&Try<'_>) -> Result<bool>,
    /// Why it still works, if nothing on a node can stop it.
    pub open: Option<&'static str>,
}

pub const ANYWHERE: fn(Network, Between) -> bool = |_, _| true;
pub const BRIDGE: fn(Network, Between) -> bool = |network, _| matches!(network, Network::Bridge);
pub const ROUTED: fn(Network, Between) -> bool = |network, _| matches!(network, Network::Routed);
pub const VXLAN: fn(Network, Between) -> bool = |_, between| matches!(between, Between::Vxlan);
pub const UDP: fn(Network, Between) -> bool = |_, between| matches!(between, Between::Udp);
pub const TUNNELS: fn(Network, Between) -> bool =
    |_, between| matches!(between, Between::Vxlan | Between::Udp);

pub const GATEWAY: &[Way] = &[Way::Gateway];
pub const ALL_WAYS: &[Way] = &[Way::Gateway, Way::Neighbour, Way::Broadcast];

/// From a neighbour of the victim, and from a pod of another node.
pub const TO_VICTIMS: &[(&str, &str)] =
    &[("attacker", "victim"), ("attacker-2", "victim"), ("attacker", "victim-2")];
/// From an isolated pod to one that is not.
pub const FROM_PRISONERS: &[(&str, &str)] =
    &[("prisoner", "bystander"), ("prisoner", "bystander-2")];
/// Both directions of isolation.
pub const ALL_PAIRS: &[(&str, &str)] = &[
    ("attacker", "victim"),
    ("attacker-2", "victim"),
    ("prisoner", "bystander"),
    ("prisoner", "bystander-2"),
];
/// On one node.
pub const NEIGHBOURS: &[(&str, &str)] = &[("attacker", "victim"), ("prisoner", "bystander")];

/// One run of an attack.
pub struct Try<'a> {
    pub arena: &'a Arena,
    pub v6: bool,
    pub from: &'static str,
    pub to: &'static str,
    pub way: Way,
}

impl Try<'_> {
    pub fn address(&self, of: &str) -> Result<IpAddr> {
        self.arena.address(of, self.v6)
    }

    pub fn source(&self) -> Result<IpAddr> {
        self.address(self.from)
    }

    pub fn target(&self) -> Result<IpAddr> {
        self.address(self.to)
    }

    /// A socket address with a port that no packet had before.
    pub fn fresh(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.arena.port())
    }

    /// Sends a packet to the victim's address under any source.
    pub fn claims(&self, source: IpAddr) -> Result<bool> {
        self.delivers(source, self.target()?)
    }

    /// Sends a datagram under any addresses, and waits for it at the victim.
    pub fn delivers(&self, source: IpAddr, destination: IpAddr) -> Result<bool> {
        let marker = marker();
        let packet = udp(self.fresh(source), self.fresh(destination), &marker);
        self.send(&packet)?;
        self.arrives(marker)
    }

    pub fn send(&self, packet: &Packet) -> Result<()> {
        self.arena.packet(self.from, self.way, self.to, packet)
    }

    pub fn arrives(&self, marker: Marker) -> Result<bool> {
        self.arena.arrives(self.to, marker)
    }

    /// Whether both are on one node.
    pub fn is_near(&self) -> Result<bool> {
        Ok(self.arena.node(self.from)? == self.arena.node(self.to)?)
    }

    fn applies(&self) -> Result<bool> {
        let bridge = self.arena.testbed().spec().network == Network::Bridge;
        Ok(self.way == Way::Gateway || (bridge && self.is_near()?))
    }
}

impl Attack {
    fn tries<'a>(&self, arena: &'a Arena) -> Result<Vec<Try<'a>>> {
        let spec = arena.testbed().spec();
        let mut tries = Vec::new();
        if !(self.networks)(spec.network, spec.between) {
            return Ok(tries);
        }
        for v6 in [false, true] {
            let wanted = match self.families {
                On::Both => true,
                On::V4 => !v6,
                On::V6 => v6,
            };
            for &(from, to) in self.cases.iter().filter(|_| wanted) {
                for &way in self.ways {
                    let one = Try { arena, v6, from, to, way };
                    if one.applies()? {
                        tries.push(one);
                    }
                }
            }
        }
        Ok(tries)
    }

    fn all(&self, arena: &Arena) -> Result<Vec<(String, bool)>> {
        let tries = self.tries(arena)?.into_iter();
        tries
            .map(|one| {
                let spec = arena.testbed().spec();
                let name = format!(
                    "| {} {} | {} -> {}, {:?} | {:?}, {:?} | {} |",
                    self.point,
                    self.name,
                    one.from,
                    one.to,
                    one.way,
                    spec.network,
                    spec.between,
                    if one.v6 { "IPv6" } else { "IPv4" }
                );
                let worked = (self.run)(&one).with_context(|| name.clone())?;
                Ok((name, worked))
            })
            .collect()
    }
}

/// Makes all attacks without a table and with one. Fails when one does not work
/// without, or works with the table.
pub fn check(attacks: &[Attack], mut arena: Arena) -> Result<()> {
    let before = run(attacks, &arena)?;
    arena.enforce()?;
    arena.restore_places()?;
    let after = run(attacks, &arena)?;
    let (mut table, mut wrong) = (String::new(), String::new());
    for ((attack, name, without), (.., with)) in before.iter().zip(&after) {
        let verdict = |worked: bool| if worked { "works" } else { "stopped" };
        let row = format!("{name} {} | {} |", verdict(*without), verdict(*with));
        let _ = writeln!(table, "{row}");
        if !without || (*with && attack.open.is_none()) {
            let _ = writeln!(wrong, "{row}");
        }
    }
    print(&table)?;
    ensure!(wrong.is_empty(), "not as they should be:\n{wrong}");
    Ok(())
}

fn run<'a>(attacks: &'a [Attack], arena: &Arena) -> Result<Vec<(&'a Attack, String, bool)>> {
    let mut rows = Vec::new();
    for attack in attacks {
        rows.extend(attack.all(arena)?.into_iter().map(|(name, worked)| (attack, name, worked)));
    }
    Ok(rows)
}

/// The print macros would not do: the test runner captures their output.
fn print(table: &str) -> Result<()> {
    let heads = "| attack | from, to | network | family | without a table | with nftpol |\n\
                 |---|---|---|---|---|---|\n";
    std::io::stderr().write_all(format!("\n{heads}{table}").as_bytes()).context("write to stderr")
}
