//! New pods with the chained CNI plugin and without it: what they send and hear before
//! their objects report their addresses.
//!
//! There is a real API server, a real agent and the real plugin, and pods are network
//! namespaces that this test makes as a CNI plugin would. There is no kubelet: the test
//! reports addresses itself, [`REPORTED_AFTER`] a pod's start.

mod crowd;
mod failures;
mod gate;
mod interface;
mod newcomer;
mod runtime;
mod whole_runtime;

use anyhow::{Result, ensure};

use crowd::{Mode, Outcome, run};

/// Another number of pods for each mode, and all modes.
const PODS: &str = "NFTPOL_FIRST_PACKETS";

/// Isolated pods that send and are sent to from their start on, while the agent is killed
/// and started again. In CI a few; `NFTPOL_FIRST_PACKETS=200` takes more, and prints what
/// happens without the plugin, too.
#[test]
fn isolated_pods_neither_send_nor_hear_from_their_first_packet_on() -> Result<()> {
    let asked: Option<usize> = std::env::var(PODS).ok().and_then(|number| number.parse().ok());
    let modes = [
        Mode { plugin: true, unknown: "open" },
        Mode { plugin: false, unknown: "open" },
        Mode { plugin: false, unknown: "selected" },
        Mode { plugin: false, unknown: "closed" },
    ];
    let pods = asked.unwrap_or(12);
    for mode in &modes[..if asked.is_some() { modes.len() } else { 2 }] {
        let Outcome { pods: started, wrong, sent, longest, restarts, refused } = run(mode, pods)?;
        println!(
            "{mode}: {started} pods, {restarts} agents killed, {sent} packets tried, {wrong} wrong \
             ones at {} pods, at most {} ms after a start; {refused} times the plugin refused and \
             was asked again",
            longest.len(),
            longest.iter().max().copied().unwrap_or_default().as_millis(),
        );
        ensure!(started == pods && sent > 20 * pods as u64, "{mode}: nothing was tried");
        ensure!(!mode.plugin || wrong == 0, "{mode}: {wrong} wrong packets");
        let shows = mode.plugin || mode.unknown != "open" || wrong > 0;
        ensure!(shows, "without the plugin nothing is open, so this shows nothing");
    }
    Ok(())
}
