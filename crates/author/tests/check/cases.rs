//! For each check: a policy with the mistake, the same without it, and the same where the
//! input does not hold what would tell.

use std::collections::BTreeSet;

use super::support::{Folder, findings, fixtures};

/// What the check must say of a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Must {
    /// Find it, with the cluster.
    Find,
    /// Not find it, with the cluster.
    Pass,
    /// Not find it without the cluster, where with it it may.
    BeSilent,
    /// Find it without the cluster, too.
    FindAlone,
}

use Must::{BeSilent, Find, FindAlone, Pass};

const CART: &str = "podSelector: {matchLabels: {app: cart}}";

/// The check, what it must do, and `spec`.
const CASES: &[(&str, Must, &str)] = &[
    (
        "adds-nothing",
        FindAlone,
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}, {from: [{podSelector: {matchLabels: {a: b}}}], ports: [{port: 80}]}]}",
    ),
    (
        "adds-nothing",
        FindAlone,
        "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.1.0.0/16}}]}, {to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.2.0.0/16]}}]}]}",
    ),
    (
        "adds-nothing",
        Pass,
        "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.1.0.0/16}}]}, {to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.2.0/24]}}]}]}",
    ),
    (
        "adds-nothing",
        Pass,
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}, {from: [{podSelector: {}}], ports: [{port: 81}]}]}",
    ),
    (
        "adds-nothing",
        FindAlone,
        "{podSelector: {}, ingress: [{ports: [{port: 80, endPort: 90}]}, {ports: [{port: 85}]}]}",
    ),
    (
        "allows-everything",
        FindAlone,
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}, {}]}",
    ),
    ("allows-everything", FindAlone, "{podSelector: {}, ingress: [{from: []}]}"),
    ("allows-everything", Pass, "{podSelector: {}, ingress: [{}]}"),
    ("allows-everything", Pass, "{podSelector: {}, ingress: [{from: [], ports: [{port: 443}]}]}"),
    (
        "allows-everything",
        Pass,
        "{podSelector: {}, egress: [{to: [], ports: [{port: 53, protocol: UDP}]}]}",
    ),
    (
        "api-server-peer",
        FindAlone,
        "{podSelector: {}, egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {component: kube-apiserver}}}]}]}",
    ),
    (
        "api-server-peer",
        Pass,
        "{podSelector: {}, egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {component: etcd}}}]}]}",
    ),
    (
        "dns-missed",
        Find,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}]}",
    ),
    (
        "dns-missed",
        Find,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}], ports: [{port: 5353, protocol: UDP}]}]}",
    ),
    (
        "dns-missed",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}], ports: [{port: 53, protocol: UDP}]}]}",
    ),
    (
        "dns-missed",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 169.254.20.10/32}}], ports: [{port: 53, protocol: UDP}]}]}",
    ),
    (
        "dns-missed",
        BeSilent,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: 53, protocol: UDP}]}]}",
    ),
    ("dns-protocol", FindAlone, "{podSelector: {}, egress: [{ports: [{port: 53}]}]}"),
    (
        "dns-protocol",
        Pass,
        "{podSelector: {}, egress: [{ports: [{port: 53}, {port: 53, protocol: UDP}]}]}",
    ),
    ("dns-protocol", Pass, "{podSelector: {}, ingress: [{ports: [{port: 53}]}]}"),
    (
        "egress-without-dns",
        Find,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}",
    ),
    (
        "egress-without-dns",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{namespaceSelector: {}}]}]}",
    ),
    (
        "egress-without-dns",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress]}",
    ),
    (
        "egress-without-dns",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{from: [{podSelector: {}}]}]}",
    ),
    (
        "egress-without-dns",
        BeSilent,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}]}]}",
    ),
    (
        "host-network-pod",
        Find,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: ingress}}}]}]}",
    ),
    ("host-network-pod", Pass, "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}"),
    (
        "host-network-pod",
        BeSilent,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: ingress}}}]}]}",
    ),
    (
        "metrics-port-shut",
        Find,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: 8080}]}]}",
    ),
    (
        "metrics-port-shut",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: 8080}, {port: metrics}]}]}",
    ),
    (
        "metrics-port-shut",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, policyTypes: [Ingress]}",
    ),
    (
        "metrics-port-shut",
        BeSilent,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: 8080}]}]}",
    ),
    (
        "namespace-name-label",
        FindAlone,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {name: monitoring}}}]}]}",
    ),
    (
        "namespace-name-label",
        Pass,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]}]}",
    ),
    (
        "namespace-unknown",
        Find,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitorng}}}]}]}",
    ),
    (
        "namespace-unknown",
        Pass,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: elsewhere}}}]}]}",
    ),
    (
        "namespace-unknown",
        BeSilent,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitorng}}}]}]}",
    ),
    (
        "peer-selects-nobody",
        Find,
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: fronts}}}]}]}",
    ),
    (
        "peer-selects-nobody",
        Find,
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app.kubernetes.io/name: front}}}]}]}",
    ),
    (
        "peer-selects-nobody",
        Find,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {purpose: monitorin}}}]}]}",
    ),
    (
        "peer-selects-nobody",
        Pass,
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: front}}}]}]}",
    ),
    (
        "peer-selects-nobody",
        Pass,
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: made-by-an-operator}}}]}]}",
    ),
    (
        "peer-selects-nobody",
        Pass,
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: front-admin}}}]}]}",
    ),
    (
        "peer-selects-nobody",
        BeSilent,
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {app: fronts}}}]}]}",
    ),
    ("policy-selects-nobody", Find, "{podSelector: {matchLabels: {app: frontend}}}"),
    ("policy-selects-nobody", Pass, "{podSelector: {matchLabels: {app: front}}}"),
    ("policy-selects-nobody", Pass, "{podSelector: {matchLabels: {app: made-by-an-operator}}}"),
    ("policy-selects-nobody", BeSilent, "{podSelector: {matchLabels: {app: frontend}}}"),
    (
        "port-name-of-peer",
        FindAlone,
        "{podSelector: {}, egress: [{to: [{namespaceSelector: {}}], ports: [{port: dns}]}]}",
    ),
    (
        "port-name-of-peer",
        Pass,
        "{podSelector: {}, egress: [{to: [{podSelector: {}}], ports: [{port: http}]}]}",
    ),
    (
        "port-name-unknown",
        Find,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: htpp}]}]}",
    ),
    (
        "port-name-unknown",
        Find,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: http, protocol: UDP}]}]}",
    ),
    (
        "port-name-unknown",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: http}]}]}",
    ),
    (
        "port-name-unknown",
        BeSilent,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: htpp}]}]}",
    ),
    (
        "selector-contradiction",
        FindAlone,
        "{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}}",
    ),
    (
        "selector-contradiction",
        FindAlone,
        "{podSelector: {matchExpressions: [{key: a, operator: Exists}, {key: a, operator: DoesNotExist}]}}",
    ),
    (
        "selector-contradiction",
        FindAlone,
        "{podSelector: {}, ingress: [{from: [{podSelector: {matchExpressions: [{key: a, operator: In, values: [b]}, {key: a, operator: In, values: [c]}]}}]}]}",
    ),
    (
        "selector-contradiction",
        Pass,
        "{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [b]}, {key: a, operator: DoesNotExist}]}}",
    ),
    (
        "service-address",
        Find,
        "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.96.12.80/32}}]}]}",
    ),
    (
        "service-address",
        Pass,
        "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.96.12.81/32}}, {ipBlock: {cidr: 10.0.0.0/8}}]}]}",
    ),
    (
        "service-address",
        BeSilent,
        "{podSelector: {}, egress: [{to: [{ipBlock: {cidr: 10.96.12.80/32}}]}]}",
    ),
    (
        "service-port",
        Find,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: 80}]}]}",
    ),
    (
        "service-port",
        Find,
        "{podSelector: {matchLabels: {app: front}}, egress: [{to: [{podSelector: {matchLabels: {app: cart}}}], ports: [{port: 80}]}]}",
    ),
    (
        "service-port",
        Pass,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: 8080}]}]}",
    ),
    (
        "service-port",
        Pass,
        "{podSelector: {matchLabels: {app: front}}, ingress: [{ports: [{port: 80}]}]}",
    ),
    (
        "service-port",
        BeSilent,
        "{podSelector: {matchLabels: {app: cart}}, ingress: [{ports: [{port: 80}]}]}",
    ),
    (
        "split-rule",
        FindAlone,
        "{podSelector: {matchLabels: {app: front}}, ingress: [{from: [{podSelector: {}}]}, {ports: [{port: 8080}]}]}",
    ),
    (
        "split-rule",
        Pass,
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 8080}]}]}",
    ),
    (
        "split-rule",
        Pass,
        "{podSelector: {}, egress: [{to: [{podSelector: {}}]}, {to: [], ports: [{port: 53}]}]}",
    ),
    (
        "two-peers",
        Find,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {purpose: monitoring}}}, {podSelector: {matchLabels: {app: prometheus}}}]}]}",
    ),
    (
        "two-peers",
        Pass,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {purpose: monitoring}}, podSelector: {matchLabels: {app: prometheus}}}]}]}",
    ),
    (
        "two-peers",
        Pass,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {purpose: monitoring}}}, {podSelector: {matchLabels: {app: front}}}]}]}",
    ),
    (
        "two-peers",
        BeSilent,
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {purpose: monitoring}}}, {podSelector: {matchLabels: {app: prometheus}}}]}]}",
    ),
    (
        "two-peers",
        FindAlone,
        "{podSelector: {}, egress: [{to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}, {podSelector: {matchLabels: {k8s-app: kube-dns}}}]}]}",
    ),
    ("uncovered-pods", Find, "{podSelector: {matchLabels: {app: cart}}}"),
    ("uncovered-pods", Pass, "{podSelector: {}}"),
    ("uncovered-pods", BeSilent, "{podSelector: {matchLabels: {app: cart}}}"),
    (
        "cidr-form",
        FindAlone,
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.1.2.3/8}}]}]}",
    ),
    ("empty-value", FindAlone, "{podSelector: {}, ingress: [{from: , ports: [{port: 80}]}]}"),
    ("policy-types", FindAlone, "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}"),
    ("invalid", FindAlone, "{podSelector: {}, policyType: [Ingress]}"),
];

