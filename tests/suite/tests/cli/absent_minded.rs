//! What people mistype and forget takes no isolation away.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use netbed::net::Namespace;
use netbed::program::{self, Finished};
use samples::scratch::Folder;

use super::support::{Watcher, fixture, generation, listing, replace, text, without_binding};

/// Runs `nftpol WORDS` in this environment.
fn run(namespace: &Namespace, words: &[&str], node_name: Option<&str>) -> Result<Finished> {
    let mut command: Command = namespace.command(program::path()?);
    command.args(words).env_remove("NODE_NAME");
    command.envs(node_name.map(|name| ("NODE_NAME", name)));
    program::finish(command, "")
}

/// An input by which nobody would be isolated.
struct Case {
    name: &'static str,
    words: Vec<String>,
    node_name: Option<&'static str>,
    /// What `apply`, `render` and `diff` say last.
    refused: String,
    /// What `verify` says last.
    unproved: String,
}

fn words(all: &[&str]) -> Vec<String> {
    all.iter().map(|&word| word.to_owned()).collect()
}

fn cases() -> Vec<Case> {
    let [cluster, good] = [fixture("cluster.yaml"), fixture("good.yaml")];
    let both = ["-f", &cluster, "-f", &good];
    let node = |name: &str, why: &str| {
        let problem = format!("error: no Pod is on node {name:?} ({why})");
        let refused = "; nobody would be isolated, so nothing was changed (--allow-no-pods, if \
                       this is what you mean)\n";
        (format!("{problem}{refused}"), format!("{problem}, so there is nothing to prove\n"))
    };
    let mistyped = node("noed-1", "did you mean \"node-1\"?");
    let unknown = node("worker-7", "Pods are on: node-1, node-2");
    let pods = "error: there are no Pods in the manifests (`kubectl get pods -A -o yaml` writes \
                those of a cluster)";
    let neither = "error: there is neither a NetworkPolicy nor a Pod in the manifests, so ";
    let removes = " (`nftpol cleanup` removes the rules)\n";
    let manifests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../manifests/base");
    vec![
        Case {
            name: "a mistyped --node",
            words: words(&[&both[..], &["--node", "noed-1"]].concat()),
            node_name: Some("node-1"),
            refused: mistyped.0.clone(),
            unproved: mistyped.1.clone(),
        },
        Case {
            name: "a mistyped NODE_NAME",
            words: words(&both),
            node_name: Some("noed-1"),
            refused: mistyped.0.replace("?)", "?); $NODE_NAME names it"),
            unproved: mistyped.1.replace("?)", "?); $NODE_NAME names it"),
        },
        Case {
            name: "another node's name",
            words: words(&[&both[..], &["--node", "worker-7"]].concat()),
            node_name: None,
            refused: unknown.0,
            unproved: unknown.1,
        },
        Case {
            name: "the file of Pods is forgotten",
            words: words(&["-f", &good, "--node", "node-1"]),
            node_name: None,
            refused: format!(
                "{pods}; nobody would be isolated, so nothing was changed (--allow-no-pods, if \
                 this is what you mean)\n"
            ),
            unproved: format!("{pods}, so there is nothing to prove\n"),
        },
        Case {
            name: "nftpol's own manifests",
            words: words(&["-f", &manifests.display().to_string()]),
            node_name: None,
            refused: format!("{neither}nothing was changed{removes}"),
            unproved: format!("{neither}there is nothing to prove{removes}"),
        },
    ]
}

#[test]
fn an_input_by_which_nobody_is_isolated_is_refused_and_the_table_stays() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let [cluster, good] = [fixture("cluster.yaml"), fixture("good.yaml")];
    let right = ["apply", "-f", &cluster, "-f", &good, "--node", "node-1"];
    run(&namespace, &right, None)?.success()?;
    let before = (listing(&namespace)?, generation(&namespace)?);
    for case in cases() {
        let commands = [
            ("apply", 1, &case.refused),
            ("render", 1, &case.refused),
            ("diff", 2, &case.refused),
            ("verify", 2, &case.unproved),
        ];
        for (command, code, expected) in commands {
            let mut words = vec![command];
            words.extend(case.words.iter().map(String::as_str));
            let finished = run(&namespace, &words, case.node_name)?;
            let said = without_binding(&finished.stderr);
            let what = format!("{}, {command}: {said}", case.name);
            assert_eq!((finished.code, finished.stdout.as_str()), (Some(code), ""), "{what}");
            assert!(said.ends_with(expected.as_str()), "{what}");
            assert!(
                said.lines().all(|line| line.starts_with("error: ") == expected.starts_with(line)
                    || line.contains("is skipped")),
                "{what}"
            );
        }
        assert_eq!((listing(&namespace)?, generation(&namespace)?), before, "{}", case.name);
    }
    Ok(())
}

