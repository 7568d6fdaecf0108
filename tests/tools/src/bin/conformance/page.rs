//! Writes docs/conformance.md from records. Every sentence about results comes from
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use kubebed::upstream::{Outcome, Verdict, choice};

use crate::record::Record;
use crate::table::{self, Tally};

const START: &str = "\
# Conformance

Kubernetes' own tests of NetworkPolicy (`test/e2e/network/netpol`, unchanged) against nftpol in a real Kubernetes of two nodes: kubelets, containerd, kube-proxy in mode `nftables`, \
nftpol deployed with `kubectl apply -k manifests/`. `cargo xtask conformance --write` writes this page; no line of it is written by hand.

```console
# cargo xtask conformance                                   # all specs on bridge and flannel-vxlan
# cargo xtask conformance --dozen --network flannel-udp     # twelve of them on another network
# cargo xtask conformance --network ptp --spec 'named port' # one
# cargo xtask conformance --dozen --none                    # without nftpol: what denies must fail
```

Clusters are dual stack where the network has IPv6. Upstream asks for each pod by the first address of its Service, which is IPv4 here: IPv6 is held by the tests of this repository, not by these.
";

/// Where pods' packets go past the node.
const PAST_THE_NODE: &str = "
On `macvlan` nftpol is deployed with `manifests/overlays/pod-namespaces`, and the specs prove the pod agent. Upstream asks for pods by their Services, which kube-proxy cannot translate there: \
the answer goes straight to who asked, past the node that translated the question. So a program of the tests translates Services in each pod's own network namespace instead. Without it no spec can pass, whatever enforces the policies.
";

const ANSWERS: &str = "
## Answers

Upstream asks each pair of pods and compares with a table. A wrong answer is asked for again every second for ten seconds, then all pairs once more; a spec fails only by what is wrong after that, and never by a pod that does not reach itself.
Here everything is counted that was ever wrong once a policy was there. *First tries* can be made before the policy is in force on the node; *later tries* come a second or more after them.

| network | pairs of two pods | wrong at the end | wrong for ten seconds | wrong first tries | wrong later tries | a pod and itself, by its Service | refused |
|---|---:|---:|---:|---:|---:|---:|---:|
";

/// The page.
pub fn of(records: &[Record]) -> String {
    let mut text = START.to_owned();
    if records.iter().any(|record| record.network == "macvlan") {
        text.push_str(PAST_THE_NODE);
    }
    versions(&mut text, records);
    suites(&mut text, records);
    text.push_str(ANSWERS);
    for record in records {
        let cells = record.cells();
        let counts = [
            cells.pairs,
            cells.wrong,
            cells.wrong_for_long,
            cells.first_tries,
            cells.later_tries,
            cells.itself,
            cells.itself_refused,
        ];
        let counts = counts.map(|count| count.to_string()).join(" | ");
        let _ = writeln!(text, "| {} | {counts} |", record.network);
    }
    specs(&mut text, records);
    not_run(&mut text, records);
    text
}

/// The versions of the first record. All records have the same.
fn versions(text: &mut String, records: &[Record]) {
    text.push_str("\n## Versions\n\n| | |\n|---|---|\n");
    for (name, version) in records.iter().take(1).flat_map(|record| &record.versions.0) {
        let _ = writeln!(text, "| {name} | {version} |");
    }
}

fn suites(text: &mut String, records: &[Record]) {
    text.push_str(
        "\n## Results\n\nSeconds are those of all specs added up, of which several ran beside \
         each other.\n\n| network | suite | passed | failed | not run | seconds | date | \
         cluster |\n|---|---|---:|---:|---:|---:|---|---|\n",
    );
    for record in records {
        for (suite, tally) in table::tallies(record) {
            let Tally { passed, failed, not_run, time } = tally;
            let Record { network, date, options, .. } = record;
            let seconds = time.as_secs_f32();
            let _ = writeln!(
                text,
                "| {network} | {suite} | {passed} | {failed} | {not_run} | {seconds:.0} | {date} | `{options}` |"
            );
        }
    }
    let has = |suite: &str| {
        let mut outcomes = records.iter().flat_map(|record| &record.outcomes);
        outcomes.any(|outcome| outcome.spec.suite.starts_with(suite))
    };
    for suite in choice::SUITES.iter().filter(|suite| !has(suite)) {
        let _ = writeln!(text, "\nThis version of Kubernetes has no spec of `{suite}`.");
    }
}

fn specs(text: &mut String, records: &[Record]) {
    text.push_str("\n## Specs\n\nSeconds of those that passed; nothing where a spec was not chosen. `Netpol API` asks the \
         API server alone.\n\n| suite | spec |");
    let mut rows: BTreeMap<(&str, &str), Vec<Option<&Outcome>>> = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        let _ = write!(text, " {} |", record.network);
        for outcome in &record.outcomes {
            let key = (outcome.spec.suite.as_str(), outcome.spec.short());
            rows.entry(key).or_insert_with(|| vec![None; records.len()])[index] = Some(outcome);
        }
    }
    let _ = writeln!(text, "\n|---|---|{}", "---:|".repeat(records.len()));
    for ((suite, name), outcomes) in rows {
        let _ = write!(text, "| {suite} | {name} |");
        for outcome in outcomes {
            let cell = match outcome.map(|outcome| (&outcome.verdict, outcome.time)) {
                None => String::new(),
                Some((Verdict::Passed, time)) => format!("{:.0}", time.as_secs_f32()),
                Some((Verdict::Failed(_), _)) => "**failed**".to_owned(),
                Some((Verdict::NotRun(_), _)) => "not run".to_owned(),
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
}

fn not_run(text: &mut String, records: &[Record]) {
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for outcome in records.iter().flat_map(|record| &record.outcomes) {
        if let Verdict::NotRun(why) = &outcome.verdict {
            reasons.entry(why).or_default().insert(&outcome.spec.name);
        }
    }
    if reasons.is_empty() {
        return;
    }
    text.push_str("\n## Not run\n");
    for (why, names) in reasons {
        let _ = writeln!(text, "\nBecause {why}:\n");
        for name in names {
            let _ = writeln!(text, "* {name}");
        }
    }
}
