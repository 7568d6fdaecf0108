//! `nftpol apply`, once.

use anyhow::{Context, Result};
use netbed::net::Namespace;
use netbed::program;
use samples::fixtures;
use samples::scratch::Folder;

use super::support::{
    DB, NODE, OUTSIDER, WEB, fixture, generation, good, listing, nft, nftpol, objects, passes,
    text, with_input,
};

const UNCHANGED: &str = "table inet nftpol unchanged\n";

/// `table inet nftpol configured (45 operations in 2 batches)`.
fn assert_configured(stdout: &str) {
    let numbers: Vec<&str> = stdout
        .split(|character: char| !character.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .collect();
    let text = |operations, batches| {
        format!("table inet nftpol configured ({operations} operations in {batches} batches)\n")
    };
    assert_eq!(stdout, text(numbers.first().unwrap_or(&""), numbers.get(1).unwrap_or(&"")));
}

#[test]
fn it_returns_when_the_kernel_enforces() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let finished = nftpol(&namespace, &["apply"], &good())?;
    assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    assert_configured(&finished.stdout);
    let tries = [(WEB, DB, 5432), (WEB, DB, 80), (OUTSIDER, DB, 5432), (OUTSIDER, WEB, 80)];
    let mut seen = Vec::new();
    for (from, to, port) in tries {
        seen.push(passes(&namespace, from, to, port)?);
    }
    assert_eq!(seen, [true, false, false, true]);
    Ok(())
}

/// However you pass the same objects, the kernel gets the same table. The second time
/// it gets nothing: no commit at all, not even one that is undone.
#[test]
fn the_second_time_nothing_is_sent() -> Result<()> {
    let folder = Folder::new("cli")?;
    for name in ["cluster.yaml", "good.yaml"] {
        std::fs::copy(fixture(name), folder.path().join(name))?;
    }
    std::fs::create_dir(folder.path().join("deeper"))?;
    let deeper = folder.path().join("deeper/good.yml");
    std::fs::rename(folder.path().join("good.yaml"), deeper)?;
    std::fs::write(folder.path().join("README.md"), "not: [a, manifest")?;
    let stream = format!("{}---\n{}", text("cluster.yaml")?, text("good.yaml")?);
    let json = text("list.json")?;
    let folder = folder.path().display().to_string();
    let stdin = || vec!["-".to_owned()];
    let cases: [(&str, Vec<String>, &str); 7] = [
        ("two files", good(), ""),
        ("files in the other order", good().into_iter().rev().collect(), ""),
        ("a folder with a folder in it", vec![folder], ""),
        ("a stream of documents", stdin(), &stream),
        ("a List in JSON", vec![fixture("list.json")], ""),
        ("a List on standard input", stdin(), &json),
        (
            "a file and standard input",
            vec![fixture("cluster.yaml"), "-".into()],
            &text("good.yaml")?,
        ),
    ];
    let reference = Namespace::new("cl")?;
    nftpol(&reference, &["apply"], &good())?.success()?;
    for (name, files, input) in cases {
        let namespace = Namespace::new("cl")?;
        let first = with_input(&namespace, &["apply"], &files, input)?;
        assert_eq!((first.code, first.stderr.as_str()), (Some(0), ""), "{name}");
        assert_configured(&first.stdout);
        assert_eq!(objects(&namespace)?, objects(&reference)?, "{name}");

        let before = generation(&namespace)?;
        let second = with_input(&namespace, &["apply"], &files, input)?;
        assert_eq!((second.code, second.stdout.as_str()), (Some(0), UNCHANGED), "{name}");
        assert_eq!(generation(&namespace)?, before, "{name}");
    }
    Ok(())
}

/// For every pair of states, `apply` turns the first into the second and leaves
/// nothing of the first behind.
#[test]
fn what_was_there_before_leaves_nothing() -> Result<()> {
    let states = ["good.yaml", "bad/kinds.yaml", "long-names.yaml", "no-address.yaml"];
    let files = |state: &str| vec![fixture("cluster.yaml"), fixture(state)];
    let namespace = Namespace::new("cl")?;
    for from in states {
        for to in states {
            nftpol(&namespace, &["apply"], &files(from))?.success()?;
            nftpol(&namespace, &["apply"], &files(to))?.success()?;
            let fresh = Namespace::new("cl")?;
            nftpol(&fresh, &["apply"], &files(to))?.success()?;
            assert_eq!(objects(&namespace)?, objects(&fresh)?, "{from}, then {to}");
        }
    }
    Ok(())
}

