//! What is written and surely not meant.
//!
//! In: a [`Cluster`]. Out: findings, each with an id, a place and a repair.
//! Never: a finding made of what the input merely leaves out: without pods nobody is said
//! to select nobody, and without the cluster's DNS nobody is said to miss it.
//!
//! | module | what |
//! |---|---|
//! | [`finding`] | a finding, its repair |
//! | [`context`] | what the checks ask of a cluster |
//! | [`checks`] | the checks, a file each, and the table of them |
//! | [`read`] | the mistakes that reading finds, under the same kind of ids |
//! | [`silence`] | `# nftpol:allow ID` |
//! | [`fix`] | repairs, made in the text |
//! | [`output`] | text, JSON, SARIF, GitHub's annotations |

pub mod checks;
pub mod context;
pub mod finding;
pub mod fix;
pub mod output;
pub mod read;
pub mod silence;

use std::collections::BTreeSet;

pub use checks::{CHECKS, Check};
pub use context::Context;
pub use finding::{Edit, Finding, Fix, Level};

use crate::Cluster;

/// Checks a cluster. The findings are by file and line.
pub fn check(cluster: &Cluster) -> Vec<Finding> {
    let mut findings: Vec<Finding> = cluster.findings.iter().map(read::finding).collect();
    let context = Context::new(cluster);
    for check in CHECKS {
        if let Some(run) = check.run {
            findings.extend(run(&context));
        }
    }
    findings.retain(|finding| is_in_focus(cluster, finding));
    silence::apply(cluster, &mut findings);
    let place = |one: &Finding| one.at.as_ref().map(|at| (at.file.clone(), at.line, at.column));
    findings.sort_by(|one, other| (place(one), one.id).cmp(&(place(other), other.id)));
    // Two files may hold the same text; the same words at one place are one finding.
    let mut seen = BTreeSet::new();
    findings.retain(|one| seen.insert((place(one), one.id, one.message.clone())));
    findings
}

fn is_in_focus(cluster: &Cluster, finding: &Finding) -> bool {
    let (Some(focus), Some(object)) = (&cluster.focus, &finding.object) else { return true };
    object.namespace.is_empty() || object.namespace == *focus
}

#[cfg(test)]
mod tests;
