//! What the table in the kernel does to a packet.
//!
//! In: a packet and a direction. Out: whether that side lets it pass, and by which rule of
//! the table that the kernel has now. Never: the table that the agent wants.

use std::net::IpAddr;

use author::live::protocol::{AskedPacket, Judged, Line};
use compiler::{Layout, scaffold};
use nft::{DropCounts, Kernel};
use policy::Direction;
use ruleset::simulator::{self, End, Outcome, Packet};
use ruleset::{Family, Ruleset, TableFamily, TableId};

use super::Behind;

/// The answer as a line.
pub(super) fn line(behind: &Behind, asked: &AskedPacket) -> Line {
    match judged(behind, asked) {
        Ok(judged) => Line::Judged(judged),
        Err(why) => Line::Error(why),
    }
}

fn judged(behind: &Behind, asked: &AskedPacket) -> Result<Judged, String> {
    let named = |direction: &&Direction| direction.to_string() == asked.direction;
    let direction = Direction::BOTH.iter().find(named).copied();
    let direction = direction.ok_or_else(|| format!("no direction: {:?}", asked.direction))?;
    if asked.source.is_ipv4() != asked.destination.is_ipv4() {
        return Err("a packet has addresses of one family".to_owned());
    }
    let table = table()?;
    let proved = behind.view.look().enforced.and_then(|enforced| enforced.proved);
    let judged = of_table(&table, direction, asked)?;
    Ok(Judged {
        node: behind.node.clone(),
        dropped: dropped(direction, own(direction, asked)),
        proof_age_seconds: proved.map(|proved| proved.elapsed().as_secs_f64()),
        ..judged
    })
}

/// The table as the kernel has it.
fn table() -> Result<Ruleset, String> {
    let id = TableId { family: TableFamily::Inet, name: scaffold::table() };
    let read = |error: &dyn std::fmt::Display| format!("read table {id}: {error}");
    let dump = Kernel::open().map_err(|error| read(&error))?.dump(&id);
    let dump = dump.map_err(|error| read(&error))?;
    let dump = dump.ok_or_else(|| format!("the kernel has no table {id}: nothing is enforced"))?;
    match dump.foreign.first() {
        None => Ok(dump.ruleset),
        Some(one) => {
            Err(format!("what {} in table {id} does is not known ({})", one.name, one.why))
        }
    }
}

/// The address whose policies are asked.
fn own(direction: Direction, asked: &AskedPacket) -> IpAddr {
    match direction {
        Direction::Egress => asked.source,
        Direction::Ingress => asked.destination,
    }
}

fn of_table(table: &Ruleset, direction: Direction, asked: &AskedPacket) -> Result<Judged, String> {
    let broken = |error: simulator::Broken| format!("the table cannot be followed: {error}");
    let packet = Packet {
        destination_port: asked.port,
        ..Packet::new(asked.source, asked.destination, asked.protocol)
    };
    let (layout, own) = (Layout::of(table), own(direction, asked));
    let isolated = layout.isolates(own, direction);
    let Some(chain) = layout.judged_by(own, direction).filter(|_| isolated) else {
        return Ok(Judged { isolated, passes: !isolated, ..Judged::default() });
    };
    let seen = simulator::simulate(table, &packet).map_err(broken)?;
    let passes = simulator::simulate_chain(table, chain, &packet).map_err(broken)? != End::Dropped;
    // A packet that passes between a pod and its own node, say, meets no chain of a pod.
    let passes = passes || seen.outcome == Outcome::Accept;
    let rule = seen.trace.iter().rfind(|place| place.chain == *chain).map(|place| place.rule);
    let comment = rule.and_then(|rule| table.chains.get(chain)?.rules.get(rule)?.comment.as_ref());
    Ok(Judged {
        isolated,
        passes,
        chain: Some(chain.to_string()),
        rule,
        comment: comment.map(|text| text.as_str().to_owned()),
        ..Judged::default()
    })
}

/// Packets of an address that were dropped; `None` if they are not counted.
fn dropped(direction: Direction, address: IpAddr) -> Option<u64> {
    let set = scaffold::log_set(direction, Family::of(address));
    let counts = DropCounts::open().ok()?.of(scaffold::table().as_str(), set.as_str()).ok()?;
    Some(counts.get(&address).copied().unwrap_or_default())
}
