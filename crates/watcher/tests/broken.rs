//! Seven policies as their authors wrote them, with their mistakes, and the same
//! policies corrected.

use std::path::PathBuf;

use watcher::files::{Loaded, Source, Validation, read};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn load(names: &[&str], validation: Validation) -> Loaded {
    let sources: Vec<Source> = names.iter().map(|name| Source::Path(fixture(name))).collect();
    read(&sources, validation).expect("readable fixtures")
}

/// The findings, one on each line, without the fixtures' folder.
fn rendered(loaded: &Loaded) -> String {
    let folder = format!("{}/", fixture("").display()).replace("//", "/");
    let lines: Vec<String> = loaded.findings.iter().map(ToString::to_string).collect();
    lines.join("\n").replace(&folder, "")
}

#[track_caller]
fn check(names: &[&str], expected: &[&str]) {
    let loaded = load(names, Validation::Strict);
    assert_eq!(rendered(&loaded), expected.join("\n"), "{names:?}");
    assert_eq!(loaded.has_errors(), expected.iter().any(|line| line.contains(": error: ")));
}

#[test]
fn each_broken_policy_is_explained() {
    check(
        &["broken/1-deny-all-ingress.yaml"],
        &[
            r#"broken/1-deny-all-ingress.yaml:3:1: error: NetworkPolicy dev/deny-all-ingress: metedata: unknown field "metedata"; did you mean metadata? as written, the object has no name"#,
        ],
    );
    check(
        &["broken/2-all-ingress.yaml"],
        &[
            r#"broken/2-all-ingress.yaml:3:1: error: NetworkPolicy dev/all-ingress: metedata: unknown field "metedata"; did you mean metadata? as written, the object has no name"#,
        ],
    );
    check(
        &["broken/3-allow-myapp-ingress.yaml"],
        &[
            r#"broken/3-allow-myapp-ingress.yaml:3:1: error: NetworkPolicy dev/allow-myapp-ingress: metedata: unknown field "metedata"; did you mean metadata? as written, the object has no name"#,
            "broken/3-allow-myapp-ingress.yaml:8:5: error: not valid YAML: matchLabels is indented under the finished value {} of podSelector; it belongs inside podSelector, without the {}",
            "broken/3-allow-myapp-ingress.yaml:19:5: error: NetworkPolicy dev/allow-myapp-ingress: spec.ingress[0].ports: is given twice (first on line 16); a second port is a further item of the first list",
        ],
    );
    check(
        &["broken/3b-allow-myapp-ingress.yaml"],
        &[
            r#"broken/3b-allow-myapp-ingress.yaml:8:3: error: NetworkPolicy dev/allow-myapp-ingress: spec.matchLabels: unknown field "matchLabels"; it belongs under podSelector, which as written selects every pod of the namespace"#,
            "broken/3b-allow-myapp-ingress.yaml:19:5: error: NetworkPolicy dev/allow-myapp-ingress: spec.ingress[0].ports: is given twice (first on line 16); a second port is a further item of the first list",
        ],
    );
    check(
        &["broken/6-deny-all-Egress.yaml"],
        &[
            r#"broken/6-deny-all-Egress.yaml:3:1: error: NetworkPolicy dev/deny-all-Egress: metedata: unknown field "metedata"; did you mean metadata? as written, the object has no name"#,
            r#"broken/6-deny-all-Egress.yaml:4:9: error: NetworkPolicy dev/deny-all-Egress: metadata.name: "deny-all-Egress" has a capital letter, which no name may have; did you mean "deny-all-egress"?"#,
            "broken/6-deny-all-Egress.yaml:4:9: warning: NetworkPolicy dev/deny-all-Egress: metadata.name: the name says the opposite of what the policy does: it allows all egress",
            "broken/6-deny-all-Egress.yaml:8:3: error: not valid YAML: a list item is among the fields of spec; the rule is missing its egress: or ingress: before it",
        ],
    );
}

#[test]
fn the_same_object_twice() {
    check(
        &["broken/4-deny-all-Egress.yaml", "broken/5-deny-all-Egress.yaml"],
        &[
            r#"broken/4-deny-all-Egress.yaml:3:1: error: NetworkPolicy dev/deny-all-Egress: metedata: unknown field "metedata"; did you mean metadata? as written, the object has no name"#,
            r#"broken/4-deny-all-Egress.yaml:4:9: error: NetworkPolicy dev/deny-all-Egress: metadata.name: "deny-all-Egress" has a capital letter, which no name may have; did you mean "deny-all-egress"?"#,
            r#"broken/5-deny-all-Egress.yaml:3:1: error: NetworkPolicy dev/deny-all-Egress: metedata: unknown field "metedata"; did you mean metadata? as written, the object has no name"#,
            r#"broken/5-deny-all-Egress.yaml:4:9: error: NetworkPolicy dev/deny-all-Egress: metadata.name: "deny-all-Egress" has a capital letter, which no name may have; did you mean "deny-all-egress"?"#,
            "broken/5-deny-all-Egress.yaml:4:9: error: NetworkPolicy dev/deny-all-Egress: metadata.name: the same object is also defined in FIXTURES/broken/4-deny-all-Egress.yaml:4",
        ]
        .map(|line| line.replace("FIXTURES/", ""))
        .each_ref()
        .map(String::as_str),
    );
}

#[test]
fn a_folder_is_the_sum_of_its_files() {
    let loaded = load(&["broken"], Validation::Strict);
    let text = rendered(&loaded);
    for (file, findings) in
        [("1-", 1), ("2-", 1), ("3-", 3), ("3b-", 2), ("4-", 2), ("5-", 3), ("6-", 4)]
    {
        let of_file = text.lines().filter(|line| line.starts_with(&format!("broken/{file}")));
        assert_eq!(of_file.count(), findings, "{file}\n{text}");
    }
}

#[test]
fn the_corrected_policies_are_clean() {
    check(&["corrected"], &[]);
    let loaded = load(&["corrected"], Validation::Warn);
    let names: Vec<String> = loaded.objects.iter().map(|one| one.key().to_string()).collect();
    assert_eq!(
        names,
        [
            "dev/deny-all-ingress",
            "dev/all-ingress",
            "dev/allow-myapp-ingress",
            "dev/deny-all-egress",
            "dev/all-egress",
            "dev/deny-all",
            "dev/allow-egress-to-own-namespace",
            "/dev",
        ]
    );
}
