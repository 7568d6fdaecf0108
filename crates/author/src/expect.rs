//! Expectations: what has to pass and what must not, as a file. A unit test for policies.
//!
//! In: lines such as `allow monitoring/prometheus -> shop/cart:9090`, and a cluster.
//! Out: a finding for each line that does not hold.
//! Never: a line that holds for some of its pods and counts. `allow` is all of it, for all pods
//! of both ends and both families; `deny` is nothing of it.

use watcher::files::Location;

use crate::Cluster;
use crate::check::{Finding, Level};
use crate::cluster::twins;
use crate::explain::{Answer, End, Verdict, explain};

/// The id of the findings.
pub const ID: &str = "expectation";

/// What a line wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Allow,
    Deny,
}

/// What became of a file of expectations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// The lines that hold.
    pub held: usize,
    /// All lines.
    pub all: usize,
    /// A finding for each line that does not hold.
    pub failed: Vec<Finding>,
    /// What is wrong with lines that cannot be judged, each with its place.
    pub unclear: Vec<String>,
}

/// Judges a file of expectations.
pub fn judge(cluster: &Cluster, file: &str, text: &str) -> Judged {
    // A Deployment's pods may reach one another or not: that takes two of them.
    let cluster = twins(cluster);
    let mut judged = Judged::default();
    for (index, line) in text.lines().enumerate() {
        let written = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if written.is_empty() {
            continue;
        }
        judged.all += 1;
        let indent = line.len() - line.trim_start().len();
        let at = Location { file: file.to_owned(), line: index + 1, column: indent + 1 };
        match of_line(&cluster, written) {
            Ok(None) => judged.held += 1,
            Ok(Some((message, help))) => judged.failed.push(finding(at, message, help)),
            Err(error) => judged.unclear.push(format!("{at}: {error}")),
        }
    }
    judged
}

fn finding(at: Location, message: String, help: String) -> Finding {
    Finding {
        id: ID,
        level: Level::Error,
        kind: String::new(),
        object: None,
        field: String::new(),
        at: Some(at),
        message,
        label: None,
        help: Some(help),
        fix: None,
    }
}

/// Why a line does not hold, and what to do; `None` if it does.
fn of_line(cluster: &Cluster, line: &str) -> Result<Option<(String, String)>, String> {
    const FORM: &str = "write allow FROM -> TO:PORT, or deny FROM -> TO:PORT";
    let (word, rest) = line.split_once(char::is_whitespace).ok_or(FORM)?;
    let wanted = match word {
        "allow" => Wanted::Allow,
        "deny" => Wanted::Deny,
        _ => return Err(format!("{word:?} is neither allow nor deny; {FORM}")),
    };
    let (from, to) = rest.split_once("->").ok_or(FORM)?;
    let (from, to) = (from.trim(), to.trim());
    let end = |text| End::parse(text, &cluster.namespace).map_err(|error| error.to_string());
    let answer = explain(cluster, &end(from)?, &end(to)?).map_err(|error| error.to_string())?;
    let verdict = match (wanted, answer.verdict) {
        (Wanted::Allow, Verdict::Allowed) | (Wanted::Deny, Verdict::Denied) => return Ok(None),
        (Wanted::Allow, Verdict::Denied) => "it is denied",
        (Wanted::Allow, Verdict::Partly) => "only a part of it is allowed",
        (Wanted::Deny, Verdict::Allowed) => "it is allowed",
        (Wanted::Deny, Verdict::Partly) => "a part of it is allowed",
    };
    let message = format!("{line}: {verdict}{}", example(&answer, wanted));
    Ok(Some((message, format!("nftpol explain {from} {to} tells why"))))
}

/// The first case that is not as it should be.
fn example(answer: &Answer, wanted: Wanted) -> String {
    let is_wrong = |verdict| match wanted {
        Wanted::Allow => verdict != Verdict::Allowed,
        Wanted::Deny => verdict != Verdict::Denied,
    };
    let Some(case) = answer.cases.iter().find(|case| is_wrong(case.verdict)) else {
        return String::new();
    };
    let name = |names: &[crate::explain::EndName]| {
        names.first().map_or(String::new(), |one| one.name.clone())
    };
    let (from, to) = (name(&case.from), name(&case.to));
    match wanted {
        Wanted::Deny => format!(", from {from} to {to}: {}", case.passes),
        Wanted::Allow => {
            let (which, side) = match case.egress.verdict {
                Verdict::Allowed => ("ingress", &case.ingress),
                Verdict::Partly | Verdict::Denied => ("egress", &case.egress),
            };
            let policies: Vec<&str> = side.policies.iter().map(|one| &*one.name).collect();
            let by = match policies.is_empty() {
                true => String::new(),
                false => format!(" ({})", policies.join(", ")),
            };
            format!(", from {from} to {to} by {which}{by}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::tests::{SHOP, read};

    const POLICY: &str = "\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart, namespace: shop}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress:
  - from: [{podSelector: {matchLabels: {job: mail}}}]
    ports: [{port: 8080}]
";

    fn judged(lines: &str) -> Judged {
        let cluster = read(&[SHOP, POLICY], |_| {});
        judge(&cluster, "expect", lines)
    }

    #[test]
    fn lines_hold_for_all_pods_or_not_at_all() {
        let judged = judged(
            "# who reaches the cart\n\
             allow shop/mail -> shop/deploy/cart:8080\n\
             deny shop/mail -> shop/deploy/cart:9090   # metrics\n\
             deny internet -> shop/deploy/cart\n\n\
             deny shop/deploy/cart -> shop/deploy/cart:8080\n",
        );
        assert_eq!((judged.held, judged.all), (4, 4), "{judged:#?}");
    }

    #[test]
    fn a_line_that_fails_is_named_with_its_reason() {
        let judged = judged(
            " allow shop/mail -> shop/deploy/cart:9090\ndeny shop/mail -> shop/deploy/cart\n",
        );
        let [one, other] = &judged.failed[..] else { panic!("{judged:#?}") };
        let at = one.at.as_ref().map(|at| (at.line, at.column));
        assert_eq!(at, Some((1, 2)));
        assert!(one.message.contains("it is denied"), "{}", one.message);
        assert!(one.message.contains("shop/cart"), "{}", one.message);
        assert!(other.message.contains("a part of it is allowed"), "{}", other.message);
    }

    #[test]
    fn a_line_that_names_nothing_is_not_judged() {
        let judged = judged("allow a -> b\npermit a -> b\nallow shop/mail\nallow\n");
        assert_eq!((judged.held, judged.failed.len(), judged.unclear.len()), (0, 0, 4));
    }
}
