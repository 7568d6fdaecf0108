//! Files are read as kubectl and a real API server read them: the same texts are
//! accepted, with the same meaning, and the same are refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use kubebed::apiserver::ApiServer;
use netbed::net::Namespace;
use policy::NetworkPolicy;
use serde_json::{Value, json};
use watcher::Object;
use watcher::files::{self, Validation};

/// What both do with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Both {
    Accept,
    Refuse,
    /// kubectl refuses it, with a message that helps nobody. nftpol reads what is meant.
    AcceptHere,
}

use Both::{Accept, AcceptHere, Refuse};

/// A policy of this name without rules, in block style. `NS` is the case's namespace.
fn plain(name: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\n  \
         namespace: NS\nspec:\n  podSelector: {{}}\n"
    )
}

/// The same in JSON.
fn object(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "NS"},
        "spec": {"podSelector": {}},
    })
}

/// A policy with these ingress rules.
fn ingress(rules: &str) -> String {
    plain("a") + "  ingress:\n" + rules
}

fn block(cidr: &str) -> String {
    ingress(&format!("  - from: [{{ipBlock: {{cidr: {cidr}}}}}]\n"))
}

fn namespace(metadata: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: NS-own, {metadata}}}\n")
}

fn merge_keys() -> Vec<(&'static str, String, Both)> {
    let ports =
        "  - ports:\n    - &p {port: 80, protocol: UDP}\n    - &q {port: 82, endPort: 90}\n";
    let port = |text: &str| ingress(&format!("{ports}    - {text}\n"));
    let merged = |text: &str| ingress(text);
    vec![
        ("a port overrides what it merges", port("{<<: *p, port: 81}"), Accept),
        ("what is merged later overrides", port("{port: 81, <<: *p}"), Accept),
        ("written before and after", port("{<<: *p, port: 81, protocol: TCP}"), Accept),
        ("two merge keys", port("{<<: *p, <<: *q}"), Accept),
        ("a list of two, the first counts", port("{<<: [*p, *q], protocol: TCP}"), Accept),
        ("written between two", port("{<<: *q, port: 83, <<: *p}"), Accept),
        ("a merge of a merge", port("&r {<<: *q, port: 81}\n    - {<<: *r, endPort: 91}"), Accept),
        (
            "a rule",
            merged(
                "  - &r {ports: [{port: 1}], from: [{podSelector: {}}]}\n  - {<<: *r, ports: [{port: 2}]}\n",
            ),
            Accept,
        ),
        (
            "a peer",
            merged(
                "  - from:\n    - &p {podSelector: {matchLabels: {a: b}}, namespaceSelector: {}}\n    - {<<: *p, podSelector: {}}\n",
            ),
            Accept,
        ),
        (
            "a selector",
            merged(
                "  - from:\n    - podSelector: &s {matchLabels: {a: b}}\n    - podSelector: {<<: *s, matchLabels: {c: d}}\n",
            ),
            Accept,
        ),
        (
            "labels",
            merged(
                "  - from:\n    - podSelector: {matchLabels: &l {a: b, c: d}}\n    - podSelector: {matchLabels: {<<: *l, c: e}}\n",
            ),
            Accept,
        ),
        (
            "a whole spec",
            plain("a").replace(
                "spec:\n",
                "spec:\n  <<: {podSelector: {matchLabels: {a: b}}, ingress: [{}]}\n",
            ),
            Accept,
        ),
        ("no object", port("{<<: 1, port: 81}"), Refuse),
    ]
}

