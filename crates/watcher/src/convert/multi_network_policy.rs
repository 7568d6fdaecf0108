//! MultiNetworkPolicy: a NetworkPolicy with the networks on which it holds.
//!
//! In: the API's object, decoded as a NetworkPolicy. Out: the model's policy, always.
//! Never: a policy that holds on fewer networks than are written.
//!
//! "MultiNetworkPolicy is same scheme from NetworkPolicy" (README of
//! k8snetworkplumbingwg/multi-networkpolicy at 2023-03-02). Its CustomResourceDefinition
//! checks little of it, so mistakes that an API server refuses in a NetworkPolicy get here.
//!
//! ```text
//! annotation policy-for      effect
//! missing or empty           the policy holds nowhere
//! no name among names        is left out
//! more than 128 names        the policy isolates on all networks and allows nothing
//! cannot be read             the same
//! ```

use k8s_openapi::api::networking::v1::NetworkPolicy as ApiNetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use policy::{Diagnostic, MultiNetworkPolicy, POLICY_FOR, PolicyFor, network_name};

use super::network_policy;
use super::report::Report;
use crate::Kind;
use crate::decode::Unreadable;
use crate::decode::node::{Node, Value};
use crate::spelling::suggest;

/// How many networks a policy may name. Each peer of its rules is looked for on each of them.
const MOST: usize = 128;

pub(crate) fn multi_network_policy_with(
    object: &ApiNetworkPolicy,
    unreadable: &Unreadable,
) -> (MultiNetworkPolicy, Vec<Diagnostic>) {
    let mut report = Report::new(Kind::MultiNetworkPolicy, &object.metadata, unreadable);
    let mut policy = network_policy::policy(&mut report, object);
    let networks = networks(&mut report, &object.metadata);
    if networks == PolicyFor::Unreadable {
        for rules in [&mut policy.ingress, &mut policy.egress].into_iter().flatten() {
            rules.clear();
        }
    }
    (MultiNetworkPolicy { networks, policy }, report.finish())
}

/// The object without its type. What remains decodes as a NetworkPolicy.
pub(crate) fn without_type(node: &Node) -> Node {
    let mut node = node.clone();
    if let Value::Mapping(fields) = &mut node.value {
        fields.retain(|field| !matches!(&*field.key, "apiVersion" | "kind"));
    }
    node
}

fn networks(report: &mut Report<'_>, metadata: &ObjectMeta) -> PolicyFor {
    if report.is_unreadable("metadata.annotations") || report.is_replaced("metadata") {
        return PolicyFor::Unreadable;
    }
    let field = format!("metadata.annotations[{POLICY_FOR}]");
    let written = metadata.annotations.as_ref().and_then(|all| all.get(POLICY_FOR));
    let Some(written) = written.filter(|text| !text.trim().is_empty()) else {
        let mut keys = metadata.annotations.iter().flatten().map(|(key, _)| key.as_str());
        let meant = keys.find(|key| suggest(key, [POLICY_FOR]).is_some());
        let what = match (written, meant) {
            (Some(_), _) => "is empty".to_owned(),
            (None, Some(key)) => format!("is missing (there is {key})"),
            (None, None) => "is missing".to_owned(),
        };
        report.warning(
            field,
            format!(
                "{what}, so the policy holds on no network; write the names of its \
                 NetworkAttachmentDefinitions, as `macvlan-1, storage/macvlan-2`"
            ),
        );
        return PolicyFor::Networks([].into());
    };
    let count = written.split(',').count();
    if count > MOST {
        report.error(
            field,
            format!(
                "names {count} networks; {MOST} is the most: the policy isolates its pods on all \
                 of their further networks and allows nothing"
            ),
        );
        return PolicyFor::Unreadable;
    }
    let namespace = report.object().namespace.clone();
    let mut networks = std::collections::BTreeSet::new();
    for name in written.split(',').map(str::trim) {
        match network_name(name, &namespace) {
            Some(network) => drop(networks.insert(network)),
            None => report.error(
                field.clone(),
                format!(
                    "{name:?} is no NetworkAttachmentDefinition: write `name` or `namespace/name`"
                ),
            ),
        }
    }
    PolicyFor::Networks(networks)
}
