//! An answer for people.
//!
//! In: an [`Answer`]. Out: text, one case after the other.

use std::fmt::{self, Write};

use super::report::{Answer, Case, EndName, Match, Policy, Rule, Side, Verdict};
use crate::reach::Family;

/// How many names of ends are written out.
const NAMES: usize = 3;

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, case) in self.cases.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            case.fmt(f)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {}", printable(note))?;
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
        let (from, to) = (names(&self.from), names(&self.to));
        let port = match &self.port {
            Some(port) => port.clone(),
            None => format!("ports: {}", self.passes),
        };
        let families: Vec<&str> = self.families.iter().copied().map(Family::name).collect();
        write!(f, "{verdict}  {from} -> {to}  {port}, {}", families.join(" and "))?;
        for family in &self.without {
            write!(f, "; {}: no address", family.name())?;
        }
        writeln!(f)?;
        for hop in &self.hops {
            writeln!(f, "  way      {}", printable(hop))?;
        }
        for (name, side, of) in
            [("egress", &self.egress, &self.from), ("ingress", &self.ingress, &self.to)]
        {
            writeln!(f, "  {name:7}  {:7}  {}", side.verdict, printable(&side.why))?;
            rules(f, side)?;
            chain(f, side, of)?;
        }
        for (index, line) in self.nearest.iter().enumerate() {
            let label = if index == 0 { "nearest" } else { "or" };
            writeln!(f, "  {label:7}  {}", printable(line))?;
        }
        Ok(())
    }
}

/// `shop/cart-0 (10.0.0.1, worker-1)`; of many the first and their number.
fn names(all: &[EndName]) -> String {
    let shown = all.iter().take(NAMES).map(|one| {
        let details: Vec<&str> =
            one.addresses.iter().map(String::as_str).chain(one.node.as_deref()).collect();
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
    printable(&text)
}

fn rules(f: &mut fmt::Formatter<'_>, side: &Side) -> fmt::Result {
    let rows = side.policies.iter().flat_map(rows).collect::<Vec<_>>();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or_default()).collect();
    for row in &rows {
        let mut line = String::from("   ");
        for (cell, width) in row.iter().zip(&widths).filter(|(_, width)| **width > 0) {
            let _ = write!(line, " {cell:width$} ");
        }
        writeln!(f, "{}", printable(line.trim_end()))?;
    }
    Ok(())
}

fn rows(policy: &Policy) -> Vec<[String; 5]> {
    let row = |rule: &Rule| {
        [
            policy.name.clone(),
            rule.name.clone(),
            rule.at.clone().unwrap_or_default(),
            half("peer", &rule.peer),
            half("ports", &rule.ports),
        ]
    };
    if policy.rules.is_empty() {
        let none = "no rules".to_owned();
        let at = policy.at.clone().unwrap_or_default();
        return vec![[policy.name.clone(), none, at, String::new(), String::new()]];
    }
    policy.rules.iter().map(row).collect()
}

fn half(name: &str, one: &Match) -> String {
    let matches = if one.matches { "yes" } else { "no" };
    format!("{name} {matches}: {}", one.why.join("; or "))
}

fn chain(f: &mut fmt::Formatter<'_>, side: &Side, of: &[EndName]) -> fmt::Result {
    let Some(chain) = &side.chain else { return Ok(()) };
    let node = match of {
        [EndName { node: Some(node), .. }] => format!("on {node}: "),
        _ => String::new(),
    };
    writeln!(f, "    {}chain {}", printable(&node), printable(chain))
}

/// Control characters of names are shown escaped.
fn printable(text: &str) -> String {
    let shown = |one: char| match one.is_control() {
        true => one.escape_debug().to_string(),
        false => one.to_string(),
    };
    text.chars().map(shown).collect()
}
