//! One row of the grid: all policies on one network.
//!
//! The row goes to stderr: how many flows passed and were refused under each policy.
//! A flow that did otherwise is an error. No network is skipped because the machine
//! lacks something.

use std::fmt::Write;
use std::sync::Once;

use anyhow::{Context, Result, ensure};
use netbed::fire::say;
use netbed::probe::Knock;
use netbed::scenario::Scenario;
use netbed::testbed::Testbed;
use samples::fixtures;
use samples::testbed_spec::{Between, Families, Network, TestbedSpec};

pub const KNOCKS: [Knock; 5] =
    [Knock::Tcp(80), Knock::Tcp(443), Knock::Tcp(8080), Knock::Udp(53), Knock::Udp(5000)];

/// Policies as names and YAML.
type Policies = Vec<(String, String)>;

/// The six policies that users write first, then one file for each part of the API,
/// then those files together, then none.
fn policies() -> Result<Policies> {
    let mut all = Vec::new();
    let mut together = Vec::new();
    for (folder, by_field) in [("policies", false), ("packets", true)] {
        for (path, text) in fixtures::files(folder)? {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if by_field {
                together.push(text.clone());
            }
            all.push((name, text));
        }
    }
    all.push(("all fields".to_owned(), together.join("---\n")));
    all.push(("none".to_owned(), String::new()));
    Ok(all)
}

/// The town, with the other kinds of pods that Docker has. With direct routing the
/// third node is behind a router.
pub fn town(network: Network, between: Between) -> TestbedSpec {
    let nodes: &[&str] = match between {
        Between::DirectRouting => &["node-1", "node-2", "node-3"],
        _ => &["node-1", "node-2"],
    };
    let spec = fixtures::town(network, nodes).between(between);
    let spec = if between == Between::DirectRouting { spec.far(2) } else { spec };
    let front = [("app", "web"), ("tier", "front")];
    let back = [("app", "db"), ("tier", "back")];
    spec.pod_on(0, "dev", "open", &front, Families::Both, &[])
        .in_host_network()
        .pod_on(1, "shop", "open", &[("app", "cart")], Families::Both, &[])
        .in_host_network()
        .pod_on(1, "dev", "none", &back, Families::Both, &[])
        .without_address()
}

/// Tries all policies on one network.
pub fn row(network: Network, between: Between) -> Result<()> {
    let testbed = Testbed::new(town(network, between), "nw")?;
    let scenario = Scenario::new(&testbed, &KNOCKS).context("without nftpol")?;
    let policies = policies()?;
    heads(&policies)?;
    let mut row = format!("| {network:?}, {between:?} |");
    for (name, policies) in &policies {
        let counts = scenario.enforce(policies).with_context(|| format!("{row} {name}"))?;
        let _ = write!(row, " {}+{} |", counts.passed, counts.refused);
        // Two of the six policies allow everything in their direction.
        let is_open = name.starts_with("2-") || name.starts_with("5-") || name == "none";
        ensure!(counts.passed > 100, "{name}: {counts:?}");
        ensure!(is_open || counts.refused > 100, "{name}: {counts:?}");
    }
    say(&format!("{row}\n"))
}

fn heads(policies: &Policies) -> Result<()> {
    static HEADS: Once = Once::new();
    let mut result = Ok(());
    HEADS.call_once(|| {
        let names: Vec<&str> = policies.iter().map(|(name, _)| name.as_str()).collect();
        result = say(&format!(
            "\nFlows that passed + flows that were refused, each as the specification says:\n\
             | network | {} |\n|---|{}\n",
            names.join(" | "),
            "---:|".repeat(names.len())
        ));
    });
    result
}
