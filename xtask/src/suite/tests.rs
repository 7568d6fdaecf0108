use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::kinds::{COMPUTING_PACKAGES, COMPUTING_PROGRAMS, THREADS, WAITING};
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
fn programs_that_wait_run_once_each_has_what_it_needs() {
    let path = Path::new("/bin/true");
    let programs = ["fire", "networks", "multi_network", "kubernetes"];
    let selection = Selection {
        args: Vec::new(),
        programs: programs.map(|name| program(name, path)).into(),
        broken: Vec::new(),
    };
    let documentation = Job { name: "documentation".to_owned(), command: Command::new("true") };
    let finished = selection.finish(documentation, &Builds::start(&Cargo::default(), &[]));
    let mut names: Vec<_> = finished.iter().map(|one| one.name.as_str()).collect();
    names.retain(|name| *name != "documentation");
    // Both lanes end in any order.
    names[1..3].sort_unstable();
    assert_eq!(names, ["suite fire", "suite multi_network", "suite networks", "suite kubernetes"]);
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
    assert_eq!(kind(&of("ruleset", "limits")), Kind::Computes);
    assert_eq!(kind(&of("ruleset", "text")), Kind::Alone);
    assert_eq!(kind(&of("nft", "kernel")), Kind::Alone);
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
    let waiting = WAITING.iter().map(|(name, _)| name);
    let threads = THREADS.iter().map(|(name, ..)| name);
    let programs = COMPUTING_PROGRAMS.iter().chain(needs).chain(waiting).chain(threads);
    for name in COMPUTING_PACKAGES.iter().chain(programs) {
        assert!(names.contains(*name), "cargo knows no {name}");
    }
}

/// What starts a server of Kubernetes, in the tests' sources.
const STARTS: [&str; 5] =
    ["ApiServer::start", "Kubernetes::up", "Outpost::", "World::", "tools::chaos"];

#[test]
fn every_test_that_starts_a_server_waits_until_it_is_built() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/suite/tests");
    let mut starting = BTreeSet::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("suite {}", path.file_stem().unwrap().to_str().unwrap());
        let text = sources(&path);
        if STARTS.iter().any(|word| text.contains(word)) {
            starting.insert(name);
        }
    }
    let needing = NEEDS.iter().map(|(name, _)| (*name).to_owned());
    assert_eq!(starting, needing.collect());
}

/// The text of a file, or of all files below a folder.
fn sources(path: &Path) -> String {
    if !path.is_dir() {
        return std::fs::read_to_string(path).unwrap();
    }
    let entries = std::fs::read_dir(path).unwrap();
    entries.map(|entry| sources(&entry.unwrap().path())).collect()
}
