//! Compares what was seen with the specification.
//!
//! Counts how many flows passed or were refused as they should, or fails with a
//! list of all others. Only [`policy::spec`] decides what is right.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use policy::Snapshot;
use policy::spec::{Decision, Side, decide_with, owners};

use crate::probe::{Flow, Knock, Seen};
use crate::testbed::Testbed;

/// Errors list this many flows one by one. For more, see the grids.
const LISTED: usize = 20;

/// Flows that did what they should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Allowed by the specification, and answered.
    pub passed: usize,
    /// Denied by the specification, and nothing arrived.
    pub refused: usize,
}

/// A flow, its expected result, and what was seen.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The flow.
    pub flow: Flow,
    /// The specification's decision for its first packet.
    pub decision: Decision,
    /// How far it came.
    pub seen: Seen,
}

impl Verdict {
    /// Whether packets and specification agree. A flow that arrives without an
    /// answer is always wrong.
    pub fn is_right(&self) -> bool {
        self.seen == if self.decision.passes() { Seen::Answered } else { Seen::Nothing }
    }

    /// One character for the grids.
    fn symbol(&self) -> char {
        match (self.decision.passes(), self.seen) {
            (true, Seen::Answered) => '+',
            (false, Seen::Nothing) => '.',
            (true, Seen::Arrived) => '?',
            (true, Seen::Nothing) => 'X',
            (false, _) => '!',
        }
    }
}

/// Pairs each flow with the specification's decision.
///
/// # Errors
/// When a flow's endpoints have no addresses of its family.
pub fn judge(
    cluster: &Testbed,
    snapshot: &Snapshot,
    flows: &[Flow],
    seen: &[Seen],
) -> Result<Vec<Verdict>> {
    ensure!(flows.len() == seen.len(), "{} flows, {} results", flows.len(), seen.len());
    let owners = owners(snapshot);
    flows
        .iter()
        .zip(seen)
        .map(|(&flow, &seen)| {
            let packet = flow.packet(cluster).context("a flow between different families")?;
            Ok(Verdict { flow, decision: decide_with(snapshot, &owners, None, &packet), seen })
        })
        .collect()
}

/// Counts them. Fails if any is wrong.
///
/// # Errors
/// When a flow is wrong, with a list and grids.
pub fn check(cluster: &Testbed, verdicts: &[Verdict]) -> Result<Counts> {
    let wrong: Vec<&Verdict> = verdicts.iter().filter(|verdict| !verdict.is_right()).collect();
    if wrong.is_empty() {
        let passed = verdicts.iter().filter(|verdict| verdict.decision.passes()).count();
        return Ok(Counts { passed, refused: verdicts.len() - passed });
    }
    let mut text =
        format!("{} of {} flows are not as the spec says\n", wrong.len(), verdicts.len());
    for verdict in wrong.iter().take(LISTED) {
        let _ = writeln!(text, "  {}", explain(cluster, verdict));
    }
    if wrong.len() > LISTED {
        let _ = writeln!(text, "  and {} more", wrong.len() - LISTED);
    }
    text.push_str("+ passed, . refused; wrong: ! leaked, X lost, ? answer lost\n");
    let mut grids: BTreeMap<(Knock, bool), Vec<&Verdict>> = BTreeMap::new();
    for verdict in verdicts {
        grids.entry((verdict.flow.knock, verdict.flow.v6)).or_default().push(verdict);
    }
    for ((knock, v6), grid) in grids {
        if grid.iter().any(|verdict| !verdict.is_right()) {
            let _ = writeln!(text, "{knock} {}, from row to column", family(v6));
            draw(&mut text, cluster, &grid);
        }
    }
    bail!(text)
}

fn explain(cluster: &Testbed, verdict: &Verdict) -> String {
    let Decision { egress, ingress } = &verdict.decision;
    let should = if verdict.decision.passes() { "pass" } else { "be refused" };
    let was = match verdict.seen {
        Seen::Nothing => "nothing came",
        Seen::Arrived => "arrived, without an answer",
        Seen::Answered => "passed",
    };
    let flow = verdict.flow.describe(cluster);
    format!("{flow}: must {should} (egress {}, ingress {}), {was}", side(egress), side(ingress))
}

fn side(side: &Side) -> String {
    match side {
        Side::NotIsolated => "not isolated".into(),
        Side::Exempt => "exempt".into(),
        Side::Allowed(rules) => {
            let rules: Vec<_> =
                rules.iter().map(|rule| format!("{} rule {}", rule.policy, rule.index)).collect();
            format!("allowed by {}", rules.join(", "))
        }
        Side::Denied(policies) => {
            let policies: Vec<_> = policies.iter().map(ToString::to_string).collect();
            format!("isolated by {}", policies.join(", "))
        }
        Side::Shut(policies) => {
            let policies: Vec<_> = policies.iter().map(ToString::to_string).collect();
            format!("shut, isolated by {}", policies.join(", "))
        }
    }
}

fn draw(text: &mut String, cluster: &Testbed, grid: &[&Verdict]) {
    let endpoints = cluster.endpoints();
    let cells: BTreeMap<_, _> = grid
        .iter()
        .map(|verdict| ((verdict.flow.from, verdict.flow.to), verdict.symbol()))
        .collect();
    let width = endpoints.iter().map(|endpoint| endpoint.name.len()).max().unwrap_or_default();
    for (from, endpoint) in endpoints.iter().enumerate() {
        let row: String =
            (0..endpoints.len()).map(|to| cells.get(&(from, to)).copied().unwrap_or(' ')).collect();
        let _ = writeln!(text, "  {:width$} |{row}|", endpoint.name);
    }
}

fn family(v6: bool) -> &'static str {
    if v6 { "IPv6" } else { "IPv4" }
}
