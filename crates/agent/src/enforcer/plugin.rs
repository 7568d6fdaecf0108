//! What the CNI plugin asks.
//!
//! In: its questions. Out: announcements to the cluster's state, an answer once the kernel
//! has what follows from them. Never: an answer "in force" before a change that had the
//! announcement in it was committed; a wait for an interface that cannot be bound which is
//! longer than [`BINDS_WITHIN`]; an address that is taken from a pod whose interface lives.
//! A plugin gives an address again once the former interface is gone. Who says so earlier
//! may be any process of root's in the node's network, and would lift an isolation.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use cni::wire::{Attachment, Interface, PodName, Reply, Request};
use policy::{
    Announcement, AttachmentKey, HostInterface, InterfaceIndex, KeptFor, ObjectKey, PodUid,
};

use super::Enforcer;
use crate::Sink;

/// No question waits longer.
const LONGEST: Duration = Duration::from_secs(60);
/// Questions that wait at a time. A node has fewer pods.
const WAITING: usize = 1024;
/// How long an answer waits for the pod's interface. It was made before the question, so the
/// next look shows it. Pods that the operator leaves unbound have no binding to wait for.
const BINDS_WITHIN: Duration = Duration::from_millis(250);
/// Interfaces of one attachment: a bridge, and the node's end of a pod's interface.
const INTERFACES: usize = 16;

/// A question, and where its answer goes.
#[derive(Debug)]
pub struct CniQuestion {
    /// What is asked.
    pub request: Request,
    /// Who asks. It may be gone.
    pub reply: Sender<Reply>,
}

/// The questions that wait for the kernel.
#[derive(Debug, Default)]
pub(super) struct CniQuestions {
    /// `None`: nobody asks.
    inbox: Option<Receiver<CniQuestion>>,
    waiting: Vec<Waiting>,
}

/// A pod that is held back.
#[derive(Debug)]
struct Waiting {
    /// What is to be announced once nobody else has the addresses; `None`: it was.
    unannounced: Option<(AttachmentKey, Announcement)>,
    pod: ObjectKey,
    addresses: BTreeSet<IpAddr>,
    reply: Sender<Reply>,
    until: Instant,
    /// Whether the kernel isolates it, because its object is not known.
    is_isolated: bool,
    /// Since when the kernel has its rules, and not the binding to one of these interfaces.
    is_unbound_since: Option<Instant>,
    interfaces: Vec<InterfaceIndex>,
}

impl Waiting {
    fn new(
        attachment: AttachmentKey,
        said: Announcement,
        reply: Sender<Reply>,
        until: Instant,
    ) -> Self {
        Self {
            pod: said.pod.clone(),
            addresses: said.addresses.clone(),
            interfaces: said.interfaces.iter().map(|interface| interface.index).collect(),
            unannounced: Some((attachment, said)),
            reply,
            until,
            is_isolated: false,
            is_unbound_since: None,
        }
    }
}

/// What the kernel has of a pod, if it has what is known.
enum Known {
    Pod,
    Shut,
    Nothing,
}

impl CniQuestions {
    pub fn of(inbox: Option<Receiver<CniQuestion>>) -> Self {
        Self { inbox, waiting: Vec::new() }
    }
}

impl<S: Sink> Enforcer<S> {
    /// Takes in what was asked, and answers what cannot wait any longer.
    pub(super) fn answer_cni(&mut self) {
        while let Some(question) = self.cni.inbox.as_ref().and_then(|all| all.try_recv().ok()) {
            self.take_cni(question);
        }
        if self.cni.waiting.is_empty() {
            return;
        }
        let now = self.now();
        let mut waiting = std::mem::take(&mut self.cni.waiting);
        waiting.retain_mut(|waiting| {
            let holder = self.announce(waiting, now);
            let is_unbindable =
                waiting.is_unbound_since.is_some_and(|since| now >= since + BINDS_WITHIN);
            let is_over = now >= waiting.until || is_unbindable;
            if is_over {
                let reply = match (holder, waiting.is_isolated, waiting.is_unbound_since) {
                    (Some(holder), ..) => Reply::NotReady(holder),
                    (None, _, Some(_)) => Reply::InForce {},
                    (None, true, None) => Reply::Isolated {},
                    (None, false, None) => Reply::NotReady(self.first_problem()),
                };
                let _ = waiting.reply.send(reply);
            }
            !is_over
        });
        self.cni.waiting = waiting;
    }

    /// Announces it, unless another pod has an address of it: then says which.
    fn announce(&mut self, waiting: &mut Waiting, now: Instant) -> Option<String> {
        let (attachment, said) = waiting.unannounced.take()?;
        let holder = self.holder(&waiting.pod, &waiting.addresses);
        match holder {
            Some(_) => waiting.unannounced = Some((attachment, said)),
            None => {
                self.cluster.announce(attachment, said);
                self.changed_by_cni(now);
            }
        }
        holder
    }

    /// The pod whose object reports one of these addresses and whose interface has it.
    fn holder(&self, pod: &ObjectKey, addresses: &BTreeSet<IpAddr>) -> Option<String> {
        let pods = &self.cluster.snapshot().pods;
        let holder = |address: &IpAddr| {
            let holder = self.binding.holder(*address).filter(|holder| *holder != pod)?;
            let object = pods.get(holder).filter(|object| object.is_subject())?;
            let is_ours = object.is_on(Some(&self.parts.node));
            let why = || format!("{address} is that of pod {holder}, whose interface is there");
            (is_ours && object.addresses.contains(address)).then(why)
        };
        addresses.iter().find_map(holder)
    }

