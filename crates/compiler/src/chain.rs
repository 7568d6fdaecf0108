//! The chain of one signature.
//!
//! In: the signature, the grants of its policies, how to log.
//! Out: the chain: rules that allow, the log, the drop. The drop comes after the
//! rules of all policies. In audit there is none: what no rule allows is logged.
//!
//! ```text
//! chain i.dev/web.<hash> {
//!     <tag> . ip saddr @p4 tcp dport 80 accept              comment "dev/web ingress[0]"
//!     update @logged.i4 { ip daddr counter limit rate 10/second } log prefix "i.dev/web.<hash>" group 9478
//!     drop
//! }
//! ```

use std::collections::HashMap;

use policy::spec::RuleRef;
use policy::{Direction, Mode, ObjectKey};
use ruleset::{Chain, Family, Field, Log, LogPrefix, Match, Name, Rule, Verdict};

use crate::grants::Grants;
use crate::signature::Signature;
use crate::{LogOptions, scaffold};

/// A chain, and the API rules that each of its first rules comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureChain {
    /// The chain.
    pub chain: Chain,
    /// For the rules that allow by policy, in order.
    pub sources: Vec<Vec<RuleRef>>,
}

/// The chain of a signature.
pub fn of<'a>(
    name: &Name,
    signature: &Signature,
    policies: impl IntoIterator<Item = (&'a ObjectKey, &'a Grants)>,
    log: Option<LogOptions>,
) -> SignatureChain {
    let direction = signature.direction;
    let verdict = match signature.mode {
        Mode::Enforce => scaffold::allowing(direction),
        Mode::Audit => Verdict::Return,
    };
    let (conditions, sources) = merged(policies);
    let mut rules: Vec<Rule> = conditions
        .into_iter()
        .zip(&sources)
        .map(|(condition, sources)| {
            Rule::new(condition, verdict.clone()).commented(&describe(direction, sources))
        })
        .collect();
    if let Some(options) = log {
        rules.extend(Family::BOTH.map(|family| log_rule(name, signature, family, options)));
    }
    match signature.mode {
        Mode::Enforce => rules.push(Rule::new([], Verdict::Drop)),
        Mode::Audit => {}
    }
    let comment = Some(signature.comment());
    SignatureChain { chain: Chain { base: None, comment, rules }, sources }
}

/// The distinct conditions of all policies, each with the API rules that it comes
/// from.
fn merged<'a>(
    policies: impl IntoIterator<Item = (&'a ObjectKey, &'a Grants)>,
) -> (Vec<Vec<Match>>, Vec<Vec<RuleRef>>) {
    let mut positions: HashMap<&[Match], usize> = HashMap::new();
    let mut conditions: Vec<Vec<Match>> = Vec::new();
    let mut sources: Vec<Vec<RuleRef>> = Vec::new();
    for (key, grants) in policies {
        for (index, condition) in &grants.conditions {
            let position = *positions.entry(condition).or_insert_with(|| {
                conditions.push(condition.clone());
                sources.push(Vec::new());
                conditions.len() - 1
            });
            let source = RuleRef { policy: key.clone(), index: *index };
            // The conditions of one rule are adjacent.
            if sources[position].last() != Some(&source) {
                sources[position].push(source);
            }
        }
    }
    (conditions, sources)
}

fn describe(direction: Direction, sources: &[RuleRef]) -> String {
    let texts: Vec<String> = sources
        .iter()
        .map(|source| format!("{} {direction}[{}]", source.policy, source.index))
        .collect();
    texts.join(", ")
}

fn log_rule(name: &Name, signature: &Signature, family: Family, options: LogOptions) -> Rule {
    let direction = signature.direction;
    let field = match direction {
        Direction::Egress => Field::Source,
        Direction::Ingress => Field::Destination,
    };
    let log = Log {
        field,
        family,
        set: match signature.mode {
            Mode::Enforce => scaffold::log_set(direction, family),
            Mode::Audit => scaffold::audit::log_set(direction, family),
        },
        per_second: options.per_second,
        prefix: LogPrefix::new(name.as_str()),
        group: options.group,
    };
    Rule { matches: vec![], log: Some(log), finish: None, comment: None }
}