/// Found by other means, and tested elsewhere.
const ELSEWHERE: [&str; 7] = [
    "expectation",
    "name-contradicts",
    "network-unknown",
    "not-on-network",
    "policy-for",
    "policy-for-ignored",
    "unusual",
];

#[test]
fn each_check_finds_its_mistake_and_passes_what_is_right() {
    let cluster = fixtures().join("cluster.yaml").display().to_string();
    for (id, must, spec) in CASES {
        let folder = Folder::new();
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, \
             namespace: shop}}\nspec: {spec}\n"
        );
        folder.write("p.yaml", &text);
        let files: &[&str] = match must {
            Find | Pass => &["p.yaml", &cluster],
            BeSilent | FindAlone => &["p.yaml"],
        };
        let found: BTreeSet<String> = findings(folder.path(), files)
            .iter()
            .filter_map(|finding| finding["id"].as_str().map(str::to_owned))
            .collect();
        let expected = matches!(must, Find | FindAlone);
        assert_eq!(found.contains(*id), expected, "{id} {must:?} {spec}: {found:?}");
    }
}

#[test]
fn each_check_has_a_case_that_it_finds_and_one_that_it_does_not() {
    for check in author::check::CHECKS.iter().filter(|one| !ELSEWHERE.contains(&one.id)) {
        let of = |wanted: &[Must]| {
            CASES.iter().any(|(id, must, _)| *id == check.id && wanted.contains(must))
        };
        assert!(of(&[Find, FindAlone]), "{}: no mistake", check.id);
        assert!(check.run.is_none() || of(&[Pass, BeSilent]), "{}: no right policy", check.id);
    }
}

