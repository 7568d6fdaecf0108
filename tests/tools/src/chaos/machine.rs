//! One step after another: a fault begins, objects change, it ends, the table is proved.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kubebed::apiserver::ApiServer;
use kubebed::apiserver::proxy::Proxy;
use netbed::fire::nft;
use netbed::net::Namespace;
use netbed::program;
use netbed::testbed::Testbed;
use nix::sys::signal::Signal;
use policy::{Labels, ObjectKey, Phase, Pod, Snapshot};
use samples::testbed_spec::pod_address;
use watcher::{Store, api};

use super::dice::Dice;
use super::fault::{Fault, Trigger, Wrong};
use super::kubelet::Kubelet;
use super::oracle::{Oracle, Proved};
use super::scene::{DEV, NODE, Scene};
use super::witness::Witness;

/// How long packets may get through after others deleted the rules of a table without an
/// owner. On a quiet machine it is a tenth of a second.
const RESTORED: Duration = Duration::from_secs(3);
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

    fn trigger(&self, trigger: Trigger) -> Result<()> {
        match trigger {
            Trigger::None => Ok(()),
            Trigger::Cut => self.proxy.cut(),
            Trigger::Expire => {
                self.proxy.expire(None);
                Ok(())
            }
        }
    }

    fn wrong(&mut self, fault: &Fault) -> Result<()> {
        match &fault.wrong {
            Wrong::Nothing => self.live(fault.hold, false)?,
            Wrong::Lie(resource, lie) => {
                self.proxy.lie(*resource, lie.clone());
                self.trigger(fault.begin)?;
                self.live(fault.hold / 2, false)?;
                // The first list under a lie may be the true one.
                self.trigger(fault.begin)?;
                self.live(fault.hold / 2, false)?;
                self.proxy.truth();
            }
            Wrong::Cut(times) => self.often(*times, fault.hold, |it| it.proxy.cut())?,
            Wrong::Expire(times) => {
                self.often(*times, fault.hold, |it| it.trigger(Trigger::Expire))?;
            }
            Wrong::Refuse => {
                self.proxy.refuse()?;
                self.trigger(fault.begin)?;
                self.live(fault.hold, false)?;
                self.proxy.accept()?;
            }
            Wrong::ServerCrash => {
                self.server.stop();
                self.live(fault.hold, false)?;
                self.server.restart()?;
            }
            Wrong::Restore => {
                let saved = self.scene.objects().clone();
                self.server.save()?;
                self.live(fault.hold, false)?;
                self.server.restore()?;
                self.scene.went_back(saved);
            }
            Wrong::Kill(_)
            | Wrong::Terminate
            | Wrong::Stop
            | Wrong::FewFiles
            | Wrong::LittleMemory
            | Wrong::UnreadLog => self.process(fault)?,
            Wrong::Damage(_) | Wrong::FlushConntrack | Wrong::Rename | Wrong::Pods(_) => {
                self.kernel(fault)?;
            }
        }
        self.trigger(fault.end)
    }

    fn process(&mut self, fault: &Fault) -> Result<()> {
        match &fault.wrong {
            Wrong::Kill(times) => self.often(*times, fault.hold, |it| {
                it.kubelet.kill();
                let pause = it.dice.time(0, 700);
                it.live_without(pause)?;
                it.kubelet.start(false)
            }),
            Wrong::Terminate => {
                self.kubelet.terminate()?;
                self.live_without(fault.hold / 2)?;
                self.kubelet.start(false)
            }
            Wrong::Stop => {
                self.kubelet.signal(Signal::SIGSTOP)?;
                self.live(fault.hold, false)?;
                self.kubelet.signal(Signal::SIGCONT)
            }
            Wrong::FewFiles => {
                self.kubelet.limit("--nofile=12:")?;
                self.trigger(fault.begin)?;
                self.live(fault.hold, true)?;
                self.kubelet.limit("--nofile=1024:")
            }
            Wrong::LittleMemory => {
                let space = self.kubelet.address_space().unwrap_or(1 << 32);
                self.kubelet.limit(&format!("--as={space}:"))?;
                for _ in 0..4 {
                    self.trigger(Trigger::Expire)?;
                    self.live(fault.hold / 4, true)?;
                }
                self.kubelet.limit("--as=unlimited:")
            }
            _ => {
                self.kubelet.kill();
                self.kubelet.start(true)?;
                self.live(fault.hold, false)
            }
        }
    }

    fn kernel(&mut self, fault: &Fault) -> Result<()> {
        match &fault.wrong {
            Wrong::Damage(script) => {
                let begin = Instant::now();
                let done = nft(self.node, script);
                if !self.kubelet.owns {
                    self.witness.excuse(begin, Instant::now() + RESTORED);
                }
                if self.kubelet.owns && *script != "flush ruleset" && self.is_ready() {
                    ensure!(done.is_err(), "others could change a table that has an owner");
                }
                self.live(fault.hold.max(RESTORED), false)
            }
            Wrong::FlushConntrack => {
                let mut command = self.node.command("conntrack");
                command.arg("-F");
                program::finish(command, "")?.success().context("conntrack -F")?;
                self.live(fault.hold, false)
            }
            Wrong::Rename => {
                for number in [0, 2, 4] {
                    self.node.ip(&format!("link set veth{number} name other{number}"))?;
                }
                self.live(fault.hold, false)?;
                for number in [0, 2, 4] {
                    self.node.ip(&format!("link set other{number} name veth{number}"))?;
                }
                Ok(())
            }
            Wrong::Pods(count) => self.pods(*count, fault.hold),
            _ => Ok(()),
        }
    }

    /// Pods with interfaces come, and go in either order: the object or the interface first.
    fn pods(&mut self, count: usize, hold: Duration) -> Result<()> {
        let mut names = Vec::new();
        for _ in 0..count {
            let number = self.next_pod;
            self.next_pod += 1;
            let key = ObjectKey::new(DEV, format!("pod-{number}"));
            let addresses: Vec<IpAddr> =
                [false, true].map(|v6| pod_address(0, 20 + number % 200, v6)).into();
            let app = self.dice.one_of(&["victim", "prisoner", "free"]);
            let pod = pod(key.clone(), app, addresses.clone());
            let object_first = self.dice.one_in(2);
            if object_first {
                self.scene.pod(&self.server, &key, Some(pod.clone()))?;
            }
            self.cluster.add_pod(100 + number, &key.name, &addresses)?;
            if !object_first {
                self.scene.pod(&self.server, &key, Some(pod))?;
            }
            self.oracle.remember(self.scene.objects());
            names.push(key);
            self.live(hold / 2 / count as u32, false)?;
        }
        for key in names {
            let object_first = self.dice.one_in(2);
            if object_first {
                self.scene.pod(&self.server, &key, None)?;
            }
            self.cluster.remove_pod(&key.to_string())?;
            if !object_first {
                self.scene.pod(&self.server, &key, None)?;
            }
            self.live(hold / 2 / count as u32, false)?;
        }
        Ok(())
    }

    fn often(
        &mut self,
        times: usize,
        hold: Duration,
        mut act: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..times {
            act(self)?;
            self.live(hold / times as u32, false)?;
        }
        Ok(())
    }

    /// Objects change for a while. `may_end`: the agent may end, and is started again.
    fn live(&mut self, hold: Duration, may_end: bool) -> Result<()> {
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
    fn live_without(&mut self, hold: Duration) -> Result<()> {
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
        let why = match answer {
            Some((200, _)) => return Ok(None),
            Some((_, report)) => {
                let named = report.lines().find(|line| line.starts_with("[-]"));
                let named = named.context("not ready, and no condition is named")?;
                let condition = named.split([':', '\n']).next().unwrap_or_default();
                *self.tally.conditions.entry(condition.to_owned()).or_default() += 1;
                named.to_owned()
            }
            None => "no answer".to_owned(),
        };
        self.tally.not_ready += since.elapsed();
        Ok(Some(why))
    }

    fn is_ready(&self) -> bool {
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

fn pod(key: ObjectKey, app: &str, addresses: Vec<IpAddr>) -> Pod {
    let labels: Labels = [("app".to_owned(), app.to_owned())].into();
    Pod {
        key,
        labels,
        node: Some(NODE.to_owned()),
        addresses,
        host_addresses: Vec::new(),
        host_network: false,
        phase: Phase::Running,
        created: 0,
        is_ending: false,
        grace_seconds: 30,
        ports: Vec::new(),
    }
}
