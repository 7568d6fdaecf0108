//! An answer for people.
//!
//! In: an [`Answer`]. Out: text, one case after the other.

use std::fmt::{self, Write};

use super::report::{Answer, Case, EndName, Kernel, Match, Policy, Rule, Side, Verdict};
use crate::printable::escaped;
use crate::reach::Family;

/// How many names of ends are written out.
const NAMES: usize = 3;

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(network) = &self.network {
            writeln!(f, "on network {}, by its MultiNetworkPolicies", escaped(network))?;
        }
        for (index, case) in self.cases.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            case.fmt(f)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {}", escaped(note))?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allowed => "allowed",
            Self::Partly => "partly",
            Self::Denied => "denied",
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = self.verdict.to_string().to_uppercase();
        let (from, to) = (self.names(&self.from), self.names(&self.to));
        let port = match &self.port {
            Some(port) => port.clone(),
            None => format!("ports: {}", self.passes),
        };
        let families: Vec<String> = self.families.iter().map(ToString::to_string).collect();
        write!(f, "{verdict}  {from} -> {to}  {port}, {}", families.join(" and "))?;
        for family in &self.without {
            write!(f, "; {family}: no address")?;
        }
        writeln!(f)?;
        for hop in &self.hops {
            writeln!(f, "  way      {}", escaped(hop))?;
        }
        for (name, side, of) in
            [("egress", &self.egress, &self.from), ("ingress", &self.ingress, &self.to)]
        {
            writeln!(f, "  {name:7}  {:7}  {}", side.verdict, escaped(&side.why))?;
            rules(f, side)?;
            chain(f, side, of)?;
            kernel(f, name, side)?;
        }
        for (index, line) in self.nearest.iter().enumerate() {
            let label = if index == 0 { "nearest" } else { "or" };
            writeln!(f, "  {label:7}  {}", escaped(line))?;
        }
        Ok(())
    }
}

impl Case {
    /// `shop/cart-0 (10.0.0.1, worker-1)`; of many the first and their number.
    fn names(&self, all: &[EndName]) -> String {
        let is_meant = |address: &&str| {
            let family = if address.contains(':') { Family::Ipv6 } else { Family::Ipv4 };
            self.families.contains(&family)
        };
        let shown = all.iter().take(NAMES).map(|one| {
            let addresses = one.addresses.iter().map(String::as_str).filter(is_meant);
            // An address is its own name.
            let details: Vec<&str> = addresses
                .filter(|address| !one.name.ends_with(address))
                .chain(one.node.as_deref())
                .collect();
            // Several with their addresses are too long for a line.
            match details.is_empty() || all.len() > 1 {
                true => one.name.clone(),
                false => format!("{} ({})", one.name, details.join(", ")),
            }
        });
        let mut text = shown.collect::<Vec<_>>().join(", ");
        if let Some(more @ 1..) = all.len().checked_sub(NAMES) {
            // Writing to a String does not fail.
            let _ = write!(text, " and {more} more");
        }
        escaped(&text)
    }
}

/// Policy, rule, place, ports; then the peers, a line each.
fn rules(f: &mut fmt::Formatter<'_>, side: &Side) -> fmt::Result {
    let rows = side.policies.iter().flat_map(rows).collect::<Vec<_>>();
    let width = |column: usize| rows.iter().map(|(row, _)| row[column].chars().count()).max();
    let widths: [usize; 4] = std::array::from_fn(|column| width(column).unwrap_or_default());
    for (row, peers) in &rows {
        let mut line = String::from("  ");
        for (cell, width) in row.iter().zip(widths).filter(|(_, width)| *width > 0) {
            let _ = write!(line, "  {cell:width$}");
        }
        let indent = line.chars().count();
        for (index, peer) in peers.iter().enumerate() {
            if index > 0 {
                line = " ".repeat(indent);
            }
            writeln!(f, "{}", escaped(&format!("{line}  {peer}")))?;
        }
        if peers.is_empty() {
            writeln!(f, "{}", escaped(line.trim_end()))?;
        }
    }
    Ok(())
}

fn rows(policy: &Policy) -> Vec<([String; 4], Vec<String>)> {
    let row = |rule: &Rule| {
        let ports = half("ports", &rule.ports, &rule.ports.why.join(", "));
        let at = rule.at.clone().unwrap_or_default();
        let peers = rule.peer.why.iter().enumerate().map(|(index, why)| match index {
            0 => half("peer", &rule.peer, why),
            _ => format!("      or {why}"),
        });
        ([policy.name.clone(), rule.name.clone(), at, ports], peers.collect())
    };
    if policy.rules.is_empty() {
        let none = "no rules".to_owned();
        let at = policy.at.clone().unwrap_or_default();
        return vec![([policy.name.clone(), none, at, String::new()], Vec::new())];
    }
    policy.rules.iter().map(row).collect()
}

fn half(name: &str, one: &Match, why: &str) -> String {
    let matches = if one.matches { "yes" } else { "no" };
    format!("{name} {matches}: {why}")
}

fn chain(f: &mut fmt::Formatter<'_>, side: &Side, of: &[EndName]) -> fmt::Result {
    let Some(chain) = &side.chain else { return Ok(()) };
    let node = match of {
        [EndName { node: Some(node), .. }] => format!("on {node}: "),
        _ => String::new(),
    };
    writeln!(f, "    {}chain {}", escaped(&node), escaped(chain))
}

/// What the kernel does, where an agent was asked.
fn kernel(f: &mut fmt::Formatter<'_>, direction: &str, side: &Side) -> fmt::Result {
    let line = match &side.kernel {
        None => return Ok(()),
        Some(Kernel::NotKnown(why)) => format!("kernel: not known: {why}"),
        Some(Kernel::Judged { node, verdict, rule, dropped, proved_seconds_ago }) => {
            let mut line = format!("kernel ({node}): {verdict}");
            match rule {
                Some(rule) if rule.starts_with("the end") => line += &format!(" at {rule}"),
                Some(rule) => line += &format!(" by {rule}"),
                None => {}
            }
            if let Some(packets) = dropped {
                let way = if direction == "egress" { "from" } else { "to" };
                line += &format!("; {packets} packets {way} it dropped");
            }
            if let Some(seconds) = proved_seconds_ago {
                line += &format!("; proved {seconds} s ago");
            }
            line
        }
    };
    writeln!(f, "    {}", escaped(&line))
}
