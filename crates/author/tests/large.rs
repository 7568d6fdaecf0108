//! What `check` costs: as much as its input is large, whatever a tenant writes.
//!
//! One test alone in its program, because it measures the CPU time of children.

use std::fmt::Write;
use std::process::{Command, Stdio};

/// Objects of the small input, and how many times more the large one has.
const SMALL: usize = 1_000;
const TIMES: usize = 4;
/// The most CPU time of the large input, in times of the small one: less than the square.
const MOST: f64 = 9.0;
/// What does not count, in seconds: the start of a program, and a clock of 100 ticks a second.
const FLOOR: f64 = 0.15;

type Input = fn(usize) -> String;

const INPUTS: [(&str, Input); 6] = [
    ("policies that select nobody", nobody),
    ("policies for each other", many),
    ("a policy of many rules", rules),
    ("a policy of many peers", peers),
    ("a policy of many ipBlocks", blocks),
    ("a pod of many labels", labels),
];

#[test]
fn a_check_costs_as_much_as_its_input_is_large() {
    let mut wrong = String::new();
    for (name, input) in INPUTS {
        let [small, large] = [SMALL, SMALL * TIMES].map(|count| cost(&input(count)));
        let most = (small + FLOOR) * MOST;
        println!("{name}: {small:.2} s, then {large:.2} s, at most {most:.2} s");
        if large > most {
            // Writing to a String cannot fail.
            let _ = writeln!(wrong, "{name}: {small:.2} s, then {large:.2} s");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The CPU time that `check` takes.
fn cost(text: &str) -> f64 {
    let path = std::env::temp_dir().join(format!("nftpol-large-{}.json", std::process::id()));
    std::fs::write(&path, text).expect("a file");
    let before = children();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-nftpol"));
    command.arg("check").arg("-f").arg(&path).env("KUBECONFIG", "/dev/null");
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().expect("the program runs");
    drop(std::fs::remove_file(&path));
    // 1: there are findings.
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    children() - before
}

/// The CPU time of all children that ended, in seconds: `cutime` and `cstime` of
/// proc_pid_stat(5), in ticks of a hundredth (`USER_HZ`).
fn children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc");
    let (_, fields) = stat.rsplit_once(") ").expect("a name");
    let ticks = fields.split(' ').skip(13).take(2).map(|ticks| ticks.parse::<f64>());
    ticks.sum::<Result<f64, _>>().expect("numbers") / 100.0
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    // On one line, as `jq -c` writes it.
    format!(r#"{{"apiVersion":"v1","kind":"List","items":[{}]}}"#, items.join(","))
}

fn pod(number: usize, labels: &str) -> String {
    let [.., high, low] = number.to_be_bytes();
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p-{number}","namespace":"ns-{}","labels":{{{labels}}}}},"spec":{{"nodeName":"n","containers":[{{"name":"c","image":"i"}}]}},"status":{{"phase":"Running","podIPs":[{{"ip":"10.64.{high}.{low}"}}]}}}}"#,
        number / 100
    )
}

fn policy(namespace: usize, name: usize, selector: &str, ingress: &str) -> String {
    format!(
        r#"{{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy","metadata":{{"name":"q-{name}","namespace":"ns-{namespace}"}},"spec":{{"podSelector":{{{selector}}},"ingress":[{ingress}]}}}}"#
    )
}

fn label(key: &str, value: usize) -> String {
    format!(r#""matchLabels":{{"{key}":"v-{value}"}}"#)
}

fn of_peers(peers: impl Iterator<Item = String>) -> String {
    format!(r#"{{"from":[{}]}}"#, peers.collect::<Vec<_>>().join(","))
}

fn pods(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| pod(number, &format!(r#""app":"v-{number}""#)))
}

fn nobody(count: usize) -> String {
    let policy = |number| {
        let peer = format!(r#"{{"podSelector":{{{}}}}}"#, label("none", number));
        policy(number / 100, number, &label("nobody", number), &of_peers([peer].into_iter()))
    };
    list(pods(count).chain((0..count).map(policy)))
}

fn many(count: usize) -> String {
    let policy = |number| {
        let peer = format!(
            r#"{{"namespaceSelector":{{}},"podSelector":{{{}}}}}"#,
            label("app", count - number - 1)
        );
        policy(number / 100, number, &label("app", number), &of_peers([peer].into_iter()))
    };
    list(pods(count).chain((0..count).map(policy)))
}

fn rules(count: usize) -> String {
    let rule = |number| {
        let peer = format!(r#"{{"podSelector":{{{}}}}}"#, label("app", number));
        of_peers([peer].into_iter())
    };
    let rules: Vec<String> = (0..count).map(rule).collect();
    list(pods(10).chain([policy(0, 0, "", &rules.join(","))]))
}

fn peers(count: usize) -> String {
    let peer = |number| format!(r#"{{"podSelector":{{{}}}}}"#, label("app", number));
    let rule = || of_peers((0..count).map(peer));
    list(pods(10).chain([policy(0, 0, "", &[rule(), rule()].join(","))]))
}

fn blocks(count: usize) -> String {
    let block = |number: usize| {
        let [.., high, low] = (2 * number).to_be_bytes();
        format!(r#"{{"ipBlock":{{"cidr":"192.168.{high}.{low}/32"}}}}"#)
    };
    list(pods(10).chain([policy(0, 0, "", &of_peers((0..count).map(block)))]))
}

fn labels(count: usize) -> String {
    let labels: Vec<String> = (0..count).map(|at| format!(r#""key-{at}":"v""#)).collect();
    let policies = (0..count).map(|at| policy(0, at, &label("kye", at), ""));
    list([pod(0, &labels.join(","))].into_iter().chain(policies))
}
