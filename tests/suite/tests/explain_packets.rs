//! `explain` says what packets do: every connection of the demo, under each of its
//! policies.

use anyhow::{Context, Result, ensure};
use author::Cluster;
use author::explain::{Answer, End, Verdict, explain};
use author::reach::Family;
use netbed::probe::{Flow, Knock, Prober, Seen};
use netbed::scenario;
use netbed::testbed::{Endpoint, Role, Testbed};
use samples::{fixtures, objects};

const PORTS: [u16; 2] = [80, 443];
const NODE: &str = "node-1";

/// How a person would name an end.
fn end(endpoint: &Endpoint, v6: bool) -> Result<String> {
    Ok(match endpoint.role {
        Role::Pod { .. } => endpoint.name.clone(),
        Role::Node { .. } => format!("node/{}", endpoint.name),
        Role::Outsider => {
            let address = endpoint.address(v6).context("an address of that family")?;
            if v6 { format!("[{address}]") } else { address.to_string() }
        }
    })
}

fn ask(cluster: &Cluster, from: &str, to: &str) -> Result<Answer> {
    let [from, to] = [from, to].map(|text| End::parse(text, "default"));
    let (from, to) = (from?, to?);
    Ok(explain(cluster, &from, &to)?)
}

/// What an answer says of a family.
fn said(answer: &Answer, family: Family) -> Result<Verdict> {
    let mut cases = answer.cases.iter().filter(|case| case.families.contains(&family));
    let verdict = cases.next().context("no case of that family")?.verdict;
    ensure!(cases.next().is_none(), "two cases for two ends: {answer}");
    Ok(verdict)
}

#[test]
fn explain_says_what_every_connection_of_the_demo_does() -> Result<()> {
    let testbed = Testbed::new(fixtures::demo(NODE), "xp")?;
    let knocks = PORTS.map(Knock::Tcp);
    let prober = Prober::new(&testbed, &knocks)?;
    let flows = Flow::all(&testbed, &knocks);
    prober.settle(&flows)?;
    let mut counted = [0, 0];
    for (path, policies) in fixtures::files("policies")? {
        scenario::apply(&testbed, &policies)?;
        let seen = prober.run(&flows)?;
        let cluster = Cluster::from(objects::snapshot(testbed.spec(), &policies)?);
        for (flow, seen) in flows.iter().zip(seen) {
            let Knock::Tcp(port) = flow.knock else { continue };
            let ends = [flow.from, flow.to].map(|index| end(&testbed.endpoints()[index], flow.v6));
            let [from, to] = ends;
            let (from, to) = (from?, format!("{}:{port}", to?));
            let answer = ask(&cluster, &from, &to)?;
            let family = if flow.v6 { Family::Ipv6 } else { Family::Ipv4 };
            let verdict = said(&answer, family)?;
            let expected = if seen == Seen::Answered { Verdict::Allowed } else { Verdict::Denied };
            ensure!(
                verdict == expected,
                "{}: {from} -> {to} {family}: packets {seen:?}\n{answer}",
                path.display()
            );
            counted[usize::from(verdict == Verdict::Denied)] += 1;
        }
    }
    println!("{} connections allowed, {} denied, as packets do", counted[0], counted[1]);
    assert!(counted[0] > 1000 && counted[1] > 300, "{counted:?}");
    Ok(())
}
