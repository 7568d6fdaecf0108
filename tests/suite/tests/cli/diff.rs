//! `nftpol diff`: what `apply` would change, and nothing else.

use anyhow::Result;
use netbed::net::Namespace;
use samples::fixtures;
use samples::scratch::Folder;

use super::support::{fixture, generation, good, listing, nft, nftpol, text, with_input};

#[test]
fn after_apply_there_is_no_difference() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    let diff = nftpol(&namespace, &["diff"], &good())?;
    assert_eq!((diff.code, diff.stdout.as_str(), diff.stderr.as_str()), (Some(0), "", ""));
    assert_eq!((listing(&namespace)?, generation(&namespace)?), before);
    Ok(())
}

type Edit = fn(&str) -> String;

/// For each edit, `diff` says in these words what opens and closes, with `--rules` shows
/// these rules, and changes nothing. `apply` then makes the change.
#[test]
fn a_change_is_shown_and_not_made() -> Result<()> {
    let edits: [(&str, Edit, &str, &str); 4] = [
        ("another port", |text| text.replace("5432", "5433"), PORT_IN_WORDS, ANOTHER_PORT),
        (
            "another peer",
            |text| text.replace("app: web", "app: mon"),
            "- dev/web -> dev/db: 5432\n",
            ANOTHER_PEER,
        ),
        (
            "egress, too",
            |text| format!("{text}  egress: []\n  policyTypes: [Ingress, Egress]\n"),
            "- dev/db -> everyone: all\n",
            EGRESS,
        ),
        ("another pod", |text| text.replacen("app: db", "app: web", 1), POD_IN_WORDS, ANOTHER_POD),
    ];
    let policy = text("good.yaml")?;
    let files = [fixture("cluster.yaml"), "-".to_owned()];
    for (name, edit, words, rules) in edits {
        let namespace = Namespace::new("cl")?;
        with_input(&namespace, &["apply"], &files, &policy)?.success()?;
        let before = (listing(&namespace)?, generation(&namespace)?);
        let edited = edit(&policy);
        let diff = with_input(&namespace, &["diff"], &files, &edited)?;
        assert_eq!((diff.code, diff.stderr.as_str()), (Some(1), ""), "{name}");
        assert_eq!(diff.stdout, words, "{name}");
        let diff = with_input(&namespace, &["diff", "--rules"], &files, &edited)?;
        assert_eq!((diff.code, diff.stderr.as_str()), (Some(1), ""), "{name}");
        assert_eq!(without_hashes(&diff.stdout), format!("{words}{rules}"), "{name}");
        assert_eq!((listing(&namespace)?, generation(&namespace)?), before, "{name}");
        with_input(&namespace, &["apply"], &files, &edited)?.success()?;
        let diff = with_input(&namespace, &["diff"], &files, &edited)?;
        assert_eq!((diff.code, diff.stdout.as_str()), (Some(0), ""), "{name}");
    }
    Ok(())
}

const PORT_IN_WORDS: &str = "\
- dev/web -> dev/db: 5432
+ dev/web -> dev/db: 5433
";
const POD_IN_WORDS: &str = "\
+ all that are no pods, ops/mon -> dev/db: 5432
+ everyone -> dev/db: 0-5431, 5433-65535, all UDP, all SCTP, protocols without ports
- everyone -> dev/web: all
";
const ANOTHER_PORT: &str = r#"  chain i.dev/good.#  # ingress isolated by dev/good
-     @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . ip saddr @p4 tcp dport 5432 accept comment "dev/good ingress[0]"
-     @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . ip6 saddr @p6 tcp dport 5432 accept comment "dev/good ingress[0]"
+     @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . ip saddr @p4 tcp dport 5433 accept comment "dev/good ingress[0]"
+     @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . ip6 saddr @p6 tcp dport 5433 accept comment "dev/good ingress[0]"
      update @logged.i4 { ip daddr counter limit rate 10/second burst 5 packets } log prefix "i.dev/good.#" group 9478
      update @logged.i6 { ip6 daddr counter limit rate 10/second burst 5 packets } log prefix "i.dev/good.#" group 9478
      drop
"#;
const ANOTHER_PEER: &str = r#"- set p4.#
-     10.244.1.2
+ set p4.#  # pods of dev: app=mon
- set p6.#
-     fd00:10:244:1::2
+ set p6.#  # pods of dev: app=mon
  chain i.dev/good.#  # ingress isolated by dev/good
-     @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . ip saddr @p4 tcp dport 5432 accept comment "dev/good ingress[0]"
-     @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . ip6 saddr @p6 tcp dport 5432 accept comment "dev/good ingress[0]"
+     @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . ip saddr @p4 tcp dport 5432 accept comment "dev/good ingress[0]"
+     @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . @nh,0,32 & 0x# | 0x# . ip6 saddr @p6 tcp dport 5432 accept comment "dev/good ingress[0]"
      update @logged.i4 { ip daddr counter limit rate 10/second burst 5 packets } log prefix "i.dev/good.#" group 9478
      update @logged.i6 { ip6 daddr counter limit rate 10/second burst 5 packets } log prefix "i.dev/good.#" group 9478
      drop
"#;
const EGRESS: &str = r#"  set isolated.e4  # pods of this node isolated for egress
+     10.244.1.3
  set isolated.e6  # pods of this node isolated for egress
+     fd00:10:244:1::3
  map egress4  # egress chain of each isolated pod
