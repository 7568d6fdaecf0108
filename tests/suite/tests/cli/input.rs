//! Bad input. Each mistake gets a clear message, and nothing else is lost.

use anyhow::Result;
use netbed::net::Namespace;
use samples::fixtures;
use samples::scratch::Folder;

use super::support::{
    DB, OUTSIDER, WEB, fixture, generation, good, listing, nftpol, passes, short, with_input,
};

const REFUSED: &str = "error: the manifests are refused and nothing was changed \
                       (--validate=warn isolates the pods of broken policies instead)\n";

/// A policy `dev/broken` that isolates web. Its sound part allows port 80. Its broken
/// part would allow port 81.
struct Case {
    file: &'static str,
    /// The findings, without the name of the file.
    findings: &'static [&'static str],
    /// Whether `--validate=strict` refuses it.
    refused: bool,
}

const CASES: [Case; 9] = [
    Case {
        file: "cidr.yaml",
        findings: &[
            "16:15: error: NetworkPolicy dev/broken: spec.ingress[1].from[0].ipBlock.cidr: \
                     \"10.244.300.0/16\" is not a CIDR, such as 10.9.8.0/24 or 2001:db8::/64",
        ],
        refused: true,
    },
    Case {
        file: "duplicate.yaml",
        findings: &[
            "18:9: error: NetworkPolicy dev/broken: metadata.name: the same object is also \
                     defined in bad/duplicate.yaml:5",
        ],
        refused: true,
    },
    Case {
        file: "except.yaml",
        findings: &["18:11: error: NetworkPolicy dev/broken: \
                     spec.ingress[1].from[0].ipBlock.except[0]: 10.245.1.0/24 is not strictly \
                     within cidr 10.244.0.0/16"],
        refused: true,
    },
    // An unknown field may have been meant to narrow the rule.
    Case {
        file: "field.yaml",
        findings: &["14:5: error: NetworkPolicy dev/broken: spec.ingress[1].form: unknown field \
                     \"form\"; did you mean from?"],
        refused: true,
    },
    Case {
        file: "kinds.yaml",
        findings: &[
            "16:7: warning: Deployment dev/web: is skipped; only NetworkPolicy, Pod and Namespace \
             are used",
            "34:7: warning: Service dev/web: is skipped; only NetworkPolicy, Pod and Namespace are \
             used",
            "43:7: warning: CiliumNetworkPolicy dev/web: is skipped; only NetworkPolicy, Pod and \
             Namespace are used",
        ],
        refused: false,
    },
    Case {
        file: "operator.yaml",
        findings: &["18:21: error: NetworkPolicy dev/broken: \
                     spec.ingress[1].from[0].podSelector.matchExpressions[0].operator: unknown \
                     operator \"Is\"; one of In, NotIn, Exists, DoesNotExist"],
        refused: true,
    },
    Case {
        file: "peer.yaml",
        findings: &[
            "15:7: error: NetworkPolicy dev/broken: spec.ingress[1].from[0]: is empty and allows \
             nothing; it needs podSelector, namespaceSelector or ipBlock",
            "16:7: error: NetworkPolicy dev/broken: spec.ingress[1].from[1]: has ipBlock beside \
             podSelector or namespaceSelector and allows nothing; make them two items of the list",
        ],
        refused: true,
    },
    Case {
        file: "port.yaml",
        findings: &[
            "15:13: error: NetworkPolicy dev/broken: spec.ingress[1].ports[0].port: 70000 is not a \
             port; 1 to 65535",
            "17:16: error: NetworkPolicy dev/broken: spec.ingress[1].ports[1].endPort: needs a \
             numeric port, and \"http\" is a name",
            "19:17: error: NetworkPolicy dev/broken: spec.ingress[1].ports[2].protocol: unknown \
             protocol \"ICMP\"; ports are of TCP, UDP or SCTP, and only a rule without ports \
             allows ICMP",
        ],
        refused: true,
    },
    Case {
        file: "unreadable.yaml",
        findings: &["21:3: error: not valid YAML: a ',' is missing before here, or a '[' or '{' \
                     is not closed or closed twice"],
        refused: true,
    },
];

fn files(case: &Case) -> Vec<String> {
    let mut files = good();
    files.push(fixture(&format!("bad/{}", case.file)));
    files
}

fn findings(case: &Case) -> String {
    case.findings.iter().map(|finding| format!("bad/{}:{finding}\n", case.file)).collect()
}