fn spaces() -> Vec<(&'static str, String, Both)> {
    let a = plain("a");
    vec![
        ("a tab after name:", a.replace("name: a", "name:\ta"), Accept),
        ("tabs and blanks after name:", a.replace("name: a", "name: \t\t a"), Accept),
        ("a tab after each colon", a.replace(": ", ":\t"), Accept),
        ("a tab after a value", a.replace("{}\n", "{}\t\n"), Accept),
        ("a tab before a comment", a.replace("{}\n", "{}\t# all\n"), Accept),
        ("a tab after a key without a value", a.replace("spec:\n", "spec:\t\n"), Accept),
        ("tabs in braces", a.replace("{}", "{\tmatchLabels:\t{a:\tb\t}\t}"), Accept),
        ("a tab before a colon", a.replace("name: a", "name\t: a"), Accept),
        ("a tab that indents", a.replace("  name: a", "\tname: a"), Refuse),
        ("a tab after a dash", ingress("  -\tports: [{port: 80}]\n"), AcceptHere),
        ("a mark after the first ---", format!("---\n\u{feff}{a}"), Refuse),
        ("a mark between two", format!("{a}---\n\u{feff}{}", plain("b")), Accept),
        ("a mark after a comment", format!("# c\n\u{feff}{a}"), AcceptHere),
        ("two marks", format!("\u{feff}\u{feff}{a}"), Accept),
        ("a mark before ---", format!("{a}\u{feff}---\n{}", plain("b")), AcceptHere),
    ]
}

fn json_texts() -> Vec<(&'static str, String, Both)> {
    let [a, b] = ["a", "b"].map(object);
    let pretty = |value: &Value| format!("{value:#}\n");
    vec![
        ("as jq -c writes them", format!("{a}\n{b}\n"), Accept),
        ("as jq writes them", pretty(&a) + &pretty(&b), Accept),
        ("on one line", format!("{a}{b}"), Accept),
        ("a mark between two texts", format!("{a}\n\u{feff}{b}"), Accept),
        ("JSON with ---", format!("{a}\n---\n{b}\n"), Accept),
        ("JSON, then YAML", format!("{a}\n{}", plain("b")), Accept),
        ("YAML, then JSON", format!("{}---\n{b}\n", plain("a")), Accept),
        ("a comma between two", format!("{a},\n{b}\n"), Refuse),
        ("a list without a kind", format!("[{a},{b}]"), Refuse),
    ]
}

fn namespaces() -> Vec<(&'static str, String, Both)> {
    let labels = namespace("labels: {a: b}");
    vec![
        ("the same Namespace twice", labels.clone() + &labels, Accept),
        ("a Namespace in a namespace", namespace("namespace: default"), Accept),
    ]
}

fn blocks() -> Vec<(&'static str, String, Both)> {
    let except = |cidr: &str| {
        ingress(&format!("  - from: [{{ipBlock: {{cidr: 203.0.113.0/24, except: [{cidr}]}}}}]\n"))
    };
    vec![
        ("host bits", block("203.0.113.77/24"), Refuse),
        ("leading zeros", block("010.0.0.0/8"), Refuse),
        ("leading zeros of the length", block("10.0.0.0/08"), Refuse),
        ("host bits of IPv6", block("2001:db8::1/32"), Refuse),
        ("a mapped address", block("\"::ffff:10.0.0.0/104\""), Refuse),
        ("host bits of an except", except("203.0.113.77/28"), Refuse),
        ("IPv6 in capitals", block("2001:DB8::/32"), Accept),
        ("a long IPv6", block("2001:db8:0:0:0:0:0:0/32"), Accept),
        ("a sound except", except("203.0.113.64/28"), Accept),
    ]
}