#[test]
fn a_label_of_the_workload_itself_is_no_label_of_its_pods() {
    let folder = Folder::new();
    folder.write(
        "all.yaml",
        "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: mail, namespace: a, labels: {job: \
         mail}}\nspec: {jobTemplate: {spec: {template: {spec: {containers: []}}}}}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: a}\n\
         spec: {podSelector: {matchLabels: {job: mail}}}\n",
    );
    let found = findings(folder.path(), &["all.yaml"]);
    let finding = found.iter().find(|one| one["id"] == "policy-selects-nobody").expect("found");
    let message = finding["message"].as_str().expect("text");
    assert!(message.contains("CronJob a/mail itself"), "{message}");
}

#[test]
fn a_comment_silences_a_warning_and_no_error() {
    let folder = Folder::new();
    let policy = |comment: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec:\n  \
             {CART}\n  egress:\n  - ports:\n    # nftpol:allow {comment}\n    - port: 53\n    \
             - port: 99999 # nftpol:allow invalid\n"
        )
    };
    let ids = |comment: &str| -> Vec<String> {
        folder.write(
            "p.yaml",
            &policy(comment).replace("    - port: 99999 # nftpol:allow invalid\n", ""),
        );
        let found = findings(folder.path(), &["p.yaml"]);
        found.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
    };
    assert!(ids("two-peers").contains(&"dns-protocol".to_owned()));
    assert!(!ids("two-peers, dns-protocol").contains(&"dns-protocol".to_owned()));
    folder.write("p.yaml", &policy("dns-protocol"));
    let found = findings(folder.path(), &["p.yaml"]);
    assert!(found.iter().any(|one| one["id"] == "invalid"), "{found:?}");
}

