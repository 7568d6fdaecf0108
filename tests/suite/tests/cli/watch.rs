//! `nftpol apply --watch` follows the files, repairs the table, and fails static.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use netbed::net::Namespace;
use netbed::program;
use samples::scratch::Folder;

use super::support::{
    DB, OUTSIDER, WEB, Watcher, arguments, fixture, generation, listing, nft, nftpol, objects,
    passes, replace, text,
};

/// Long enough for `--watch` to see a change and to find that its writer is done.
const SEVERAL_LOOKS: Duration = Duration::from_millis(400);

/// A folder with the pods and the policy for db.
fn manifests() -> Result<Folder> {
    let folder = Folder::new("cli")?;
    for name in ["cluster.yaml", "good.yaml"] {
        fs::write(folder.path().join(name), text(name)?)?;
    }
    Ok(folder)
}

/// A policy that isolates web for all but one port.
fn for_web(port: u16) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: web, namespace: dev}}
spec:
  podSelector: {{matchLabels: {{app: web}}}}
  ingress:
  - ports:
    - port: {port}
"
    )
}

/// Whether web can be reached on these ports.
fn web(namespace: &Namespace, ports: [u16; 2]) -> Result<[bool; 2]> {
    let [one, other] = ports.map(|port| passes(namespace, OUTSIDER, WEB, port));
    Ok([one?, other?])
}

#[test]
fn it_follows_the_files() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let file = folder.path().join("web.yaml");
    // A mounted ConfigMap looks like this: links through a hidden folder.
    let mounted = folder.path().join("mounted");
    for (version, port) in [("..1", 84), ("..2", 85)] {
        fs::create_dir_all(mounted.join(version))?;
        fs::write(mounted.join(version).join("web.yaml"), for_web(port))?;
    }
    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    assert_eq!(web(&namespace, [80, 81])?, [true, true]);

    type Edit<'a> = Box<dyn Fn() -> Result<()> + 'a>;
    let edits: [(&str, Edit<'_>, [u16; 2], [bool; 2]); 7] = [
        ("a file more", Box::new(|| Ok(fs::write(&file, for_web(80))?)), [80, 81], [true, false]),
        (
            "written in place",
            Box::new(|| Ok(fs::write(&file, for_web(81))?)),
            [80, 81],
            [false, true],
        ),
        ("replaced", Box::new(|| replace(&file, &for_web(82))), [81, 82], [false, true]),
        (
            "moved into a folder",
            Box::new(|| {
                fs::create_dir(folder.path().join("deeper"))?;
                fs::write(&file, for_web(83))?;
                Ok(fs::rename(&file, folder.path().join("deeper/web.yml"))?)
            }),
            [82, 83],
            [false, true],
        ),
        (
            "a folder less, links instead",
            Box::new(|| {
                fs::remove_dir_all(folder.path().join("deeper"))?;
                symlink("..1", mounted.join("..data"))?;
                Ok(symlink("..data/web.yaml", mounted.join("web.yaml"))?)
            }),
            [83, 84],
            [false, true],
        ),
        (
            "a link that leads elsewhere",
            Box::new(|| {
                symlink("..2", mounted.join("..new"))?;
                Ok(fs::rename(mounted.join("..new"), mounted.join("..data"))?)
            }),
            [84, 85],
            [false, true],
        ),
        (
            "a file less",
            Box::new(|| Ok(fs::remove_file(mounted.join("web.yaml"))?)),
            [84, 85],
            [true, true],
        ),
    ];
    for (name, edit, ports, expected) in edits {
        let said = watcher.stdout().len();
        edit()?;
        watcher.until(name, |_| Ok(web(&namespace, ports)? == expected))?;
        watcher.until("it reports it", |watcher| Ok(watcher.stdout().len() > said))?;
        assert!(watcher.stdout()[said..].starts_with("table inet nftpol configured ("), "{name}");
    }
    assert_eq!(watcher.stderr(), "");
    let fresh = Namespace::new("cl")?;
    nftpol(&fresh, &["apply"], &[folder.path().display().to_string()])?.success()?;
    assert_eq!(objects(&namespace)?, objects(&fresh)?);
    Ok(())
}

