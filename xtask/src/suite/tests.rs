use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::*;

/// A program of the package `suite`; it can be started if `path` can.
fn program(target: &str, path: &Path) -> Program {
    Program {
        package: "suite".to_owned(),
        target: target.to_owned(),
        kind: "test".to_owned(),
        path: path.to_owned(),
        folder: env!("CARGO_MANIFEST_DIR").into(),
    }
}

/// What the arguments select of these programs. Each has the tests of this file.
fn selected(targets: &[&str], args: &[&str]) -> Selection {
    let this = std::env::current_exe().unwrap();
    let programs = targets.iter().map(|target| program(target, &this));
    Selection::of(programs.collect(), args.iter().map(|&arg| arg.to_owned()).collect())
}

fn groups(targets: &[&str]) -> Vec<&'static Group> {
    selected(targets, &[]).groups().to_vec()
}

#[test]
fn a_filter_for_other_tests_needs_no_nodes() {
    let groups = |args: &[&str]| selected(&["fire", "kubernetes"], args).groups().to_vec();
    let nodes = [&kube::SERVER, &kube::CNI, &kube::NODES, &kube::FLANNEL];
    assert_eq!(groups(&[]), nodes);
    assert_eq!(groups(&["--nocapture"]), nodes);
    assert_eq!(groups(&["no_test_has_this_name", "needs_no_nodes"]), nodes);
    assert_eq!(groups(&["no_test_has_this_name", "--nocapture"]), [] as [&Group; 0]);
}

#[test]
fn only_the_test_of_upstream_needs_upstream() {
    assert_eq!(groups(&["fire", "packets"]), [] as [&Group; 0]);
    assert_eq!(groups(&["fire", "agent"]), [&kube::SERVER]);
    assert_eq!(groups(&["first_packet"]), [&kube::SERVER, &kube::CNI]);
    assert_eq!(
        groups(&["kubernetes", "agent"]),
        [&kube::SERVER, &kube::CNI, &kube::NODES, &kube::FLANNEL]
    );
    assert_eq!(groups(&["upstream"]), ORDER);
}

#[test]
fn a_program_that_cannot_list_its_tests_has_failed_and_the_others_run() {
    let programs = ["/bin/false", "/bin/true"].map(|path| program(path, Path::new(path)));
    let selection = Selection::of(programs.into(), Vec::new());
    assert_eq!(selection.programs, []);
    let documentation = Job { name: "documentation".to_owned(), command: Command::new("true") };
    let builds = Builds::start(&Cargo::default(), &[]);
    let mut finished = selection.finish(documentation, &builds);
    finished.sort_by(|one, other| one.name.cmp(&other.name));
    let seen = finished.iter().map(|one| (one.name.as_str(), one.tally.failed));
    assert_eq!(seen.collect::<Vec<_>>(), [("documentation", 0), ("suite /bin/false", 1)]);
}

#[test]
fn documentation_gives_way_to_other_work() {
    let Job { command, .. } =
        documentation(&Cargo::default(), &["nice", "-n", "19"], &["a_filter".to_owned()]);
    assert_eq!(command.get_program(), "nice");
    let args: Vec<_> = command.get_args().filter_map(OsStr::to_str).collect();
    assert_eq!(args[..2], ["-n", "19"]);
    assert_eq!(args[3..], ["test", "--workspace", "--doc", "--", "a_filter"]);
}

#[test]
fn what_runs_nft_is_in_the_foreground() {
    let of = |package: &str, target: &str| Program {
        package: package.to_owned(),
        ..program(target, Path::new("/nonexistent"))
    };
    assert!(only_computes(&of("ruleset", "limits")));
    assert!(!only_computes(&of("ruleset", "text")));
    assert!(!only_computes(&of("nft", "kernel")));
}

/// The names of all packages and of all programs that cargo can build as tests.
fn names(metadata: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        names.insert(name.to_owned());
        for target in package["targets"].as_array().unwrap() {
            if target["test"] != true {
                continue;
            }
            let kind = target["kind"][0].as_str().unwrap();
            let target = target["name"].as_str().unwrap();
            let target = if kind == "lib" { kind } else { target };
            names.insert(format!("{name} {target}"));
        }
    }
    names
}

#[test]
fn every_name_in_the_lists_is_one_of_the_workspace() {
    let names = names(&Cargo::default().members().unwrap());
    let needs = NEEDS.iter().map(|(name, _)| name);
    for name in COMPUTING_PACKAGES.iter().chain(&COMPUTING_PROGRAMS).chain(needs) {
        assert!(names.contains(*name), "cargo knows no {name}");
    }
}
