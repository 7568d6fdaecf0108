//! Runs specs, several at a time.
//!
//! Reports each result as soon as it is known. A spec that is [`Spec::serial`] runs
//! alone.

use std::sync::Mutex;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::Result;
use samples::scratch::Folder;

use super::cells::Cells;
use super::{GINKGO_SUITE, GROUP, Outcome, PROGRAM, Spec, Verdict, report};
use crate::apiserver::process::Process;
use crate::kubernetes::Kubernetes;

/// How long a spec may take, in Ginkgo's format. Ginkgo ends and reports a longer
/// one.
const LIMIT: &str = "15m";
/// How long to wait between two checks of a running spec.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs specs, `at_once` at a time, and reports each end. The outcomes are in the
/// order of the specs.
///
/// # Errors
/// When the program is not built or cannot be started. Problems of one spec are in
/// its [`Outcome`].
pub fn run(
    kubernetes: &Kubernetes,
    specs: &[Spec],
    at_once: usize,
    tell: &(dyn Fn(&Outcome) + Sync),
) -> Result<Vec<Outcome>> {
    let folder = Folder::new("upstream")?;
    let done: Mutex<Vec<(usize, Outcome)>> = Mutex::default();
    for (serial, at_once) in [(false, at_once), (true, 1)] {
        let chosen = specs.iter().enumerate().filter(|(_, spec)| spec.serial == serial);
        let queue = Mutex::new(chosen);
        let work = || -> Result<()> {
            loop {
                let next = queue.lock().map_or(None, |mut queue| queue.next());
                let Some((index, spec)) = next else { return Ok(()) };
                let outcome = one(kubernetes, spec, &folder.inner(&index.to_string())?)?;
                tell(&outcome);
                if let Ok(mut done) = done.lock() {
                    done.push((index, outcome));
                }
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..at_once.max(1)).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
    }
    let mut done = done.into_inner().unwrap_or_default();
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, outcome)| outcome).collect())
}

/// Runs one spec to its end, from the control plane's namespace.
fn one(kubernetes: &Kubernetes, spec: &Spec, folder: &Folder) -> Result<Outcome> {
    let server = kubernetes.server();
    let to = folder.path().join("report.json");
    let arguments = [
        "--provider=local".to_owned(),
        format!("--kubeconfig={}", server.admin_kubeconfig().display()),
        format!("--ginkgo.focus={}", exactly(spec)),
        format!("--ginkgo.json-report={}", to.display()),
        format!("--ginkgo.timeout={LIMIT}"),
        "--ginkgo.no-color".to_owned(),
    ];
    let start = Instant::now();
    let mut process = Process::start(server.place().0, PROGRAM, &arguments, folder.path())?;
    while process.ended()?.is_none() {
        sleep(PAUSE);
    }
    // Without a report, the program died. Only its last output is left.
    let outcome = report::outcome(&to, spec).unwrap_or_default();
    Ok(outcome.unwrap_or_else(|| Outcome {
        spec: spec.clone(),
        verdict: Verdict::Failed(process.last_words()),
        time: start.elapsed(),
        cells: Cells::default(),
    }))
}

/// A Ginkgo focus (a regular expression of Go) that matches only this spec.
fn exactly(spec: &Spec) -> String {
    let mut focus = "^".to_owned();
    for character in format!("{GINKGO_SUITE} {GROUP}{}", spec.name).chars() {
        if !character.is_ascii_alphanumeric() && character != ' ' {
            focus.push('\\');
        }
        focus.push(character);
    }
    focus.push('$');
    focus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_focus_escapes_what_go_would_read() {
        let name = "Netpol API should (not) a+b 'x'";
        let spec =
            Spec { suite: String::new(), name: name.to_owned(), labels: vec![], serial: false };
        let wanted =
            r"^Kubernetes e2e suite \[sig\-network\] Netpol API should \(not\) a\+b \'x\'$";
        assert_eq!(exactly(&spec), wanted);
    }
}
