//! What each fault does, from its beginning to its end, while objects change.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netbed::fire::nft;
use netbed::program;
use nix::sys::signal::Signal;
use policy::{Labels, ObjectKey, Phase, Pod};
use samples::testbed_spec::pod_address;

use super::super::fault::{Fault, Trigger, Wrong};
use super::super::scene::{DEV, NODE};
use super::Machine;

/// How long packets may get through after others deleted the rules of a table without an
/// owner. On a quiet machine it is a tenth of a second.
const RESTORED: Duration = Duration::from_secs(3);
impl Machine<'_> {
    pub(super) fn wrong(&mut self, fault: &Fault) -> Result<()> {
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
                for filled in [true, false, true, false] {
                    self.scene.fill(&self.server, filled)?;
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
        attachment: policy::Attachment::default(),
        ports: Vec::new(),
    }
}
