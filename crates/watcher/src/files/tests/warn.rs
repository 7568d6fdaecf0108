//! What `Validation::Warn` keeps of objects with mistakes.

use super::*;

#[test]
fn warn_keeps_what_has_a_name() {
    let text = format!(
        "{POLICY}  foo: 1\n---\n{}---\n{}---\n{}---\n{}",
        POLICY.replace("name: web", "name: Web"),
        POLICY.replace("name: web", "nam: web"),
        POLICY.replace("name: web", "name: 5"),
        POLICY.replace("namespace: dev", "namespace: [dev]"),
    );
    let loaded = parse("f", &text, Validation::Warn);
    let kept: Vec<(Kind, String)> =
        loaded.objects.iter().map(|one| (one.kind(), one.key().to_string())).collect();
    assert_eq!(
        kept,
        [
            (Kind::NetworkPolicy, "dev/web".to_owned()),
            (Kind::NetworkPolicy, "dev/Web".to_owned()),
            (Kind::Namespace, "/dev".to_owned()),
        ]
    );
    let left_out = loaded.findings.iter().filter(|one| one.message.starts_with("is left out"));
    assert_eq!(left_out.count(), 3);
}

/// API servers refuse such CIDRs in new objects. Stored ones remain.
#[test]
fn warn_reads_cidrs_that_strict_refuses() {
    for (cidr, meant) in [("203.0.113.77/24", "203.0.113.0/24"), ("010.0.0.0/8", "10.0.0.0/8")] {
        let policy = |cidr: &str| {
            format!(
                "{POLICY}  podSelector: {{}}\n  ingress: [{{from: [{{ipBlock: {{cidr: {cidr}}}}}]}}]\n"
            )
        };
        let read = |validation| parse("f", &policy(cidr), validation);
        let (warn, strict) = (read(Validation::Warn), read(Validation::Strict));
        let severities = [&warn, &strict].map(|loaded| loaded.findings[0].severity);
        assert_eq!(severities, [Severity::Warning, Severity::Error], "{cidr}");
        let message = format!("{cidr} is read as {meant}; write that instead");
        assert_eq!(warn.findings[0].message, message);
        let plain = parse("f", &policy(meant), Validation::Strict);
        assert_eq!((plain.findings.len(), &plain.objects), (0, &warn.objects));
    }
}

/// A part with an unknown or repeated field was probably meant to allow less.
#[test]
fn warn_allows_nothing_by_a_part_with_an_unknown_field() {
    let cases = [
        ("a misspelt from", "ingress: [{form: [{podSelector: {}}]}]", "[nobody]"),
        ("a misspelt ports", "ingress: [{port: [{port: 80}]}]", "[nobody]"),
        ("a misspelt peer", "ingress: [{from: [{podSelectr: {}}, {podSelector: {}}]}]", "[1 peer]"),
        (
            "a label beside matchLabels",
            "ingress: [{from: [{podSelector: {app: web}}]}]",
            "[0 peers]",
        ),
        ("ports twice", "ingress: [{ports: [{port: 80}], ports: [{port: 81}]}]", "[nobody]"),
        ("a misplaced matchLabels", "matchLabels: {app: web}\n  ingress: [{}]", "no rule"),
        ("a misspelt policyTypes", "policyType: [Egress]\n  ingress: [{}]", "no rule"),
    ];
    for (name, spec, expected) in cases {
        let text = format!("{POLICY}  podSelector: {{}}\n  {spec}\n");
        let loaded = parse("f", &text, Validation::Warn);
        let policy = loaded.objects.iter().find_map(|object| match object {
            Object::NetworkPolicy(policy) => Some(policy),
            _ => None,
        });
        let rules = policy.and_then(|policy| policy.ingress.as_deref()).unwrap();
        let seen: Vec<String> = rules
            .iter()
            .map(|rule| match (&rule.peers, &rule.ports) {
                (policy::Peers::Only(peers), policy::Ports::Only(ports))
                    if peers.is_empty() && ports.is_empty() =>
                {
                    "nobody".to_owned()
                }
                (policy::Peers::Only(peers), _) if peers.len() == 1 => "1 peer".to_owned(),
                (policy::Peers::Only(peers), _) => format!("{} peers", peers.len()),
                (policy::Peers::Anyone, _) => "anyone".to_owned(),
            })
            .collect();
        let seen = match seen.is_empty() {
            true => "no rule".to_owned(),
            false => format!("[{}]", seen.join(", ")),
        };
        assert_eq!(seen, expected, "{name}");
    }
}
