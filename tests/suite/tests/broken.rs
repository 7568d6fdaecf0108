//! Policies with mistakes that users really made. They are refused with a message
//! that names the place and the problem, and the kernel does not change.

use anyhow::Result;
use netbed::net::Namespace;
use netbed::program;
use samples::fixtures;

const METADATA: Message = (3, &["metedata", "did you mean metadata"]);
const CAPITAL: Message = (4, &["metadata.name", "deny-all-Egress", "capital letter"]);
const TWICE_PORTS: Message = (19, &["spec.ingress[0].ports", "twice", "first list"]);

/// A line, and words that one message about that line must contain.
type Message = (u32, &'static [&'static str]);

/// The expected message for each file.
const MUST_SAY: [(&str, &[Message]); 7] = [
    ("1-deny-all-ingress.yaml", &[METADATA]),
    ("2-all-ingress.yaml", &[METADATA]),
    (
        "3-allow-myapp-ingress.yaml",
        &[METADATA, (8, &["matchLabels", "indented", "inside podSelector"]), TWICE_PORTS],
    ),
    (
        "3b-allow-myapp-ingress.yaml",
        &[
            (8, &["spec.matchLabels", "under podSelector", "every pod of the namespace"]),
            TWICE_PORTS,
        ],
    ),
    ("4-deny-all-Egress.yaml", &[METADATA, CAPITAL]),
    ("5-deny-all-Egress.yaml", &[METADATA, CAPITAL]),
    (
        "6-deny-all-Egress.yaml",
        &[
            METADATA,
            CAPITAL,
            (4, &["metadata.name", "the opposite"]),
            (8, &["list item", "spec", "missing its egress:"]),
        ],
    ),
];

fn ruleset(namespace: &Namespace) -> Result<String> {
    let output = namespace.command("nft").args(["list", "ruleset"]).output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// The messages of `apply` for these files, which it must refuse.
fn refusal(namespace: &Namespace, files: &[&str]) -> Result<String> {
    let directory = fixtures::directory("broken");
    let paths: Vec<String> =
        files.iter().map(|file| directory.join(file).display().to_string()).collect();
    let mut arguments = vec!["apply"];
    for path in &paths {
        arguments.extend(["-f", path]);
    }
    let before = ruleset(namespace)?;
    let finished = program::run(namespace, &arguments, "")?;
    assert_eq!(finished.code, Some(1), "{files:?}: {finished:#?}");
    assert_eq!(finished.stdout, "", "{files:?}");
    assert_eq!(ruleset(namespace)?, before, "{files:?}");
    Ok(finished.stderr)
}

#[test]
fn every_broken_policy_is_refused_by_line_and_field() -> Result<()> {
    let namespace = Namespace::new("br")?;
    let good = fixtures::directory("policies").join("1-deny-all-ingress.yaml");
    let good = good.display().to_string();
    program::run(&namespace, &["apply", "--allow-no-pods", "-f", &good], "")?.success()?;
    assert!(ruleset(&namespace)?.contains("nftpol"));

    let named: Vec<String> = MUST_SAY.iter().map(|(file, _)| (*file).to_owned()).collect();
    let there: Vec<String> = fixtures::files("broken")?
        .iter()
        .filter_map(|(path, _)| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(named, there, "every file needs an entry");

    for (file, messages) in MUST_SAY {
        let said = refusal(&namespace, &[file])?;
        for (line, words) in messages {
            let place = format!("{file}:{line}:");
            let found = said.lines().any(|message| {
                message.contains(&place) && words.iter().all(|word| message.contains(word))
            });
            assert!(found, "of {file} it must say {words:?} at line {line}, but says:\n{said}");
        }
    }
    Ok(())
}

#[test]
fn the_same_policy_twice_is_refused() -> Result<()> {
    let namespace = Namespace::new("br")?;
    let said = refusal(&namespace, &["4-deny-all-Egress.yaml", "5-deny-all-Egress.yaml"])?;
    let found = said.lines().any(|message| {
        message.contains("5-deny-all-Egress.yaml:4:")
            && message.contains("the same object")
            && message.contains("4-deny-all-Egress.yaml:4")
    });
    assert!(found, "{said}");
    Ok(())
}

/// `--validate=warn` isolates the pods that a broken policy selects.
#[test]
fn warned_of_and_enforced_as_far_as_it_can_be_read() -> Result<()> {
    let namespace = Namespace::new("br")?;
    let path = fixtures::directory("broken").join("3b-allow-myapp-ingress.yaml");
    let path = path.display().to_string();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  namespace: dev\n\
               spec:\n  containers:\n  - name: main\n    image: example.org/main:1\n\
               status:\n  phase: Running\n  podIP: 10.244.1.9\n";
    let arguments = ["apply", "--validate=warn", "-f", &path, "-f", "-"];
    let finished = program::run(&namespace, &arguments, pod)?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(finished.stderr.contains("spec.matchLabels"), "{finished:#?}");
    let ruleset = ruleset(&namespace)?;
    assert!(ruleset.contains("10.244.1.9"), "{ruleset}");
    Ok(())
}