#[test]
fn tables_of_other_people_stay_and_those_of_other_versions_go() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let theirs = "table inet nft {\n}\ntable ip nftpol {\n\tchain c {\n\t\tcounter\n\t}\n}\n";
    nft(&namespace, &["-f", "-"], theirs)?;
    nft(&namespace, &["add", "table", "inet", "nftpol-2"], "")?;
    let before = nft(&namespace, &["-s", "list", "table", "ip", "nftpol"], "")?;
    let finished = nftpol(&namespace, &["apply"], &good())?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(finished.stderr, "notice: removed table inet nftpol-2 of another version\n");
    assert_eq!(
        nft(&namespace, &["list", "tables"], "")?,
        "table inet nft\ntable ip nftpol\ntable inet nftpol\n"
    );
    assert_eq!(nft(&namespace, &["-s", "list", "table", "ip", "nftpol"], "")?, before);
    Ok(())
}

/// How other programs changed our table, and what `apply` reports and restores.
#[test]
fn what_others_did_to_the_table_is_mended() -> Result<()> {
    let cases = [
        ("a rule more", "add rule inet nftpol forward accept"),
        ("a rule first", "insert rule inet nftpol forward accept"),
        ("a rule that our words cannot say", "insert rule inet nftpol forward meta mark set 1"),
        ("no rules", "flush chain inet nftpol forward"),
        ("an element more", "add element inet nftpol nd { 1 }"),
        ("an element less", "delete element inet nftpol isolated.i4 { 10.244.1.3 }"),
        ("a set more", "add set inet nftpol more { type ipv4_addr; }"),
        ("a chain more", "add chain inet nftpol more"),
        ("a chain less", "flush chain inet nftpol forward; delete chain inet nftpol forward"),
        ("no table", "delete table inet nftpol"),
        ("nothing at all", "flush ruleset"),
        ("switched off", "add table inet nftpol { flags dormant; }"),
    ];
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let expected = objects(&namespace)?;
    for (name, script) in cases {
        nft(&namespace, &["-f", "-"], script).with_context(|| name.to_owned())?;
        let before = listing(&namespace)?;
        let diff = nftpol(&namespace, &["diff"], &good())?;
        assert_eq!(diff.code, Some(1), "{name}: {diff:#?}");
        assert_eq!(listing(&namespace)?, before, "{name}: diff changes nothing");
        let finished = nftpol(&namespace, &["apply"], &good())?;
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{name}");
        assert_eq!(objects(&namespace)?, expected, "{name}");
        let diff = nftpol(&namespace, &["diff"], &good())?;
        assert_eq!((diff.code, diff.stdout.as_str()), (Some(0), ""), "{name}");
    }
    Ok(())
}

/// `apply` names what it cannot repair, and says what to do.
#[test]
fn a_foreign_chain_of_our_name_is_named() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let foreign = "table inet nftpol {
        chain forward { type nat hook prerouting priority 0; }
        chain theirs { type nat hook input priority 0; }
    }";
    nft(&namespace, &["-f", "-"], foreign)?;
    let before = listing(&namespace)?;
    let finished = nftpol(&namespace, &["apply"], &good())?;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        finished.stderr,
        "error: table inet nftpol holds forward, which is not ours (a base chain of another \
         hook, type or policy) and in the way; remove it, or all of the table with `nftpol \
         cleanup`\n"
    );
    assert_eq!(listing(&namespace)?, before);
    let diff = nftpol(&namespace, &["diff"], &good())?;
    assert_eq!((diff.code, diff.stdout.as_str(), diff.stderr), (Some(2), "", finished.stderr));

    nft(&namespace, &["delete", "chain", "inet", "nftpol", "forward"], "")?;
    let finished = nftpol(&namespace, &["apply"], &good())?;
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert_eq!(
        finished.stderr,
        "notice: table inet nftpol holds chain theirs, which is not ours (a base chain of \
         another hook, type or policy); it is left alone\n"
    );
    Ok(())
}

/// Without the right to change the kernel.
#[test]
fn without_rights_it_says_which_one_is_missing() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    let cases = [("apply", Some(1)), ("diff", Some(2)), ("cleanup", Some(1))];
    for (command, code) in cases {
        let mut run = namespace.command("setpriv");
        run.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        run.arg(program::path()?).arg(command);
        if command != "cleanup" {
            run.args(["-f", "-", "--node", NODE]);
            run.stdin(std::fs::File::open(fixtures::directory("cli").join("list.json"))?);
        }
        let output = run.output().context("run setpriv (Debian package util-linux)")?;
        assert_eq!(output.status.code(), code, "{command}: {output:?}");
        assert_eq!(String::from_utf8(output.stdout)?, "", "{command}");
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(said.lines().count(), 1, "{command}: {said}");
        assert!(said.starts_with("error: ") && said.contains("CAP_NET_ADMIN"), "{command}: {said}");
        assert_eq!((listing(&namespace)?, generation(&namespace)?), before, "{command}");
    }
    Ok(())
}
