//! What is written and surely not meant.
//!
//! In: a [`Cluster`]. Out: findings, each with an id, a place and a repair.
//! Never: a finding because the input is incomplete. Without pods no selector is reported
//! as one that selects nobody, and without the cluster's DNS no policy as one that misses it.
//!
//! | module | what |
//! |---|---|
//! | [`finding`] | a finding, its repair |
//! | [`context`] | what the checks ask of a cluster |
//! | [`checks`] | the checks, a file each, and the table of them |
//! | [`further`] | the checks of MultiNetworkPolicies |
//! | [`read`] | the mistakes that reading finds, under the same kind of ids |
//! | [`silence`] | `# nftpol:allow ID` |
//! | [`fix`] | repairs, made in the text |
//! | [`output`] | text, JSON, SARIF, GitHub's annotations |

pub mod checks;
pub mod context;
pub mod finding;
pub mod fix;
pub mod further;
mod nearest;
pub mod output;
pub mod read;
mod reindent;
pub mod silence;

use std::collections::{BTreeMap, BTreeSet};

pub use checks::{CHECKS, Check};
pub use context::Context;
pub use finding::{Edit, Finding, Fix, Level};

use crate::Cluster;

/// Checks a cluster. The findings are by file and line.
pub fn check(cluster: &Cluster) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        cluster.findings.iter().map(|finding| read::finding(&cluster.places, finding)).collect();
    let context = Context::new(cluster);
    for check in CHECKS {
        if let Some(run) = check.run {
            findings.extend(run(&context));
        }
    }
    findings.extend(further::check(cluster));
    findings.retain(|finding| is_in_focus(cluster, finding));
    without_consequences(&mut findings);
    templates(cluster, &mut findings);
    silence::apply(cluster, &mut findings);
    let place = |one: &Finding| one.at.as_ref().map(|at| (at.file.clone(), at.line, at.column));
    findings.sort_by(|one, other| (place(one), one.id).cmp(&(place(other), other.id)));
    // Two files may hold the same text; the same words at one place are one finding.
    let mut seen = BTreeSet::new();
    findings.retain(|one| seen.insert((place(one), one.id, one.message.clone())));
    findings
}

/// Of a template that is not rendered, keeps what says so.
fn templates(cluster: &Cluster, findings: &mut Vec<Finding>) {
    let file = |one: &Finding| one.at.as_ref().map(|at| at.file.clone());
    // `{{ a }}` is an object as the name of a field.
    for one in findings.iter_mut().filter(|one| one.object.is_none() && one.level == Level::Error) {
        let text = one.at.as_ref().and_then(|at| cluster.places.line(&at.file, at.line));
        if text.is_some_and(|line| line.contains("{{")) {
            one.message = "not valid YAML: this is a template; render it first".to_owned();
        }
    }
    let is_template = |one: &&Finding| one.message.contains("this is a template");
    let files: BTreeSet<_> = findings.iter().filter(is_template).filter_map(file).collect();
    let mut told = BTreeSet::new();
    findings.retain(|one| match file(one).filter(|file| files.contains(file)) {
        None => true,
        Some(file) => is_template(&one) && told.insert(file),
    });
}

/// Removes what another finding about the same field explains.
fn without_consequences(findings: &mut Vec<Finding>) {
    const EXPLAINS: [(&str, &str); 5] = [
        ("two-peers", "peer-selects-nobody"),
        ("two-peers", "dns-missed"),
        ("service-address", "dns-missed"),
        ("not-on-network", "policy-selects-nobody"),
        ("not-on-network", "peer-selects-nobody"),
    ];
    let whose = |one: &Finding| (one.kind.clone(), one.object.clone());
    let mut fields: BTreeMap<(&str, _), Vec<String>> = BTreeMap::new();
    for one in findings.iter().filter(|one| EXPLAINS.iter().any(|(cause, _)| *cause == one.id)) {
        fields.entry((one.id, whose(one))).or_default().push(one.field.clone());
    }
    findings.retain(|one| {
        let mut causes = EXPLAINS.iter().filter(|(_, consequence)| *consequence == one.id);
        let is_explained = |cause: &'static str| {
            let mut fields = fields.get(&(cause, whose(one))).into_iter().flatten();
            fields.any(|field| one.field.starts_with(field) || field.starts_with(&one.field))
        };
        !causes.any(|(cause, _)| is_explained(cause))
    });
}

fn is_in_focus(cluster: &Cluster, finding: &Finding) -> bool {
    let (Some(focus), Some(object)) = (&cluster.focus, &finding.object) else { return true };
    object.namespace.is_empty() || object.namespace == *focus
}

#[cfg(test)]
mod tests;
