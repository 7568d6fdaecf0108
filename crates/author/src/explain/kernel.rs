//! What the kernels of the ends' nodes do to the packet.
//!
//! In: an answer, and who asks an agent. Out: the answer, with what the agent says of each
//! side. Never: a verdict that is changed: where the kernel's differs, both are there, and a
//! note says so.

use policy::Direction;
use policy::spec::ProtocolPort;

use super::report::{Answer, Case, EndName, Kernel, Side, Verdict};
use crate::live::protocol::{AskedPacket, Judged};

/// Asks the agent of this node, or says why there is no answer.
pub type AskAgent<'a> = &'a dyn Fn(&AskedPacket) -> Result<Judged, String>;

/// Adds what the kernel does, to each side that policies isolate.
pub fn add_kernel(answer: &mut Answer, ask: AskAgent<'_>) {
    for case in &mut answer.cases {
        let Case { egress, ingress, from, to, .. } = case;
        for (direction, side, ends) in
            [(Direction::Egress, egress, &*from), (Direction::Ingress, ingress, &*to)]
        {
            side.kernel = of_side(direction, side, ends, ask);
            answer.notes.extend(side.kernel.as_ref().and_then(|one| differs(direction, side, one)));
        }
    }
    answer.notes.dedup();
}

fn of_side(
    direction: Direction,
    side: &Side,
    ends: &[EndName],
    ask: AskAgent<'_>,
) -> Option<Kernel> {
    if !side.is_isolated {
        return None;
    }
    let not_known = |why: String| Some(Kernel::NotKnown(why));
    let Some(packet) = side.asked.0 else {
        return not_known("an address is made up; ask about pods of the cluster".to_owned());
    };
    let Some(transport) = packet.transport else {
        return not_known("name a port: a packet is asked about".to_owned());
    };
    let (protocol, port) = match transport {
        ProtocolPort::Port(protocol, port) => (protocol.number(), Some(port)),
        ProtocolPort::Other(number) => (number, None),
    };
    let question = AskedPacket {
        direction: direction.to_string(),
        source: packet.source,
        destination: packet.destination,
        protocol,
        port,
    };
    match ask(&question) {
        Err(why) => not_known(why),
        Ok(judged) => Some(told(judged, ends)),
    }
}

fn told(judged: Judged, ends: &[EndName]) -> Kernel {
    let Judged { node, isolated, passes, chain, rule, comment, dropped, proof_age_seconds } =
        judged;
    let elsewhere = ends.iter().find_map(|end| end.node.as_ref().filter(|one| **one != node));
    if let (false, Some(other)) = (isolated, elsewhere) {
        return Kernel::NotKnown(format!("this is {node}; ask on {other}"));
    }
    let rule = match (chain, rule) {
        (Some(chain), Some(number)) => {
            let comment = comment.map(|text| format!(" ({text})")).unwrap_or_default();
            Some(format!("chain {chain}, rule {number}{comment}"))
        }
        (Some(chain), None) => Some(format!("the end of chain {chain}")),
        (None, _) => None,
    };
    Kernel::Judged {
        node,
        verdict: if passes { Verdict::Allowed } else { Verdict::Denied },
        rule,
        dropped,
        proved_seconds_ago: proof_age_seconds.map(|age| age as u64),
    }
}

fn differs(direction: Direction, side: &Side, kernel: &Kernel) -> Option<String> {
    match kernel {
        Kernel::Judged { node, verdict, .. } if *verdict != side.verdict => Some(format!(
            "the kernel of {node} says {verdict} for {direction}, and the objects say {}: the \
             table may be older than the objects, or a policy is set aside (nftpol status)",
            side.verdict
        )),
        Kernel::Judged { .. } | Kernel::NotKnown(_) => None,
    }
}

#[cfg(test)]
mod tests;
