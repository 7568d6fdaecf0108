//! Egress is isolated, something is allowed, and DNS is not among it.

use policy::NetworkPolicy;

use super::dns::{self, Dns};
use crate::check::context::{Context, counted, some};
use crate::check::finding::{Edit, Finding, Fix, Level};

const ID: &str = "egress-without-dns";

/// See the page.
pub fn check(context: &Context<'_>) -> Vec<Finding> {
    // Without the pods the input is a part of something, and so may the policies be.
    let is_judged =
        |policy: &&NetworkPolicy| !context.dns().is_empty() || !context.subjects(policy).is_empty();
    let forgotten = context.policies().filter(|policy| dns::of(context, policy) == Dns::Forgotten);
    forgotten.filter(is_judged).map(|policy| finding(context, policy)).collect()
}

fn finding(context: &Context<'_>, policy: &NetworkPolicy) -> Finding {
    let servers = context.dns();
    let subjects = context.subjects(policy);
    let whom = match subjects.len() {
        0 => "the policy's pods".to_owned(),
        count => counted(count, "pod"),
    };
    let fix = add_rule(context, policy);
    let field = "spec.egress";
    if servers.is_empty() {
        let message = format!(
            "{whom} may not ask the cluster's DNS by any policy here, so no name of a Service \
             resolves"
        );
        return context
            .finding(ID, policy, field, message)
            .at_level(Level::Note)
            .with_help(
                "a policy that is not in the input may allow it: give that, and the pods of \
                 kube-system",
            )
            .with_fix(fix);
    }
    let server = some(servers.iter().map(|pod| context.name(pod)));
    let message = format!("{whom} may not ask {server}, so no name of a Service resolves");
    context.finding(ID, policy, field, message).with_fix(fix)
}

/// A rule for DNS before the first one.
fn add_rule(context: &Context<'_>, policy: &NetworkPolicy) -> Option<Fix> {
    let places = &context.cluster.places;
    let first = &places.field(&policy.key, "spec.egress[0]")?.value;
    let line = places.line(&first.file, first.line)?;
    let before: String = line.chars().take(first.column - 1).collect();
    let dash = before.rfind('-')?;
    if before.trim() != "-" {
        return None;
    }
    let indent = " ".repeat(dash);
    let servers = context.dns();
    let namespace = servers.first().map_or("kube-system", |pod| &*pod.key.namespace);
    let label = servers.first().and_then(|pod| {
        ["k8s-app", "dns.operator.openshift.io/daemonset-dns", "app.kubernetes.io/name"]
            .into_iter()
            .find_map(|key| Some((key, pod.labels.get(key)?)))
    });
    let (key, value) = label.unwrap_or(("k8s-app", "kube-dns"));
    let ports = servers.first().map_or_else(|| vec![53], |pod| dns::ports(context, pod));
    let mut lines = vec![
        "- to:".to_owned(),
        "  - namespaceSelector:".to_owned(),
        "      matchLabels:".to_owned(),
        format!("        kubernetes.io/metadata.name: {namespace}"),
        "    podSelector:".to_owned(),
        "      matchLabels:".to_owned(),
        format!("        {key}: {value}"),
        "  ports:".to_owned(),
    ];
    for port in ports {
        for protocol in ["UDP", "TCP"] {
            lines.push(format!("  - protocol: {protocol}"));
            lines.push(format!("    port: {port}"));
        }
    }
    lines.push("-".to_owned());
    let new = lines.join(&format!("\n{indent}"));
    let mut at = first.clone();
    at.column = dash + 1;
    let opens = Some(format!("egress to the DNS of {namespace}"));
    let edits = vec![Edit { at, old: "-".to_owned(), new }];
    Some(Fix { title: "add a rule for DNS".to_owned(), opens, edits })
}