+     10.244.1.3 : goto e.dev/good.#
  map egress6  # egress chain of each isolated pod
+     fd00:10:244:1::3 : goto e.dev/good.#
+ chain e.dev/good.#  # egress isolated by dev/good
+     update @logged.e4 { ip saddr counter limit rate 10/second burst 5 packets } log prefix "e.dev/good.#" group 9478
+     update @logged.e6 { ip6 saddr counter limit rate 10/second burst 5 packets } log prefix "e.dev/good.#" group 9478
+     drop
"#;
const ANOTHER_POD: &str = r"  set isolated.i4  # pods of this node isolated for ingress
-     10.244.1.3
+     10.244.1.2
  set isolated.i6  # pods of this node isolated for ingress
-     fd00:10:244:1::3
+     fd00:10:244:1::2
  set self4  # a pod and itself, through a Service
-     10.244.1.3 . 10.244.1.3
+     10.244.1.2 . 10.244.1.2
  set self6  # a pod and itself, through a Service
-     fd00:10:244:1::3 . fd00:10:244:1::3
+     fd00:10:244:1::2 . fd00:10:244:1::2
  map ingress4  # ingress chain of each isolated pod
-     10.244.1.3 : goto i.dev/good.#
+     10.244.1.2 : goto i.dev/good.#
  map ingress6  # ingress chain of each isolated pod
-     fd00:10:244:1::3 : goto i.dev/good.#
+     fd00:10:244:1::2 : goto i.dev/good.#
";

/// Replaces the hash at the end of each name, 32 hexadecimal digits or 24, and each piece
/// of a tag, 8 digits, by `#`.
fn without_hashes(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for character in text.chars().chain(['\0']) {
        if character.is_ascii_hexdigit() {
            digits.push(character);
            continue;
        }
        out += if [32, 24, 8].contains(&digits.len()) { "#" } else { &digits };
        digits.clear();
        out.push(character);
    }
    out.trim_end_matches('\0').to_owned()
}

/// Before the first `apply` everything is new.
#[test]
fn an_empty_kernel_differs_in_everything() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let diff = nftpol(&namespace, &["diff", "--rules"], &good())?;
    assert_eq!(diff.code, Some(1), "{diff:#?}");
    let (words, rules) = diff.stdout.split_once("+ table inet nftpol\n").unwrap_or_default();
    assert!(rules.starts_with("+ set "), "{}", diff.stdout);
    assert!(rules.lines().all(|line| line.starts_with("+ ")), "{}", diff.stdout);
    assert!(!words.is_empty() && words.lines().all(|line| line.starts_with("- ")), "{words}");
    assert_eq!(listing(&namespace)?, "");
    assert_eq!(generation(&namespace)?, generation(&Namespace::new("cl")?)?);
    Ok(())
}

/// Objects in the kernel that are not ours or belong to another version.
#[test]
fn what_others_did_is_shown() -> Result<()> {
    let cases = [
        (
            "a rule",
            "insert rule inet nftpol unknown tcp dport 22 accept",
            Some(1),
            "  chain unknown  # a slot: local addresses that no pod is known for\n-     tcp dport 22 accept\n",
            "",
        ),
        (
            "dormant",
            "add table inet nftpol { flags dormant; }",
            Some(1),
            "- all that are no pods, ops/mon -> dev/db: 5432\n\
             - everyone -> dev/db: 0-5431, 5433-65535, all UDP, all SCTP, protocols without ports\n\
             - table inet nftpol  # it has flags 0x1\n+ table inet nftpol\n",
            "",
        ),
        (
            "another version",
            "add table inet nftpol-2",
            Some(1),
            "- table inet nftpol-2  # of another version\n",
            "",
        ),
        (
            "a chain of another type",
            "add chain inet nftpol theirs { type nat hook input priority 0; }",
            Some(0),
            "",
            "notice: table inet nftpol holds chain theirs, which is not ours (a base chain of \
             another hook, type or policy); it is left alone\n",
        ),
        (
            "a chain on another hook",
            "add chain inet nftpol theirs { type filter hook input priority 0; }",
            Some(1),
            "- chain theirs\n",
            "",
        ),
        ("another table", "add table ip nftpol", Some(0), "", ""),
    ];
    for (name, script, code, stdout, stderr) in cases {
        let namespace = Namespace::new("cl")?;
        nftpol(&namespace, &["apply"], &good())?.success()?;
        nft(&namespace, &["-f", "-"], script)?;
        let diff = nftpol(&namespace, &["diff", "--rules"], &good())?;
        assert_eq!(
            (diff.code, diff.stdout.as_str(), diff.stderr.as_str()),
            (code, stdout, stderr),
            "{name}"
        );
    }
    Ok(())
}

#[test]
fn errors_are_2() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = Folder::new("cli")?;
    let empty = folder.path().display().to_string();
    let broken = fixtures::directory("broken").display().to_string();
    let cases = [
        ("no such file", vec!["/no/such/file".to_owned()]),
        ("empty folder", vec![empty]),
        ("refused policies", vec![broken]),
        ("no -f", vec![]),
    ];
    for (name, files) in cases {
        let diff = nftpol(&namespace, &["diff"], &files)?;
        assert_eq!((diff.code, diff.stdout.as_str()), (Some(2), ""), "{name}");
        assert!(diff.stderr.contains("error: "), "{name}: {}", diff.stderr);
    }
    assert_eq!(listing(&namespace)?, "");
    Ok(())
}
