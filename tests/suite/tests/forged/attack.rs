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

/// What must happen to an attack, or to an honest packet, with the policies in force.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    Stop,
    /// It still works, and why nothing on a node can stop it.
    StayOpen(&'static str),
    /// It is an honest way.
    Pass,
}

/// One attack, or one honest way.
#[derive(Clone, Copy)]
pub struct Attack {
    /// The kind of attack.
    pub point: &'static str,
    pub name: &'static str,
    /// Where it applies.
    pub networks: fn(Network, Between) -> bool,
    pub families: On,
    /// Tries that no network delivers are left out.
    pub fits: fn(&Try<'_>) -> bool,
    /// Who attacks whom.
    pub cases: &'static [(&'static str, &'static str)],
    /// The hardware addresses to send to. A neighbour's is only tried on one bridge.
    pub ways: &'static [Way],
    /// Makes the attack. Returns whether it worked.
    pub run: fn(&Try<'_>) -> Result<bool>,
    pub must: Must,
}

pub const ANYWHERE: fn(Network, Between) -> bool = |_, _| true;
pub const BRIDGE: fn(Network, Between) -> bool = |network, _| matches!(network, Network::Bridge);
pub const ROUTED: fn(Network, Between) -> bool = |network, _| matches!(network, Network::Routed);
pub const VXLAN: fn(Network, Between) -> bool = |_, between| matches!(between, Between::Vxlan);

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

    pub fn is_routed(&self) -> bool {
        self.arena.testbed().spec().network == Network::Routed
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
                    if one.applies()? && (self.fits)(&one) {
                        tries.push(one);
                    }
                }
            }
        }
        Ok(tries)
    }

    /// Makes the attack in all ways. Returns a name for each, and whether it worked.
    fn all(&self, arena: &Arena) -> Result<Vec<(Row, String, bool)>> {
        let spec = arena.testbed().spec();
        let tries = self.tries(arena)?.into_iter();
        tries
            .map(|one| {
                let family = if one.v6 { "IPv6" } else { "IPv4" };
                let network = format!("{:?}, {:?}", spec.network, spec.between);
                let row = format!("{} {} | {network} | {family}", self.point, self.name);
                let detail = format!("{row} | {} -> {}, {:?}", one.from, one.to, one.way);
                let worked = (self.run)(&one).with_context(|| detail.clone())?;
                Ok((row, detail, worked))
            })
            .collect()
    }
}

/// An attack, a network and a family.
type Row = String;

/// How many ways of a row were tried, worked without a table, and with one.
#[derive(Default)]
struct Counts {
    tried: u32,
    without: u32,
    with: u32,
}

/// Makes all attacks of these rounds without a table and with one. Fails when one does not work
/// without, or works with the table.
pub fn check(rounds: &[Vec<Attack>], mut arena: Arena) -> Result<()> {
    let before = run(rounds, &arena)?;
    arena.enforce()?;
    arena.prove()?;
    let after = run(rounds, &arena)?;
    let (mut rows, mut wrong) = (Vec::<(Row, Counts)>::new(), String::new());
    for ((attack, row, detail, without), (.., with)) in before.into_iter().zip(after) {
        if !without {
            let _ = writeln!(wrong, "does not work without a table: {detail}");
        }
        let _ = match attack.must {
            Must::Stop if with => writeln!(wrong, "works: {detail}"),
            Must::StayOpen(why) if !with => {
                writeln!(wrong, "stopped, although {why}: {detail}")
            }
            Must::Pass if !with => writeln!(wrong, "lost: {detail}"),
            Must::Stop | Must::StayOpen(_) | Must::Pass => Ok(()),
        };
        if rows.last().is_none_or(|(last, _)| *last != row) {
            rows.push((row, Counts::default()));
        }
        if let Some((_, counts)) = rows.last_mut() {
            counts.tried += 1;
            counts.without += u32::from(without);
            counts.with += u32::from(with);
        }
    }
    print(&rows)?;
    ensure!(wrong.is_empty(), "not as they should be:\n{wrong}");
    Ok(())
}

type Results<'a> = Vec<(&'a Attack, Row, String, bool)>;

fn run<'a>(rounds: &'a [Vec<Attack>], arena: &Arena) -> Result<Results<'a>> {
    let mut results = Vec::new();
    for attacks in rounds {
        for attack in attacks {
            let tries = attack.all(arena)?.into_iter();
            results.extend(tries.map(|(row, detail, worked)| (attack, row, detail, worked)));
        }
        // What kernels were made to believe must not disturb what follows.
        arena.restore()?;
    }
    Ok(results)
}

/// The print macros would not do: the test runner captures their output.
fn print(rows: &[(Row, Counts)]) -> Result<()> {
    let mut table = "\n| attack | network | family | without a table | with nftpol |\n\
                     |---|---|---|---|---|\n"
        .to_owned();
    for (row, Counts { tried, without, with }) in rows {
        let verdict = |worked: u32| match worked {
            0 => "stopped".to_owned(),
            worked => format!("works, {worked} of {tried}"),
        };
        let _ = writeln!(table, "| {row} | {} | {} |", verdict(*without), verdict(*with));
    }
    std::io::stderr().write_all(table.as_bytes()).context("write to stderr")
}
