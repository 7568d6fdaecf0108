//! All chores of this repository. CI runs the same commands as you.
//!
//! You give a word on the command line (`cargo xtask help` lists them). It prints
//! the chore's output, progress on stderr, and exits with 1 when the chore failed.
//! Never: a dependency on the crates that it builds. It runs on a machine that has
//! only Rust and gcc.

mod background;
mod cargo;
mod chart;
mod ci;
mod docs;
mod edges;
mod fresh;
mod fuzz;
mod helm;
mod ipvs;
mod kube;
mod licences;
mod programs;
mod release;
mod sbom;
mod setup;
mod suite;

use std::process::ExitCode;

use anyhow::{Result, bail};

use cargo::Cargo;

const HELP: &str = "\
Usage: cargo xtask <command>

  ci                         what CI runs: format, edges, lints, documentation, every test
  test [filter...]           every test, or those with a filter in their name; arguments with - go to the test programs
  test --fresh MINUTES [filter...]
                             runs property tests with new random cases for this time; prints how to repeat a failure
  fuzz [minutes]             searches for inputs that break the readers, 5 minutes by default
  test cluster [scene...]    all scenes in a whole Kubernetes, or these, and a table of faults. NFTPOL_CLUSTER has the
                             options of `cluster up` for it: NFTPOL_CLUSTER=\"--nodes 3 --proxy iptables\"
  bless                      rewrites the golden files from the current output
  docs                       rewrites docs/cli.md, and writes manual pages and completions to target/reference
  edges                      checks which crate may depend on which

  demo [--keep|--down]       a node and its pods as network namespaces, policies enforced, who reaches whom
  cluster <command>          a whole Kubernetes on this machine: up, status, kubectl ..., exec NODE -- ..., down
  image [FILE]               the container image as a tar file (target/nftpol.tar), with its size and digest

  chart                      writes the templates of charts/nftpol from manifests/; a test compares
  helm [--write]             builds Helm (two minutes), lints the chart, and compares what it renders with tests/fixtures/helm,
                             or writes that
  release [FOLDER]           what a release has, in target/release-VERSION: archives, image, list of components, licences, sums

  bench [part...] [--plot]   measures a cold start and every kind of change beside the kernel alone and `nft -f`, lists that
                             come again, the proof, and what a packet pays; prints the tables of docs/benchmarks.md. Parts:
                             changes, relist, proof, packets. --rounds N; --table NAME=FILE: a table of another for `packets`;
                             --plot: more sizes, and draws docs/pictures; --draw: draws them again from the figures there
  greedy [load...]           what a greedy tenant's policies cost, and how long others wait meanwhile; a tenth of each load,
                             or --scale N: one of N
  load [pods]                what an agent costs in a large cluster, from a real API server; prints the table of docs/benchmarks.md
  pods-memory N [everyone]   what the pod agent's loop takes of memory with N isolated pods on macvlan interfaces in a large
                             cluster; `everyone`: all of its pods are their peers
  soak [minutes]             an agent under churn, 30 minutes by default; fails when memory grows
  chaos [minutes] [--seed N] an agent while the API server lies, processes die and others change the tables, 15 minutes by
                             default; proves the table after each fault. --quick: only faults that heal within seconds;
                             --only FAULT: only these, by the words of the counts
  latency [args...]          from a write to the API to packets, for any controller, in a whole Kubernetes of its own
  conformance [args...]      upstream's tests against a real cluster; `conformance --help` lists the options

  ipvs                       what IPVS forwards, tried with packets on a kernel of Debian under qemu; some minutes
  ipvs kube-proxy|kube-router [option...]
                             the same with IPVS as that proxy sets it up, from a real API server, and a real agent with
                             these options
  kube [all]                 builds etcd, kube-apiserver and kubectl; with `all`, also what nodes run, upstream's tests,
                             flannel, kube-router and Calico
  setup                      installs the Debian packages that the other commands need
  help                       this text