#[test]
fn every_bad_file_has_a_case() -> Result<()> {
    let there: Vec<String> = fixtures::files("cli/bad")?
        .into_iter()
        .filter_map(|(path, _)| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect();
    assert_eq!(CASES.map(|case| case.file.to_owned()).to_vec(), there);
    Ok(())
}

#[test]
fn strict_refuses_all_of_it_and_keeps_the_kernel() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    for case in CASES.iter().filter(|case| case.refused) {
        for (command, code) in [("apply", 1), ("render", 1), ("diff", 2)] {
            let finished = nftpol(&namespace, &[command], &files(case))?;
            assert_eq!(
                (finished.code, finished.stdout.as_str(), finished.stderr),
                (Some(code), "", findings(case) + REFUSED),
                "{}, {command}",
                case.file
            );
        }
        assert_eq!((listing(&namespace)?, generation(&namespace)?), before, "{}", case.file);
    }
    Ok(())
}

/// The broken part allows nothing, its pod is isolated, and the rest is enforced.
#[test]
fn warn_enforces_what_can_be_used() -> Result<()> {
    for case in &CASES {
        let namespace = Namespace::new("cl")?;
        let finished = nftpol(&namespace, &["apply", "--validate=warn"], &files(case))?;
        assert_eq!((finished.code, finished.stderr), (Some(0), findings(case)), "{}", case.file);
        let seen = [
            passes(&namespace, OUTSIDER, WEB, 80)?,
            passes(&namespace, OUTSIDER, WEB, 81)?,
            passes(&namespace, OUTSIDER, WEB, 82)?,
            passes(&namespace, WEB, DB, 5432)?,
            passes(&namespace, OUTSIDER, DB, 5432)?,
        ];
        assert_eq!(seen, [true, false, false, true, false], "{}", case.file);
        let diff = nftpol(&namespace, &["diff", "--validate=warn"], &files(case))?;
        assert_eq!((diff.code, diff.stdout.as_str()), (Some(0), ""), "{}", case.file);
    }
    Ok(())
}

/// Input that looks odd but is not wrong. Both modes treat it alike.
#[test]
fn odd_input_is_used_with_a_warning() -> Result<()> {
    let cases = [
        ("kinds.yaml", "bad/kinds.yaml", findings(&CASES[4])),
        (
            "a pod without an address",
            "no-address.yaml",
            "no-address.yaml:5:9: warning: Pod dev/waiting: status.podIPs: is empty; no rule \
             applies to a pod without an address\n"
                .to_owned(),
        ),
        ("names of 253 characters", "long-names.yaml", String::new()),
    ];
    for (name, file, expected) in cases {
        let mut files = good();
        files.push(fixture(file));
        let mut tables = Vec::new();
        for mode in ["--validate=strict", "--validate=warn"] {
            let namespace = Namespace::new("cl")?;
            let finished = nftpol(&namespace, &["apply", mode], &files)?;
            assert_eq!((finished.code, finished.stderr), (Some(0), expected.clone()), "{name}");
            assert!(!passes(&namespace, OUTSIDER, DB, 5432)?, "{name}, {mode}");
            tables.push(listing(&namespace)?);
        }
        assert_eq!(tables[0], tables[1], "{name}");
    }
    Ok(())
}

#[test]
fn names_of_253_characters_are_enforced() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &[fixture("long-names.yaml")])?.success()?;
    let pod = "10.244.1.4";
    assert!(!passes(&namespace, OUTSIDER, pod, 80)?);
    assert!(passes(&namespace, pod, pod, 81)?);
    Ok(())
}

/// On a node that has both pods, the address is isolated if either is. Nothing tells
/// whose packets they are, so nothing is allowed that the two judge differently.
#[test]
fn an_address_of_two_pods_is_isolated_if_either_is() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let mut files = good();
    files.push(fixture("same-address.yaml"));
    for mode in ["--validate=strict", "--validate=warn"] {
        let finished = nftpol(&namespace, &["apply", mode], &files)?;
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        let first = finished.stderr.lines().next().unwrap_or_default();
        assert_eq!(
            first,
            "cluster.yaml:42:9: warning: Pod dev/db: status.podIPs: 10.244.1.3 is also the \
             address of Pod dev/heir in same-address.yaml:5, which is newer: policies that allow \
             a peer mean that one, and if either is isolated on a node that has both, so is the \
             address"
        );
        assert!(!passes(&namespace, OUTSIDER, DB, 80)?, "{mode}: db is isolated");
        let v6 = passes(&namespace, "fd00:10:244:2::2", "fd00:10:244:1::3", 5432)?;
        assert!(!v6, "{mode}: db keeps its other address");
    }
    Ok(())
}