    /// A change succeeded: the kernel has what is known now.
    pub(super) fn answer_cni_in_force(&mut self) {
        let mut waiting = std::mem::take(&mut self.cni.waiting);
        let now = self.now();
        waiting.retain_mut(|one| match self.known_of(&one.pod, &one.addresses) {
            _ if one.unannounced.is_some() => true,
            Known::Pod if self.is_bound(one) => {
                let _ = one.reply.send(Reply::InForce {});
                false
            }
            Known::Pod => {
                one.is_unbound_since.get_or_insert(now);
                true
            }
            Known::Shut => {
                (one.is_isolated, one.is_unbound_since) = (true, None);
                true
            }
            Known::Nothing => {
                one.is_unbound_since = None;
                true
            }
        });
        self.cni.waiting = waiting;
    }

    fn take_cni(&mut self, CniQuestion { request, reply }: CniQuestion) {
        let now = self.now();
        let answer = match request {
            Request::Attach { attachment, pod, addresses, interfaces, wait_ms } => {
                let until = now + Duration::from_millis(wait_ms).min(LONGEST);
                let said = announcement(pod, addresses, interfaces);
                let mut waiting = Waiting::new(attachment_key(attachment), said, reply, until);
                self.announce(&mut waiting, now);
                if self.cni.waiting.len() < WAITING {
                    self.cni.waiting.push(waiting);
                    return;
                }
                let _ = waiting.reply.send(Reply::Error("too many pods wait".to_owned()));
                return;
            }
            Request::Detach { attachment } => {
                self.cluster.withdraw(&attachment_key(attachment));
                self.changed_by_cni(now);
                Reply::Done {}
            }
            Request::Keep { attachments } => {
                let all = attachments.into_iter().map(attachment_key).collect();
                self.cluster.keep_attachments(&all);
                self.changed_by_cni(now);
                Reply::Done {}
            }
            Request::Check { pod, addresses } => match self.enforced && self.next.is_idle() {
                false => Reply::NotReady(self.first_problem()),
                true => match self.known_of(&key(pod), &addresses) {
                    Known::Pod => Reply::InForce {},
                    Known::Shut => Reply::Isolated {},
                    Known::Nothing => Reply::Error(
                        "the agent does not know the pod at these addresses".to_owned(),
                    ),
                },
            },
            Request::Status {} => match self.enforced {
                true => Reply::Done {},
                false => Reply::NotReady(self.first_problem()),
            },
        };
        let _ = reply.send(answer);
    }

    /// Why the kernel does not have what is known.
    fn first_problem(&self) -> String {
        let all = self.parts.status.remarkable();
        let mut problems = all.into_iter().filter(|(_, holds, _)| !holds);
        problems.next().map_or_else(
            || "the kernel does not have all rules yet".to_owned(),
            |(condition, _, why)| format!("{condition}: {why}"),
        )
    }

    fn changed_by_cni(&mut self, now: Instant) {
        self.parts.interfaces.place(self.cluster.placements());
        self.view.knows(self.cluster.snapshot());
        self.next.event(now);
    }

    /// Whether the kernel binds a pod's addresses to an interface that was made for it, or
    /// no such interface is known, or nothing can be bound.
    fn is_bound(&self, waiting: &Waiting) -> bool {
        let ports = &self.parts.pipeline.network().ports;
        let mut bound = waiting.interfaces.iter().filter_map(|index| ports.get(index));
        waiting.interfaces.is_empty()
            || !self.parts.interfaces.binds()
            || bound.any(|port| waiting.addresses.is_subset(&port.addresses))
    }

    /// What the objects and announcements say of these addresses.
    fn known_of(&self, pod: &ObjectKey, addresses: &BTreeSet<IpAddr>) -> Known {
        let snapshot = self.cluster.snapshot();
        let is_pods = snapshot.pods.get(pod).is_some_and(|object| {
            let is_ours = object.is_subject() && object.is_on(Some(&self.parts.node));
            is_ours && addresses.iter().all(|address| object.addresses.contains(address))
        });
        let is_shut = |address: &IpAddr| {
            snapshot.kept.get(address).is_some_and(|kept| match kept.why {
                KeptFor::Announced | KeptFor::Restart | KeptFor::Unreadable => true,
                KeptFor::Running => false,
            })
        };
        match (is_pods, addresses.iter().all(is_shut)) {
            (true, _) => Known::Pod,
            (false, true) => Known::Shut,
            (false, false) => Known::Nothing,
        }
    }
}

fn key(PodName { namespace, name, uid: _ }: PodName) -> ObjectKey {
    ObjectKey::new(namespace, name)
}

fn announcement(
    pod: PodName,
    addresses: BTreeSet<IpAddr>,
    interfaces: Vec<Interface>,
) -> Announcement {
    let uid = pod.uid.as_deref().and_then(PodUid::parse).unwrap_or_default();
    let interfaces = interfaces.into_iter().take(INTERFACES).map(interface).collect();
    Announcement { pod: key(pod), uid, addresses, interfaces }
}

fn interface(Interface { name, index }: Interface) -> HostInterface {
    HostInterface { index: InterfaceIndex(index), name }
}

fn attachment_key(Attachment { container, interface }: Attachment) -> AttachmentKey {
    AttachmentKey { container, interface }
}
