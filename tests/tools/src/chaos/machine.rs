//! One step after another: a fault begins, objects change, it ends, the table is proved.
//! What a fault does is in `faults`.

mod faults;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kubebed::apiserver::ApiServer;
use kubebed::apiserver::proxy::Proxy;
use netbed::net::Namespace;
use netbed::testbed::Testbed;
use policy::Snapshot;
use watcher::{Store, api};

use super::dice::Dice;
use super::fault::{Fault, Trigger, Wrong};
use super::kubelet::Kubelet;
use super::oracle::{Oracle, Proved};
use super::scene::Scene;
use super::witness::Witness;

/// An agent that does not answer for this long would be ended by the kubelet: then the
/// DaemonSet's liveness probe has failed six times. No fault may lead to that.
const LIVENESS: Duration = Duration::from_secs(60);
/// How often readiness is asked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Everything that takes part.
pub(super) struct Machine<'a> {
    pub server: ApiServer,
    pub proxy: Proxy,
    pub cluster: Testbed,
    pub node: &'a Namespace,
    pub kubelet: Kubelet<'a>,
    pub scene: Scene,
    pub oracle: Oracle,
    pub witness: Witness,
    /// For what a fault still has to draw.
    pub dice: Dice,
    pub start: Instant,
    pub tally: Tally,
    pub looked: Instant,
    /// When the agent answered last, or was started.
    pub answered: Instant,
    /// The number of the next pod with an interface.
    pub next_pod: usize,
}

/// What was done and seen.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often each fault was there.
    pub faults: BTreeMap<String, usize>,
    /// How often the table was proved right.
    pub proofs: usize,
    /// Isolated addresses, summed over all proofs.
    pub addresses: usize,
    /// Addresses that were kept, likewise.
    pub kept: usize,
    /// How long the node was not ready.
    pub not_ready: Duration,
    /// How often the agent ended for lack of memory.
    pub deaths: usize,
    /// The longest time from the end of a fault to a proof, and which.
    pub slowest: (Duration, String),
    /// The first conditions that were named while the node was not ready.
    pub conditions: BTreeMap<String, usize>,
}

impl Machine<'_> {
    /// Waits for the first proof.
    pub fn begin(&mut self) -> Result<()> {
        let nothing = Fault {
            wrong: Wrong::Nothing,
            hold: Duration::ZERO,
            begin: Trigger::None,
            end: Trigger::None,
            visible: Duration::from_secs(60),
            healed: Duration::from_secs(60),
        };
        self.oracle.remember(self.scene.objects());
        self.settle(&nothing)
    }

    /// One fault from its beginning to the proof after it.
    pub fn step(&mut self, fault: &Fault) -> Result<()> {
        *self.tally.faults.entry(fault.wrong.word()).or_default() += 1;
        self.wrong(fault).with_context(|| format!("{fault}"))?;
        self.settle(fault).with_context(|| format!("after {fault}"))
    }

    pub(super) fn trigger(&self, trigger: Trigger) -> Result<()> {
        match trigger {
            Trigger::None => Ok(()),
            Trigger::Cut => self.proxy.cut(),
            Trigger::Expire => {
                self.proxy.expire(None);
                Ok(())
            }
        }
    }

    /// Objects change for a while. `may_end`: the agent may end, and is started again.
    pub(super) fn live(&mut self, hold: Duration, may_end: bool) -> Result<()> {
        let end = Instant::now() + hold;
        while Instant::now() < end {
            self.change()?;
            if self.kubelet.supervise(may_end)? {
                self.tally.deaths += 1;
            }
            self.look()?;
        }
        Ok(())
    }

    /// Objects change for a while, and there is no agent.
    pub(super) fn live_without(&mut self, hold: Duration) -> Result<()> {
        let end = Instant::now() + hold;
        while Instant::now() < end {
            self.change()?;
            self.look()?;
        }
        Ok(())
    }

    fn change(&mut self) -> Result<()> {
        let pause = self.scene.change(&self.server)?;
        self.oracle.remember(self.scene.objects());
        sleep(pause);
        Ok(())
    }

    /// Looks at packets and at readiness.
    fn look(&mut self) -> Result<Option<String>> {
        self.witness.nothing_got_through(self.start)?;
        let answer = self.kubelet.readyz();
        let since = std::mem::replace(&mut self.looked, Instant::now());
        if answer.is_some() {
            self.answered = self.looked;
        }
        let why = match answer {
            Some((200, _)) => return Ok(None),
            Some((_, report)) => {
                let named = report.lines().find(|line| line.starts_with("[-]"));
                let named = named.context("not ready, and no condition is named")?;
                let condition = named.split([':', '\n']).next().unwrap_or_default();
                *self.tally.conditions.entry(condition.to_owned()).or_default() += 1;
                named.to_owned()
            }
            None => {
                let silence = self.answered.elapsed();
                let hangs = !self.kubelet.is_stopped && silence > LIVENESS;
                ensure!(!hangs, "the agent has not answered for {silence:.0?}");
                "no answer".to_owned()
            }
        };
        self.tally.not_ready += since.elapsed();
        Ok(Some(why))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.kubelet.readyz().is_some_and(|(code, _)| code == 200)
    }

    /// Waits until the table is proved, with the objects as they are.
    fn settle(&mut self, fault: &Fault) -> Result<()> {
        let begin = Instant::now();
        let mut wrong: Option<Instant> = None;
        let may_end = matches!(fault.wrong, Wrong::LittleMemory | Wrong::FewFiles);
        loop {
            if self.kubelet.supervise(may_end)? {
                self.tally.deaths += 1;
            }
            let unready = self.look()?;
            let why = match &unready {
                Some(why) => why.clone(),
                None => match self.proved() {
                    Ok(proved) => return self.settled(fault, proved, begin.elapsed()),
                    Err(why) => format!("{why:#}"),
                },
            };
            let since = match unready {
                Some(_) => {
                    wrong = None;
                    Duration::ZERO
                }
                None => wrong.get_or_insert_with(Instant::now).elapsed(),
            };
            if since > fault.visible {
                bail!("ready for {since:.1?}, but the table is not right: {why}");
            }
            if begin.elapsed() > fault.healed {
                bail!("not healed after {:.1?}: {why}", begin.elapsed());
            }
            sleep(LOOK_EVERY);
        }
    }

    fn proved(&self) -> Result<Proved> {
        let found = self.server.block_on(api::list(self.server.client()))?;
        let store: Store = found.into_iter().map(|found| found.object).collect();
        let objects: Snapshot = store.snapshot().clone();
        let proved = self.oracle.prove(self.node, &objects)?;
        let blocked = self.witness.blocked();
        ensure!(blocked.is_empty(), "a pod that is not isolated is not reached: {blocked:?}");
        Ok(proved)
    }

    fn settled(&mut self, fault: &Fault, proved: Proved, took: Duration) -> Result<()> {
        self.tally.proofs += 1;
        self.tally.addresses += proved.addresses;
        self.tally.kept += proved.kept;
        if took > self.tally.slowest.0 {
            self.tally.slowest = (took, fault.to_string());
        }
        Ok(())
    }
}