/// Missing or empty files are an error: taken literally, they would lift all
/// isolation.
#[test]
fn nothing_to_read_is_an_error() -> Result<()> {
    let folder = Folder::new("cli")?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(path("empty"))?;
    std::fs::create_dir(path("others"))?;
    std::fs::write(path("others/README.md"), "text")?;
    std::fs::write(path("blank.yaml"), "")?;
    std::fs::write(path("comments.yaml"), "# nothing\n---\n# here\n")?;
    std::os::unix::fs::symlink("nowhere.yaml", path("dangling.yaml"))?;
    let nothing = |name: &str| format!("error: read manifests: no objects in {}\n", path(name));
    let no_manifests = |name: &str| {
        format!("error: read manifests: no *.yaml, *.yml or *.json in folder {}\n", path(name))
    };
    let missing = |name: &str| {
        format!(
            "error: read manifests: cannot read {}: No such file or directory (os error 2)\n",
            path(name)
        )
    };
    let cases = [
        ("missing.yaml", missing("missing.yaml")),
        ("dangling.yaml", missing("dangling.yaml")),
        ("empty", no_manifests("empty")),
        ("others", no_manifests("others")),
        ("blank.yaml", nothing("blank.yaml")),
        ("comments.yaml", nothing("comments.yaml")),
    ];
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    for (name, expected) in cases {
        for mode in ["--validate=strict", "--validate=warn"] {
            let finished = nftpol(&namespace, &["apply", mode], &[path(name)])?;
            assert_eq!(
                (finished.code, finished.stdout.as_str(), finished.stderr),
                (Some(1), "", expected.clone()),
                "{name}, {mode}"
            );
        }
    }
    let stdin = with_input(&namespace, &["apply"], &["-".to_owned()], "")?;
    assert_eq!(
        (stdin.code, stdin.stderr.as_str()),
        (Some(1), "error: read manifests: no objects in stdin\n")
    );
    assert_eq!((listing(&namespace)?, generation(&namespace)?), before);
    Ok(())
}

/// Text that is not YAML at all, as users produce it.
#[test]
fn no_input_makes_it_panic() -> Result<()> {
    let cases: [(&str, &[u8]); 12] = [
        ("a binary file", b"\x7fELF\x02\x01\x01\0\0\0\xff\xfe"),
        ("UTF-16", b"\xff\xfek\0i\0n\0d\0:\0 \0P\0o\0d\0"),
        ("not UTF-8", b"kind: Pod\xe9\n"),
        ("a scalar", b"hello\n"),
        ("a list", b"- 1\n- 2\n"),
        ("tabs", b"kind: Pod\n\tmetadata: {}\n"),
        ("an HTML page", b"<!DOCTYPE html>\n<html><body>404</body></html>\n"),
        ("a template", b"metadata:\n  name: {{ .Release.Name }}\n"),
        ("no kind", b"apiVersion: v1\nmetadata: {name: a}\n"),
        ("JSON cut off", b"{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [{"),
        ("aliases without end", b"a: &a [*a, *a]\nkind: Pod\n"),
        ("numbers for names", b"apiVersion: v1\nkind: Pod\nmetadata: {name: 1, namespace: 2}\n"),
    ];
    let folder = Folder::new("cli")?;
    let file = folder.path().join("case.yaml");
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    for (name, bytes) in cases {
        std::fs::write(&file, bytes)?;
        let mut files = good();
        files.push(file.display().to_string());
        let finished = nftpol(&namespace, &["apply"], &files)?;
        assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{name}");
        let place = format!("{}:", file.display());
        assert!(
            finished.stderr.starts_with(&place) && finished.stderr.ends_with(REFUSED),
            "{name}: {}",
            finished.stderr
        );
        assert_eq!((listing(&namespace)?, generation(&namespace)?), before, "{name}");
    }
    Ok(())
}

/// Policies as users really write them, with every command that reads policies.
#[test]
fn broken_policies_are_refused_by_file_line_and_field() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    for (path, _) in fixtures::files("broken")? {
        let path = path.display().to_string();
        let mut said = Vec::new();
        for (command, code) in [("render", 1), ("apply", 1), ("diff", 2)] {
            let finished = nftpol(&namespace, &[command], std::slice::from_ref(&path))?;
            assert_eq!((finished.code, finished.stdout.as_str()), (Some(code), ""), "{path}");
            said.push(finished.stderr);
        }
        assert!(said.iter().all(|one| *one == said[0]), "{path}: {said:#?}");
        let (last, findings) = said[0].trim_end().rsplit_once('\n').unwrap_or_default();
        assert_eq!(format!("{findings}\n"), REFUSED, "{path}");
        for line in last.lines() {
            let place: Vec<&str> =
                line.strip_prefix(&format!("{path}:")).unwrap_or_default().splitn(4, ':').collect();
            let [row, column, severity, what] = place[..] else { anyhow::bail!("{path}: {line}") };
            assert!(row.parse::<u32>().is_ok() && column.parse::<u32>().is_ok(), "{line}");
            assert!([" error", " warning"].contains(&severity), "{line}");
            assert!(!what.trim().is_empty(), "{line}");
        }
    }
    assert_eq!(short(&listing(&namespace)?), "");
    Ok(())
}