fn managed_fields() -> Vec<(&'static str, String, Both)> {
    let managed = |item: &str| {
        let known = r#""manager": "m", "operation": "Update", "fieldsType": "FieldsV1""#;
        let item = format!("{{{known}, {item}}}");
        let text = object("a").to_string();
        text.replace(r#""name":"a""#, &format!(r#""name": "a", "managedFields": [{item}]"#))
    };
    let deep = format!(r#""fieldsV1": {}{{}}{}"#, r#"{"f:a": "#.repeat(300), "}".repeat(300));
    let repeated = r#""fieldsV1": {"f:spec": {"f:a": {}, "f:a": {}}}"#;
    vec![
        ("managedFields", managed(r#""fieldsV1": {"f:spec": {}}"#), Accept),
        ("deep managedFields", managed(&deep), Accept),
        ("a key twice in managedFields", managed(repeated), Accept),
        ("no field of managedFields", managed(r#""fieldsV1": {}, "fieldsV2": {}"#), Refuse),
        ("a time that is a number", managed(r#""fieldsV1": {}, "time": 1"#), Refuse),
    ]
}

/// Policies by name and labels of Namespaces by name, as the specification takes them.
fn meaning(objects: &[Object]) -> (BTreeMap<String, NetworkPolicy>, BTreeMap<String, String>) {
    let (mut policies, mut namespaces) = (BTreeMap::new(), BTreeMap::new());
    for object in objects {
        match object {
            Object::NetworkPolicy(policy) => {
                let policy = NetworkPolicy { uid: String::new(), ..(**policy).clone() };
                policies.insert(policy.key.name.clone(), policy);
            }
            Object::Namespace(namespace) => {
                namespaces.insert(namespace.name.clone(), format!("{:?}", namespace.labels));
            }
            Object::Pod(_) | Object::MultiNetworkPolicy(_) => {}
        }
    }
    (policies, namespaces)
}

#[test]
fn files_are_read_as_the_api_server_reads_them() -> Result<()> {
    let namespace = Namespace::new("ac")?;
    let server = ApiServer::start(&namespace, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    let topics = [merge_keys(), spaces(), json_texts(), namespaces(), blocks(), managed_fields()];
    let mut wrong = String::new();
    for (number, (name, text, expected)) in topics.into_iter().flatten().enumerate() {
        let space = format!("case-{number}");
        server.kubectl(&["create", "namespace", &space], "")?.success()?;
        let text = text.replace("NS", &space);
        if let Err(error) = compare(&server, &space, &text, expected) {
            wrong += &format!("{name}: {error:#}\n{text}\n");
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}

fn compare(server: &ApiServer, space: &str, text: &str, expected: Both) -> Result<()> {
    let applied = server.kubectl(&["apply", "--validate=strict", "-f", "-"], text)?;
    let ours = files::parse("f", text, Validation::Strict);
    let (there, here) = match expected {
        Accept => (true, true),
        Refuse => (false, false),
        AcceptHere => (false, true),
    };
    ensure!((applied.code == Some(0)) == there, "the API server: {applied:#?}");
    ensure!(ours.has_errors() != here, "nftpol: {:#?}", ours.findings);
    if !there {
        return Ok(());
    }
    let get = ["get", "networkpolicies", "-n", space, "-o", "json"];
    let mut stored = server.kubectl(&get, "")?.success()?;
    let own = format!("{space}-own");
    let get = ["get", "namespaces", &own, space, "--ignore-not-found", "-o", "json"];
    stored += &server.kubectl(&get, "")?.success()?;
    let stored = files::parse("stored", &stored, Validation::Warn);
    ensure!(!stored.has_errors(), "stored: {:#?}", stored.findings);
    let (ours, stored) = (meaning(&ours.objects), meaning(&stored.objects));
    ensure!(ours.0 == stored.0, "read here as {:#?}\nstored as {:#?}", ours.0, stored.0);
    let told = stored.1.get(&own);
    ensure!(told.is_none() || ours.1.get(&own) == told, "{:?}, stored {:?}", ours.1, stored.1);
    ensure!(!stored.0.is_empty() || told.is_some(), "nothing is stored");
    Ok(())
}

/// What kubectl drops without a word is refused here, so that nobody believes it in force.
#[test]
fn what_kubectl_drops_in_silence_is_refused() -> Result<()> {
    let [b, c] = ["b", "c"].map(object);
    let text = format!("{}---\n{b}\n{c}\n", plain("a")).replace("NS", "dropped");
    let namespace = Namespace::new("ac")?;
    let server = ApiServer::start(&namespace, IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    server.kubectl(&["create", "namespace", "dropped"], "")?.success()?;
    server.kubectl(&["apply", "--validate=strict", "-f", "-"], &text)?.success()?;
    let get = ["get", "networkpolicies", "-n", "dropped", "-o", "name"];
    let stored = server.kubectl(&get, "")?.success()?;
    assert_eq!(stored.lines().count(), 2, "kubectl drops c: {stored}");
    let ours = files::parse("f", &text, Validation::Strict);
    let finding = ours.findings.first().context("no finding")?.to_string();
    assert!(finding.contains("a second value follows the first"), "{finding}");
    Ok(())
}