Commands install packages and build programs of Kubernetes by themselves when they need them.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let Some((command, rest)) = args.split_first() else {
        bail!("no command given\n\n{HELP}");
    };
    match command.as_str() {
        "help" | "--help" | "-h" => print!("{HELP}"),
        "demo" => demo(rest)?,
        "test" if rest.first().is_some_and(|word| word == "cluster") => test_cluster(&rest[1..])?,
        "test" => match rest.split_first() {
            Some((flag, rest)) if flag == "--fresh" => fresh::run(rest)?,
            _ => test(rest)?,
        },
        "bench" => bench(rest)?,
        "greedy" => optimised(&Cargo::default(), "greedy", &[], rest)?,
        "load" => measured("load", rest)?,
        "pods-memory" => optimised(&Cargo::default(), "pods_memory", &[], rest)?,
        "soak" => measured("soak", rest)?,
        "chaos" => measured("chaos", rest)?,
        "latency" => latency(rest)?,
        "ci" => none(rest).and_then(|()| ci::run())?,
        "bless" => none(rest).and_then(|()| bless())?,
        "fuzz" => fuzz::run(rest)?,
        "docs" => none(rest).and_then(|()| docs::run())?,
        "edges" => none(rest).and_then(|()| edges::run(&Cargo::default()))?,
        "cluster" => cluster(rest)?,
        "conformance" => conformance(rest)?,
        "image" => image(rest)?,
        "chart" => none(rest).and_then(|()| chart::write(&Cargo::default().workspace_folder()?))?,
        "helm" => helm::run(rest)?,
        "ipvs" => ipvs::run(rest)?,
        "release" => release::run(rest)?,
        "kube" => kube(rest)?,
        "setup" => none(rest).and_then(|()| setup::packages())?,
        other => bail!("no command `{other}`\n\n{HELP}"),
    }
    Ok(())
}

fn none(rest: &[String]) -> Result<()> {
    match rest.first() {
        None => Ok(()),
        Some(extra) => bail!("unexpected argument `{extra}`\n\n{HELP}"),
    }
}

/// Builds nftpol, its plugin and the tests' programs. One command for all: in several,
/// shared dependencies would compile again for each set of features.
const PROGRAMS: [&str; 8] =
    ["build", "--package", "agent", "--package", "cni", "--package", "tools", "--bins"];

fn demo(args: &[String]) -> Result<()> {
    if let Some(unknown) = args.iter().find(|a| !matches!(a.as_str(), "--keep" | "--down")) {
        bail!("unexpected argument `{unknown}`\n\n{HELP}");
    }
    setup::packages()?;
    let cargo = Cargo::default();
    cargo.run(PROGRAMS)?;
    cargo.exec("debug/demo", args)
}

/// A measuring program that needs an API server.
fn measured(program: &str, args: &[String]) -> Result<()> {
    setup::packages()?;
    let cargo = Cargo::default();
    kube::build(&cargo, &kube::SERVER)?;
    optimised(&cargo, program, &[], args)
}

/// Builds this program in release mode, with `nftpol` and the programs that it
/// needs, and runs it. Builds no others, because each takes a minute to link.
fn optimised(cargo: &Cargo, program: &str, others: &[&str], args: &[String]) -> Result<()> {
    built(cargo, program, others)?;
    cargo.exec(&format!("release/{program}"), args)
}

fn built(cargo: &Cargo, program: &str, others: &[&str]) -> Result<()> {
    let fixed =
        ["build", "--release", "--package", "agent", "--package", "cni", "--package", "tools"];
    let programs = [program, "nftpol", "nftpol-cni"].into_iter().chain(others.iter().copied());
    cargo.run(fixed.into_iter().chain(programs.flat_map(|program| ["--bin", program])))
}

/// Builds the plugin without any library: it runs on nodes of every distribution, whose C
/// library may be older or another one. Only its own crate is told so, because `nftpol`
/// links libraries that Debian has as shared ones. glibc's static archive is in libc6-dev.
fn static_plugin(cargo: &Cargo, more: &[&str]) -> Result<()> {
    let plugin = ["rustc", "--package", "cni", "--bin", "nftpol-cni"];
    let link = ["--", "-C", "target-feature=+crt-static"];
    cargo.run(plugin.iter().chain(more).chain(&link).copied())
}

fn latency(args: &[String]) -> Result<()> {
    let cargo = Cargo::default();
    nodes(&cargo, args)?;
    optimised(&cargo, "latency", &["cluster"], args)
}

fn bench(args: &[String]) -> Result<()> {
    setup::packages_of_nodes()?;
    optimised(&Cargo::default(), "bench", &[], args)
}

fn kube(args: &[String]) -> Result<()> {
    let cargo = Cargo::default();
    match args {
        [] => kube::build(&cargo, &kube::SERVER),
        [all] if all == "all" => {
            kube::build(&cargo, &kube::SERVER)?;
            kube::build(&cargo, &kube::CNI)?;
            kube::build(&cargo, &kube::NODES)?;
            kube::build(&cargo, &kube::E2E)?;
            kube::build(&cargo, &kube::FLANNEL)?;
            kube::build(&cargo, &kube::KUBE_ROUTER)?;
            kube::build(&cargo, &kube::CALICO)
        }
        _ => bail!("`kube` takes `all` or nothing\n\n{HELP}"),
    }
}

fn test(args: &[String]) -> Result<()> {
    setup::packages()?;
    let cargo = Cargo::default();
    let selection = suite::Selection::build(&cargo, args)?;
    let groups = selection.groups();
    if groups.contains(&&kube::NODES) {
        setup::packages_of_nodes()?;
    }
    let kubernetes = kube::Builds::start(&cargo, groups);
    selection.run(&cargo, &kubernetes).verdict(false)
}

