//! What comes while a change is under way, and whether it can wait.
//!
//! In: the messages that arrive between two commits. Out: the messages, kept for
//! the loop; whether one of them is more urgent than the rest of the change.
//! Never: a message lost or in another order.
//!
//! A local pod and a policy are urgent: somebody may have to be isolated. What others
//! are urgent for is in the kernel of their own node.

use std::collections::VecDeque;
use std::time::Duration;

use policy::{Audit, NetworkPolicy, Snapshot};
use watcher::Object;
use watcher::api::{Event, Found};

use super::{Inbox, Message, Received};

/// Looks between two commits.
pub(super) struct Urgency<'a> {
    pub inbox: &'a mut dyn Inbox,
    /// Messages that the loop has not taken.
    pub held: &'a mut VecDeque<Message>,
    /// What the change under way brings about.
    pub snapshot: &'a Snapshot,
    /// This node.
    pub node: &'a str,
}

impl Urgency<'_> {
    /// Keeps what has come. Whether something of it is urgent.
    pub fn look(&mut self) -> bool {
        let mut is_urgent = false;
        // A closed inbox is still closed when the loop asks.
        while let Received::Message(message) = self.inbox.receive(Duration::ZERO) {
            is_urgent |= match &message {
                // A change that has begun is left complete.
                Message::Stop => false,
                Message::Event(_, event) => self.is_urgent(event),
            };
            self.held.push_back(message);
        }
        is_urgent
    }

    fn is_urgent(&self, event: &Event) -> bool {
        match event {
            Event::Applied(Found { object, .. }) => self.is_urgent_object(object),
            Event::Unreadable { .. } => true,
            Event::Listed { .. } | Event::Deleted { .. } | Event::Failed { .. } => false,
        }
    }

    fn is_urgent_object(&self, object: &Object) -> bool {
        match object {
            Object::Pod(pod) => {
                let is_local = pod.is_subject() && pod.node.as_deref() == Some(self.node);
                is_local && self.snapshot.pods.get(&pod.key) != Some(pod)
            }
            Object::NetworkPolicy(policy) => {
                // The mode of one that is known may come from its Namespace or the node.
                let known = self.snapshot.policies.get(&policy.key);
                !known.is_some_and(|known| {
                    let audit = Audit { written: policy.audit.written, ..known.audit };
                    known == policy || NetworkPolicy { audit, ..(**policy).clone() } == **known
                })
            }
            Object::Namespace(_) | Object::MultiNetworkPolicy(_) => false,
        }
    }
}