/// What was once reported of public manifests, and was meant as it was written.
#[test]
fn what_is_meant_is_not_reported() {
    let ids = |name: &str, spec: &str| -> Vec<String> {
        let folder = Folder::new();
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, \
             namespace: shop}}\nspec:\n{spec}"
        );
        folder.write("p.yaml", &text);
        let cluster = fixtures().join("cluster.yaml").display().to_string();
        let found = findings(folder.path(), &["p.yaml", &cluster]);
        found.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
    };
    let open = "  podSelector: {}\n  ingress:\n  - from: []\n";
    assert!(ids("web", open).contains(&"allows-everything".to_owned()));
    assert!(!ids("web-allow-external", open).contains(&"allows-everything".to_owned()));
    assert!(ids("deny-all", open).contains(&"allows-everything".to_owned()));
    let split = |comment: &str| {
        format!(
            "  podSelector: {{matchLabels: {{app: front}}}}\n  ingress:\n  - from:\n    - \
             podSelector: {{}}\n{comment}  - ports:\n    - port: 8080\n"
        )
    };
    assert!(ids("web", &split("")).contains(&"split-rule".to_owned()));
    assert!(!ids("web", &split("  # from outside\n")).contains(&"split-rule".to_owned()));
    let peer = |app: &str| {
        format!(
            "  podSelector: {{}}\n  ingress:\n  - from:\n    - podSelector: {{matchLabels: {{app: \
             {app}}}}}\n"
        )
    };
    let folder = Folder::new();
    folder.write(
        "pods.yaml",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, labels: {app: \
         user-service}}\nspec: {containers: []}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b, \
         namespace: shop, labels: {app: carts-service}}\nspec: {containers: []}\n",
    );
    let near = |app: &str| {
        let text = format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p, namespace: \
             shop}}\nspec:\n{}",
            peer(app)
        );
        folder.write("p.yaml", &text);
        let found = findings(folder.path(), &["p.yaml", "pods.yaml"]);
        found.iter().any(|one| one["id"] == "peer-selects-nobody")
    };
    assert!(near("cart-service"), "a letter");
    assert!(!near("order-service"), "another word");
}
