//! NetworkPolicy: the API's defaults, and what an unusable part means.
//!
//! In: the API's object. Out: the model's policy, always.
//! Never: a policy that isolates fewer pods or allows more than is written:
//!
//! ```text
//! unusable part              effect
//! item of from/to, ports     is left out; a list without usable items allows nothing
//! rule                       allows nothing
//! podSelector                its usable part selects, so more pods are isolated,
//!                            and no rule allows anything
//! policyTypes                both directions are isolated
//! unknown field              makes the part around it unusable; in spec itself, both
//!                            directions are isolated and no rule allows anything
//! annotation                 the policy is enforced
//! ```

use k8s_openapi::api::networking::v1::{
    NetworkPolicy as ApiNetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule,
    NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use policy::{Audit, Diagnostic, Direction, NetworkPolicy, POLICY_FOR, Peers, Ports, Rule};

use super::report::Report;
use super::{audit, names, peer, port, selector};
use crate::Kind;
use crate::decode::Unreadable;
use crate::spelling::suggest;

/// An ingress or an egress rule.
trait ApiRule {
    const PEERS: &'static str;
    fn peers(&self) -> &[NetworkPolicyPeer];
    fn ports(&self) -> &[NetworkPolicyPort];
}

impl ApiRule for NetworkPolicyIngressRule {
    const PEERS: &'static str = "from";
    fn peers(&self) -> &[NetworkPolicyPeer] {
        self.from.as_deref().unwrap_or_default()
    }
    fn ports(&self) -> &[NetworkPolicyPort] {
        self.ports.as_deref().unwrap_or_default()
    }
}

impl ApiRule for NetworkPolicyEgressRule {
    const PEERS: &'static str = "to";
    fn peers(&self) -> &[NetworkPolicyPeer] {
        self.to.as_deref().unwrap_or_default()
    }
    fn ports(&self) -> &[NetworkPolicyPort] {
        self.ports.as_deref().unwrap_or_default()
    }
}

pub(crate) fn convert(
    object: &ApiNetworkPolicy,
    unreadable: &Unreadable,
) -> (NetworkPolicy, Vec<Diagnostic>) {
    let mut report = Report::new(Kind::NetworkPolicy, &object.metadata, unreadable);
    let policy = policy(&mut report, object);
    let annotations = object.metadata.annotations.as_ref();
    if annotations.is_some_and(|all| all.contains_key(POLICY_FOR)) {
        report.warning(
            format!("metadata.annotations[{POLICY_FOR}]"),
            "has no effect on a NetworkPolicy, which is about the primary network; for other \
             networks write kind: MultiNetworkPolicy (k8s.cni.cncf.io/v1beta2)",
        );
    }
    (policy, report.finish())
}

/// What a policy says, of either kind.
pub(super) fn policy(report: &mut Report<'_>, object: &ApiNetworkPolicy) -> NetworkPolicy {
    let metadata = &object.metadata;
    names::metadata(report, metadata, names::dns_subdomain);
    let default = NetworkPolicySpec::default();
    let spec = object.spec.as_ref().unwrap_or(&default);
    if object.spec.is_none() && !report.is_unreadable("spec") {
        report.warning(
            "spec",
            "is missing, so the policy isolates every pod of its namespace for ingress",
        );
    }
    let selected = match &spec.pod_selector {
        Some(selector) => selector::convert(report, selector, "spec.podSelector"),
        None => selector::convert(report, &Default::default(), "spec.podSelector"),
    };
    let isolates = directions(report, spec);
    let ingress = rules(report, spec.ingress.as_deref(), Direction::Ingress);
    let egress = rules(report, spec.egress.as_deref(), Direction::Egress);
    let trusted = selected.complete && !report.is_replaced("spec");
    let keep = |rules: Vec<Rule>, isolated: bool| {
        isolated.then(|| if trusted { rules } else { Vec::new() })
    };
    let written = audit::convert(report, metadata);
    NetworkPolicy {
        key: report.object().clone(),
        uid: metadata.uid.clone().unwrap_or_default(),
        pod_selector: selected.selector,
        ingress: keep(ingress, isolates.ingress),
        egress: keep(egress, isolates.egress),
        audit: Audit::written(written),
    }
}

/// The directions that a policy isolates.
struct Isolates {
    ingress: bool,
    egress: bool,
}

fn directions(report: &mut Report<'_>, spec: &NetworkPolicySpec) -> Isolates {
    let types = spec.policy_types.as_deref().unwrap_or_default();
    // A spec that cannot be read may have had any types.
    if ["spec", "spec.policyTypes"].iter().any(|field| report.is_replaced(field)) {
        return Isolates { ingress: true, egress: true };
    }
    // Egress rules that cannot be read still count as egress rules.
    let egress_rules = spec.egress.as_deref().is_some_and(|rules| !rules.is_empty())
        || report.is_replaced("spec.egress");
    if types.is_empty() {
        default_warnings(report, spec, egress_rules);
        return Isolates { ingress: true, egress: egress_rules };
    }
    let mut isolates = Isolates { ingress: false, egress: false };
    if types.len() > 2 {
        report.error("spec.policyTypes", "has more than two items; Ingress, Egress or both");
    }
    for (index, text) in types.iter().enumerate() {
        match text.as_str() {
            "Ingress" => isolates.ingress = true,
            "Egress" => isolates.egress = true,
            other => {
                unknown_type(report, other, &format!("spec.policyTypes[{index}]"));
                isolates = Isolates { ingress: true, egress: true };
            }
        }
    }
    dead_letters(report, spec, &isolates, egress_rules);
    isolates
}

fn unknown_type(report: &mut Report<'_>, text: &str, field: &str) {
    let message = match suggest(text, ["Ingress", "Egress"]) {
        Some(meant) => format!("unknown policy type {text:?}; did you mean {meant}?"),
        None => format!("unknown policy type {text:?}; Ingress or Egress"),
    };
    report.error(field, message);
}

fn default_warnings(report: &mut Report<'_>, spec: &NetworkPolicySpec, egress_rules: bool) {
    if egress_rules && spec.ingress.is_none() && !report.is_replaced("spec.ingress") {
        report.warning(
            "spec.policyTypes",
            "is missing, so the policy isolates ingress too and allows none; \
             write policyTypes: [Egress] if only egress is meant",
        );
    } else if spec.egress.is_some() && !egress_rules {
        report.warning(
            "spec.egress",
            "is empty and policyTypes is missing, so egress is not isolated; \
             write policyTypes: [Ingress, Egress] or [Egress] to deny it",
        );
    }
}

fn dead_letters(
    report: &mut Report<'_>,
    spec: &NetworkPolicySpec,
    isolates: &Isolates,
    egress_rules: bool,
) {
    let ingress_rules = spec.ingress.as_deref().is_some_and(|rules| !rules.is_empty());
    if ingress_rules && !isolates.ingress {
        report
            .warning("spec.ingress", "has rules without effect, because policyTypes lacks Ingress");
    }
    if egress_rules && !isolates.egress {
        report.warning("spec.egress", "has rules without effect, because policyTypes lacks Egress");
    }
}

fn rules<R: ApiRule>(
    report: &mut Report<'_>,
    rules: Option<&[R]>,
    direction: Direction,
) -> Vec<Rule> {
    let one = |(index, rule)| convert_rule(report, rule, &format!("spec.{direction}[{index}]"));
    rules.unwrap_or_default().iter().enumerate().map(one).collect()
}

fn convert_rule<R: ApiRule>(report: &mut Report<'_>, rule: &R, field: &str) -> Rule {
    if report.is_replaced(field) {
        return Rule { peers: Peers::Only(Vec::new()), ports: Ports::Only(Vec::new()) };
    }
    let peers_field = format!("{field}.{}", R::PEERS);
    let peers = rule.peers().iter().enumerate();
    let read: Vec<_> = peers
        .filter_map(|(index, one)| peer::convert(report, one, &format!("{peers_field}[{index}]")))
        .collect();
    let anyone = rule.peers().is_empty() && !report.is_replaced(&peers_field);
    let peers = if anyone { Peers::Anyone } else { Peers::Only(read) };

    let ports_field = format!("{field}.ports");
    let ports = rule.ports().iter().enumerate();
    let read: Vec<_> = ports
        .filter_map(|(index, one)| port::convert(report, one, &format!("{ports_field}[{index}]")))
        .collect();
    let all = rule.ports().is_empty() && !report.is_replaced(&ports_field);
    let ports = if all { Ports::All } else { Ports::Only(read) };
    Rule { peers, ports }
}
