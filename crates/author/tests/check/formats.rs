//! Output for programs, and exit codes.

use serde_json::Value;

use super::support::{Folder, check, fixtures, stderr, stdout};

const FILES: [&str; 4] = ["-f", "12-service-port.yaml", "-f", "cluster.yaml"];

#[test]
fn json_has_the_place_and_the_repair() {
    let output = check(&fixtures(), &[&FILES[..], &["-o", "json"]].concat());
    let all: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    let findings = all["findings"].as_array().expect("a list");
    let one = findings.iter().find(|one| one["id"] == "service-port").expect("found");
    assert_eq!(
        (&one["level"], &one["line"], &one["column"]),
        (&"warning".into(), &12.into(), &13.into())
    );
    assert_eq!(one["file"], "12-service-port.yaml");
    assert_eq!((&one["namespace"], &one["name"]), (&"shop".into(), &"cart-service-port".into()));
    assert_eq!(one["field"], "spec.ingress[0].ports[0].port");
    assert_eq!(one["fix"]["edits"][0]["new"], "8080");
}

#[test]
fn sarif_names_a_rule_for_each_result() {
    let output = check(&fixtures(), &[&FILES[..], &["-o", "sarif"]].concat());
    let log: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let results = run["results"].as_array().expect("results");
    assert!(!results.is_empty());
    for result in results {
        assert!(rules.iter().any(|rule| rule["id"] == result["ruleId"]), "{result}");
        assert!(matches!(result["level"].as_str(), Some("error" | "warning" | "note")), "{result}");
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["artifactLocation"]["uri"].is_string(), "{result}");
        assert!(place["region"]["startLine"].as_u64() > Some(0), "{result}");
    }
    let mut names = std::collections::BTreeSet::new();
    properties(&log, &mut names);
    assert_eq!(names.into_iter().collect::<Vec<_>>(), SARIF);
}

/// All names of properties that a log has, as the schema of SARIF 2.1.0 spells them.
const SARIF: [&str; 33] = [
    "$schema",
    "artifactChanges",
    "artifactLocation",
    "columnKind",
    "defaultConfiguration",
    "deletedRegion",
    "description",
    "driver",
    "endColumn",
    "fixes",
    "help",
    "id",
    "insertedContent",
    "level",
    "locations",
    "markdown",
    "message",
    "name",
    "physicalLocation",
    "region",
    "replacements",
    "results",
    "ruleId",
    "rules",
    "runs",
    "semanticVersion",
    "shortDescription",
    "startColumn",
    "startLine",
    "text",
    "tool",
    "uri",
    "version",
];

fn properties(value: &Value, names: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                names.insert(name.clone());
                properties(inner, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|one| properties(one, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn annotations_of_a_workflow_are_a_line_each() {
    let output = check(&fixtures(), &[&FILES[..], &["-o", "github"]].concat());
    let text = stdout(&output);
    let wanted = "::warning file=12-service-port.yaml,line=12,col=13,title=nftpol service-port::";
    assert!(text.contains(wanted), "{text}");
    assert!(text.lines().all(|line| line.starts_with("::")), "{text}");
}

#[test]
fn the_exit_code_follows_the_level() {
    let code = |arguments: &[&str]| check(&fixtures(), arguments).status.code();
    assert_eq!(code(&FILES), Some(0));
    assert_eq!(code(&[&FILES[..], &["--fail-on", "warning"]].concat()), Some(1));
    assert_eq!(code(&["-f", "cluster.yaml", "--fail-on", "note"]), Some(0));
    assert_eq!(code(&["-f", "08-except-outside.yaml"]), Some(1));
    assert_eq!(code(&["-f", "no-such-file.yaml"]), Some(2));
    assert_eq!(code(&["--explain", "two-peers"]), Some(0));
    assert_eq!(code(&["--explain", "nothing"]), Some(2));
}

#[test]
fn a_page_is_printed_by_its_id() {
    let output = check(&fixtures(), &["--explain", "two-peers"]);
    assert!(stdout(&output).starts_with("# two-peers\n"));
    let output = check(&fixtures(), &["--explain", "all"]);
    assert_eq!(stdout(&output).lines().count(), author::check::CHECKS.len());
}

#[test]
fn a_file_with_control_characters_writes_none_to_the_terminal() {
    let folder = Folder::new();
    folder.write(
        "p.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: \"a\\e[31mb\"}\n\
         spec: {podSelector: {}, \"x\\ey\": 1}\n",
    );
    for form in ["text", "github", "json", "sarif"] {
        let output = check(folder.path(), &["-f", "p.yaml", "-o", form]);
        let text = stdout(&output) + &stderr(&output);
        assert!(!text.contains('\u{1b}'), "{form}: {text:?}");
    }
    let coloured = stdout(&check(folder.path(), &["-f", "p.yaml", "--color", "always"]));
    assert!(coloured.contains('\u{1b}'), "{coloured:?}");
}

#[test]
fn standard_input_is_read() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-nftpol"))
        .args(["check", "-f", "-", "-n", "shop"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let text = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}, ingress: [{from: []}]}\n";
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("--> stdin:4:"), "{text}");
    assert!(text.contains("NetworkPolicy shop/p"), "{text}");
}