/// The long form of CI's test of a whole Kubernetes.
fn test_cluster(scenes: &[String]) -> Result<()> {
    let cargo = Cargo::default();
    setup::packages_of_nodes()?;
    kube::build(&cargo, &kube::SERVER)?;
    kube::build(&cargo, &kube::NODES)?;
    let options = std::env::var("NFTPOL_CLUSTER").unwrap_or_default();
    of_networks(&cargo, options.split_whitespace())?;
    let all = scenes.is_empty() || scenes.iter().any(|scene| scene == "all");
    for (name, group) in OF_SCENES {
        if all || scenes.iter().any(|scene| scene == name) {
            kube::build(&cargo, group)?;
        }
    }
    cargo.run(PROGRAMS.into_iter().chain(["--package", "suite", "--tests"]))?;
    let words = ["test", "--package", "suite", "--test", "kubernetes", "--", "--nocapture"];
    let mut command = cargo.command(words);
    let all = if scenes.is_empty() { "all".to_owned() } else { scenes.join(" ") };
    command.env("NFTPOL_SCENES", all);
    cargo::finish(command)
}

/// What scenes with clusters of their own need.
const OF_SCENES: [(&str, &kube::Group); 6] = [
    ("install", &kube::HELM),
    ("overlays", &kube::FLANNEL),
    ("migration", &kube::KUBE_ROUTER),
    ("migration-canal", &kube::FLANNEL),
    ("migration-canal", &kube::CALICO),
    ("beside-felix", &kube::CALICO),
];

/// What networks of `cluster up` need, by the beginnings of their names.
const OF_NETWORKS: [(&str, &kube::Group); 5] = [
    ("flannel-", &kube::FLANNEL),
    ("canal", &kube::FLANNEL),
    ("canal", &kube::CALICO),
    ("calico", &kube::CALICO),
    ("kube-router", &kube::KUBE_ROUTER),
];

/// Builds what the networks among these words need.
fn of_networks<'a>(cargo: &Cargo, words: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
    for (start, group) in OF_NETWORKS {
        if words.clone().any(|word| word.starts_with(start)) {
            kube::build(cargo, group)?;
        }
    }
    Ok(())
}

fn cluster(args: &[String]) -> Result<()> {
    let cargo = Cargo::default();
    let up = args.first().is_some_and(|command| command == "up");
    if up {
        nodes(&cargo, args)?;
    }
    // You can reach and end a running cluster even if the source does not build.
    if up || !cargo.target_folder()?.join("debug/cluster").exists() {
        cargo.run(PROGRAMS)?;
    }
    cargo.exec("debug/cluster", args)
}

fn conformance(args: &[String]) -> Result<()> {
    let cargo = Cargo::default();
    nodes(&cargo, args)?;
    kube::build(&cargo, &kube::E2E)?;
    // Without a choice, the run includes flannel's network.
    if !args.iter().any(|arg| arg.starts_with("--network")) {
        kube::build(&cargo, &kube::FLANNEL)?;
    }
    cargo.run(PROGRAMS)?;
    cargo.exec("debug/conformance", args)
}

/// What a whole Kubernetes with these options needs.
fn nodes(cargo: &Cargo, args: &[String]) -> Result<()> {
    setup::packages_of_nodes()?;
    kube::build(cargo, &kube::SERVER)?;
    kube::build(cargo, &kube::NODES)?;
    of_networks(cargo, args.iter().map(String::as_str))
}

fn image(args: &[String]) -> Result<()> {
    setup::packages()?;
    let cargo = Cargo::default();
    // `nftpol version` shows it.
    let cargo = match docs::commit() {
        Some(commit) => cargo.env("NFTPOL_COMMIT", commit),
        None => cargo,
    };
    let target = cargo.target_folder()?;
    let to = match args {
        [] => target.join("nftpol.tar").display().to_string(),
        [file] => file.clone(),
        _ => bail!("`image` takes a file or nothing\n\n{HELP}"),
    };
    let licences = target.join("licences.txt");
    std::fs::create_dir_all(&target)?;
    std::fs::write(&licences, licences::text(&cargo, "agent", true)?)?;
    built(&cargo, "image", &[])?;
    // Last: both builds write the same file.
    static_plugin(&cargo, &["--release"])?;
    cargo.exec("release/image", &[to, licences.display().to_string()])
}

/// The test programs that compare golden files with the output.
const GOLDEN: [&str; 3] = ["golden", "text", "check"];

fn bless() -> Result<()> {
    setup::packages()?;
    let tests = GOLDEN.iter().flat_map(|program| ["--test", program]);
    let args = ["test", "--workspace"].into_iter().chain(tests);
    Cargo::default().env("NFTPOL_BLESS", "1").run(args)?;
    eprintln!("blessed: check the difference before you commit it");
    Ok(())
}