#[test]
fn an_edit_without_effect_is_answered() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    let before = generation(&namespace)?;
    let comment = format!("# no change\n{}", text("good.yaml")?);
    replace(&folder.path().join("good.yaml"), &comment)?;
    watcher.until("it answers", |watcher| {
        Ok(watcher.stdout().ends_with("\ntable inet nftpol unchanged\n"))
    })?;
    assert_eq!(generation(&namespace)?, before);
    Ok(())
}

/// This also holds with `--validate=warn`, because the former content of the document
/// is no longer known.
#[test]
fn a_document_that_cannot_be_read_takes_nothing_away() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let file = folder.path().join("web.yaml");
    fs::write(&file, for_web(80))?;
    let watcher = Watcher::start_with(&namespace, &["--validate=warn"], &[folder.path()])?;
    let expected = objects(&namespace)?;
    replace(&file, "kind: {\n")?;
    watcher.until("it is refused", |watcher| {
        Ok(watcher.stderr().contains("a document cannot be read"))
    })?;
    assert_eq!(objects(&namespace)?, expected);
    replace(&file, &for_web(81))?;
    watcher.until("it follows again", |_| Ok(web(&namespace, [80, 81])? == [false, true]))?;
    Ok(())
}

/// Refused files are reported and change nothing. What others change meanwhile is
/// restored to the last good rules.
#[test]
fn refused_files_keep_what_is_enforced() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let file = folder.path().join("web.yaml");
    fs::write(&file, for_web(80))?;
    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    let expected = objects(&namespace)?;
    let place = |line: &str| format!("{}:{line}", file.display());
    let bad = [
        ("a CIDR", text("bad/cidr.yaml")?, place("16:15: error: NetworkPolicy dev/broken: ")),
        ("YAML", "kind: {\n".to_owned(), place("1:1: error: not valid YAML: ")),
        (
            "twice",
            format!("{0}---\n{0}", for_web(80)),
            place("12:18: error: NetworkPolicy dev/web: "),
        ),
    ];
    for (name, text, finding) in bad {
        let before = (watcher.stderr().len(), generation(&namespace)?);
        replace(&file, &text)?;
        watcher.until(name, |watcher| {
            Ok(watcher.stderr()[before.0..].contains("the manifests are refused"))
        })?;
        let said = watcher.stderr()[before.0..].to_owned();
        assert!(said.starts_with(&finding), "{name}: {said}");
        assert_eq!(said.lines().count(), 2, "{name}: {said}");
        sleep(SEVERAL_LOOKS);
        assert_eq!(generation(&namespace)?, before.1, "{name}");
        assert_eq!(watcher.stderr()[before.0..], said, "{name}: it is reported once");
        nft(&namespace, &["flush", "ruleset"], "")?;
        watcher.until("it is restored", |watcher| {
            Ok(watcher.stderr()[before.0..].contains("others changed table inet nftpol"))
        })?;
        assert_eq!(objects(&namespace)?, expected, "{name}");
    }
    fs::remove_file(folder.path().join("cluster.yaml"))?;
    replace(&file, &for_web(81))?;
    fs::write(folder.path().join("cluster.yaml"), text("cluster.yaml")?)?;
    watcher.until("it follows again", |_| Ok(web(&namespace, [80, 81])? == [false, true]))?;
    Ok(())
}

/// With `--validate=warn` the broken part allows nothing and the rest stays in force.
#[test]
fn with_warnings_the_broken_part_allows_nothing() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let watcher = Watcher::start_with(&namespace, &["--validate=warn"], &[folder.path()])?;
    fs::write(folder.path().join("web.yaml"), text("bad/cidr.yaml")?)?;
    watcher.until("it is isolated", |_| Ok(web(&namespace, [80, 81])? == [true, false]))?;
    watcher.until("it says why", |watcher| Ok(watcher.stderr().contains("is not a CIDR")))?;
    fs::remove_file(folder.path().join("web.yaml"))?;
    watcher.until("it is free again", |_| Ok(web(&namespace, [80, 81])? == [true, true]))?;
    Ok(())
}