#[test]
fn who_means_it_says_so() -> Result<()> {
    let [cluster, good] = [fixture("cluster.yaml"), fixture("good.yaml")];
    let cases: [(&[&str], &str); 2] = [
        (
            &["-f", &cluster, "-f", &good, "--node", "node-3", "--allow-no-pods"],
            "notice: no Pod is on node \"node-3\" (did you mean \"node-1\"?): nobody is isolated\n",
        ),
        (
            &["-f", &good, "--allow-no-pods"],
            "notice: there are no Pods in the manifests (`kubectl get pods -A -o yaml` writes \
             those of a cluster): nobody is isolated\n",
        ),
    ];
    for (words, expected) in cases {
        let namespace = Namespace::new("cl")?;
        for command in ["render", "apply", "diff"] {
            let finished = run(&namespace, &[&[command], words].concat(), None)?;
            assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), expected), "{command}");
        }
    }
    Ok(())
}

/// Without `--node`, `$NODE_NAME` says whose pods are local, to all commands alike.
#[test]
fn every_command_reads_the_name_of_the_node_from_the_environment() -> Result<()> {
    let [cluster, good] = [fixture("cluster.yaml"), fixture("good.yaml")];
    let files = ["-f", &cluster, "-f", &good];
    let namespace = Namespace::new("cl")?;
    let both = |command: &[&str]| {
        let words = [command, &files].concat();
        let named = run(&namespace, &[&words[..], &["--node", "node-1"]].concat(), None)?;
        anyhow::Ok((named, run(&namespace, &words, Some("node-1"))?))
    };
    let (named, from_environment) = both(&["render"])?;
    assert_eq!(named.success()?, from_environment.success()?);
    let all = run(&namespace, &[&["render"], &files[..]].concat(), None)?.success()?;
    let (_, applied) = both(&["apply"])?;
    assert_eq!(applied.success()?, "table inet nftpol unchanged\n");
    let (named, from_environment) = both(&["diff"])?;
    assert_eq!((named.success()?.as_str(), from_environment.success()?.as_str()), ("", ""));
    for command in [&["verify"][..], &["verify", "--kernel"]] {
        let (named, from_environment) = both(command)?;
        assert_eq!(named.success()?, from_environment.success()?);
    }
    let of_node_2 = run(&namespace, &[&["render"], &files[..]].concat(), Some("node-2"))?;
    ensure!(of_node_2.success()? != all, "node-2 has other pods than both nodes together");
    Ok(())
}

/// `--watch` keeps what is in force while the Pods are missing.
#[test]
fn a_file_of_pods_that_goes_away_under_watch_takes_nothing_away() -> Result<()> {
    let folder = Folder::new("absent")?;
    let [pods, policy] = ["pods.yaml", "policy.yaml"].map(|name| folder.path().join(name));
    std::fs::write(&pods, text("cluster.yaml")?)?;
    std::fs::write(&policy, text("good.yaml")?)?;
    let namespace = Namespace::new("cl")?;
    let watcher = Watcher::start(&namespace, &[folder.path()])?;
    let before = listing(&namespace)?;
    std::fs::remove_file(&pods)?;
    watcher.until("it refuses", |watcher| {
        Ok(watcher.stderr().contains("error: there are no Pods in the manifests"))
    })?;
    assert_eq!(listing(&namespace)?, before);
    replace(&pods, &text("cluster.yaml")?)?;
    replace(&policy, &text("good.yaml")?.replace("5432", "5433"))?;
    watcher
        .until("it applies what is there again", |_| Ok(listing(&namespace)?.contains("5433")))?;
    Ok(())
}