/// `kubectl get ... > policies.yaml` leaves the file empty until the cluster answers,
/// and a slow writer leaves half a file.
#[test]
fn a_file_that_is_being_written_lifts_no_policy() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let file = folder.path().join("web.yaml");
    fs::write(
        &file,
        format!("{}---\n{}", text("good.yaml")?.replace("good", "more"), for_web(80)),
    )?;
    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    let before = generation(&namespace)?;
    for attempt in 0..3 {
        fs::write(&file, "")?;
        let start = Instant::now();
        while start.elapsed() < SEVERAL_LOOKS {
            assert_eq!(generation(&namespace)?, before, "empty, attempt {attempt}");
        }
        let mut written = text("good.yaml")?.replace("good", "more") + "---\n";
        for line in for_web(80).lines() {
            written += &format!("{line}\n");
            fs::write(&file, &written)?;
            sleep(Duration::from_millis(10));
        }
        sleep(SEVERAL_LOOKS);
        assert_eq!(generation(&namespace)?, before, "growing, attempt {attempt}");
    }
    assert_eq!(watcher.stderr(), "");
    fs::write(&file, "")?;
    watcher.until("a file that stays empty counts as empty", |_| {
        Ok(web(&namespace, [80, 81])? == [true, true])
    })?;
    Ok(())
}

/// Changes that other programs make to the table are reverted.
#[test]
fn it_mends_what_others_do() -> Result<()> {
    let cases = [
        ("flush", "flush ruleset"),
        ("no table", "delete table inet nftpol"),
        ("no base chain", "flush chain inet nftpol forward; delete chain inet nftpol forward"),
        ("no rules", "flush chain inet nftpol forward"),
        ("a foreign rule", "insert rule inet nftpol forward accept"),
        ("an unreadable rule", "insert rule inet nftpol forward meta mark set 1 accept"),
        ("an element less", "delete element inet nftpol isolated.i4 { 10.244.1.3 }"),
        ("dormant", "add table inet nftpol { flags dormant; }"),
    ];
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    let expected = objects(&namespace)?;
    let mut fastest = Duration::MAX;
    for (name, script) in cases {
        let said = watcher.stderr().len();
        let start = Instant::now();
        nft(&namespace, &["-f", "-"], script).with_context(|| name.to_owned())?;
        watcher.until(name, |watcher| {
            Ok(watcher.stderr()[said..]
                .contains("others changed table inet nftpol; it is restored"))
        })?;
        fastest = fastest.min(start.elapsed());
        assert_eq!(objects(&namespace)?, expected, "{name}");
    }
    eprintln!("the fastest of these repairs took {fastest:?}");
    // Tables of others stay as they are, and the command prints nothing about them.
    let said = watcher.stderr();
    nft(&namespace, &["add", "table", "ip", "theirs"], "")?;
    sleep(SEVERAL_LOOKS);
    assert_eq!(watcher.stderr(), said);
    Ok(())
}

/// What cannot be repaired is reported once, and repaired as soon as possible.
#[test]
fn what_is_in_the_way_is_said_once() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    let expected = objects(&namespace)?;
    let script = "flush chain inet nftpol forward; delete chain inet nftpol forward; \
                  add chain inet nftpol forward { type nat hook input priority 0; }";
    nft(&namespace, &["-f", "-"], script)?;
    watcher.until("it reports it", |watcher| Ok(watcher.stderr().contains("in the way")))?;
    sleep(Duration::from_millis(2500));
    assert_eq!(watcher.stderr().lines().count(), 1, "{}", watcher.stderr());
    nft(&namespace, &["delete", "chain", "inet", "nftpol", "forward"], "")?;
    watcher.until("it is restored", |_| Ok(objects(&namespace)? == expected))?;
    Ok(())
}

#[test]
fn killed_it_leaves_the_rules_and_started_again_it_sends_nothing() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let mut watcher = Watcher::start(&namespace, &[folder.path()])?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    watcher.kill()?;
    sleep(SEVERAL_LOOKS);
    assert_eq!((listing(&namespace)?, generation(&namespace)?), before);
    assert!(!passes(&namespace, OUTSIDER, DB, 5432)?);

    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    assert_eq!(watcher.stdout(), "table inet nftpol unchanged\n");
    sleep(SEVERAL_LOOKS);
    assert_eq!((listing(&namespace)?, generation(&namespace)?), before);
    assert_eq!(watcher.stderr(), "");
    Ok(())
}

/// Changes made to the files while the command was down take effect when it starts.
#[test]
fn what_it_missed_is_made_up_for() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    Watcher::start(&namespace, &[folder.path()])?.kill()?;
    fs::write(folder.path().join("web.yaml"), for_web(80))?;
    nft(&namespace, &["insert", "rule", "inet", "nftpol", "forward", "accept"], "")?;
    let _watcher = Watcher::start(&namespace, &[folder.path()])?;
    assert_eq!(web(&namespace, [80, 81])?, [true, false]);
    Ok(())
}

const WAITS: &str =
    "notice: another nftpol is at work in this network namespace; waiting for it, 10 s at most\n";

#[test]
fn a_second_one_is_refused() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let mut watcher = Watcher::start(&namespace, &[folder.path()])?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    let other = vec![fixture("cluster.yaml"), fixture("bad/kinds.yaml")];
    let files = |command: &str| if command == "apply" { other.clone() } else { Vec::new() };
    std::thread::scope(|scope| {
        let runs = ["apply", "cleanup"].map(|command| {
            let (namespace, files) = (&namespace, files(command));
            scope.spawn(move || {
                if command == "cleanup" {
                    return program::run(namespace, &[command], "");
                }
                nftpol(namespace, &[command], &files)
            })
        });
        for run in runs {
            let finished = run.join().expect("no panic")?;
            assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
            assert_eq!(
                finished.stderr,
                format!(
                    "{WAITS}error: another nftpol enforces in this network namespace (it holds \
                     the socket @nftpol); stop it first\n"
                )
            );
        }
        anyhow::Ok(())
    })?;
    assert!(watcher.runs()?);
    assert_eq!((listing(&namespace)?, generation(&namespace)?), before);

    // Reading needs no lock, and another namespace has its own lock.
    assert_eq!(nftpol(&namespace, &["diff"], &other)?.code, Some(1));
    let elsewhere = Namespace::new("cl")?;
    nftpol(&elsewhere, &["apply"], &other)?.success()?;
    Ok(())
}

/// A waiting process continues when the other one ends.
#[test]
fn a_second_one_takes_over() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let mut watcher = Watcher::start(&namespace, &[folder.path()])?;
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| nftpol(&namespace, &["apply"], &[folder.path().display().to_string()]));
        sleep(Duration::from_millis(1200));
        watcher.kill()?;
        let finished = waiting.join().expect("no panic")?;
        assert_eq!(
            (finished.code, finished.stdout.as_str(), finished.stderr.as_str()),
            (Some(0), "table inet nftpol unchanged\n", WAITS)
        );
        Ok(())
    })
}

/// The terminal that started the command may be gone.
#[test]
fn it_goes_on_when_nobody_reads_what_it_says() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let folder = manifests()?;
    let files = [folder.path().display().to_string()];
    let mut child = namespace
        .command(program::path()?)
        .args(arguments(&["apply", "--watch"], &files))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop((child.stdout.take(), child.stderr.take()));
    let file = folder.path().join("web.yaml");
    let enforced = |ports: [u16; 2], expected: [bool; 2]| -> Result<()> {
        let start = Instant::now();
        while listing(&namespace)?.is_empty() || web(&namespace, ports)? != expected {
            anyhow::ensure!(start.elapsed() < Duration::from_secs(10), "{ports:?}");
            sleep(Duration::from_millis(10));
        }
        Ok(())
    };
    enforced([80, 81], [true, true])?;
    fs::write(&file, for_web(80))?;
    enforced([80, 81], [true, false])?;
    fs::write(&file, "kind: {\n")?;
    sleep(SEVERAL_LOOKS);
    nft(&namespace, &["insert", "rule", "inet", "nftpol", "forward", "accept"], "")?;
    enforced([80, 81], [true, false])?;
    fs::write(&file, for_web(81))?;
    enforced([80, 81], [false, true])?;
    assert!(child.try_wait()?.is_none(), "it ended");
    child.kill()?;
    child.wait()?;
    Ok(())
}

#[test]
fn standard_input_cannot_be_followed() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let finished = nftpol(&namespace, &["apply", "--watch"], &["-".to_owned()])?;
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""));
    assert_eq!(
        finished.stderr,
        "error: --watch cannot follow standard input; give files or folders\n"
    );
    Ok(())
}
