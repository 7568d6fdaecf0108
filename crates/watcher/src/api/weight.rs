//! How much of a list is kept in memory, and when that is too much.
//!
//! In: one object after another. Out: a refusal when no cluster has so many objects, or
//! such large ones. Never: an exact number of bytes.

use policy::{NetworkPolicy, Operator, Peer, Peers, PortNumbers, Ports, Selector};

use super::watch_line::Item;
use crate::Object;

/// The most objects of a kind. Kubernetes is made for 150,000 pods (kubernetes.io,
/// "Considerations for large clusters").
pub(super) const MOST: usize = 1_000_000;
/// The most bytes that are kept of a kind. Of 100,000 pods with ten labels each it is about
/// 100 MiB.
pub(super) const MOST_BYTES: usize = 1 << 30;
/// What an object takes beside its texts and lists, with its place in a map.
const OBJECT: usize = 400;
/// What an element of a list takes beside its text.
const ELEMENT: usize = 40;

/// The objects of a list so far.
#[derive(Debug, Default)]
pub(super) struct Weight {
    objects: usize,
    bytes: usize,
}

impl Weight {
    /// Counts one more.
    ///
    /// # Errors
    /// It is one too many. The error says what is too much.
    pub fn add(&mut self, item: &Item) -> Result<(), String> {
        self.add_object(item.found.as_ref().map_or(0, |found| bytes(&found.object)))
    }

    fn add_object(&mut self, bytes: usize) -> Result<(), String> {
        self.objects += 1;
        self.bytes = self.bytes.saturating_add(OBJECT).saturating_add(bytes);
        if self.objects > MOST {
            return Err(format!("it has more than {MOST} objects"));
        }
        match self.bytes > MOST_BYTES {
            true => Err(format!(
                "its objects would take more than {} MiB of memory, ten times what 100,000 pods \
                 take; is this an API server of Kubernetes?",
                MOST_BYTES >> 20
            )),
            false => Ok(()),
        }
    }
}

/// What is kept of an object beside its fixed part.
fn bytes(object: &Object) -> usize {
    match object {
        Object::NetworkPolicy(policy) => of_policy(policy),
        Object::MultiNetworkPolicy(one) => of_policy(&one.policy),
        Object::Pod(pod) => {
            let names = pod.ports.iter().map(|port| ELEMENT + port.name.len());
            let addresses = pod.addresses.len() + pod.host_addresses.len();
            names.sum::<usize>() + addresses * ELEMENT + of_labels(pod.labels.iter())
        }
        Object::Namespace(namespace) => of_labels(namespace.labels.iter()),
    }
}

fn of_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> usize {
    labels.map(|(key, value)| ELEMENT + key.len() + value.len()).sum()
}

fn of_policy(policy: &NetworkPolicy) -> usize {
    let rules = policy.ingress.iter().chain(&policy.egress).flatten();
    let rules = rules.map(|rule| {
        let peers = match &rule.peers {
            Peers::Anyone => 0,
            Peers::Only(peers) => peers.iter().map(of_peer).sum(),
        };
        let ports = match &rule.ports {
            Ports::All => 0,
            Ports::Only(ports) => ports.iter().map(|port| of_numbers(&port.numbers)).sum(),
        };
        2 * ELEMENT + peers + ports
    });
    of_selector(&policy.pod_selector) + rules.sum::<usize>()
}

fn of_peer(peer: &Peer) -> usize {
    match peer {
        Peer::IpBlock(block) => 2 * ELEMENT + block.except().len() * ELEMENT,
        Peer::Pods(pods) => {
            2 * ELEMENT + of_selector(&pods.pods) + pods.namespaces.as_ref().map_or(0, of_selector)
        }
    }
}

fn of_numbers(numbers: &PortNumbers) -> usize {
    match numbers {
        PortNumbers::All | PortNumbers::Range(..) => ELEMENT,
        PortNumbers::Named(name) => ELEMENT + name.len(),
    }
}

fn of_selector(selector: &Selector) -> usize {
    let requirements = selector.requirements().map(|requirement| {
        let values = match &requirement.operator {
            Operator::In(values) | Operator::NotIn(values) => {
                values.iter().map(|value| ELEMENT + value.len()).sum()
            }
            Operator::Exists | Operator::DoesNotExist => 0,
        };
        ELEMENT + requirement.key.len() + values
    });
    requirements.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::watch_line::item;
    use crate::convert::PodFields;

    /// An object of 100,000 that a large cluster has.
    fn pod(label: &str) -> Item {
        let labels: Vec<String> = (0..10).map(|one| format!(r#""k{one}": "{label}""#)).collect();
        let text = format!(
            r#"{{"metadata": {{"name": "web-7d4b9c6f5-x2x9z", "namespace": "shop",
            "labels": {{{}}}}}, "spec": {{"nodeName": "n", "containers": [{{"ports":
            [{{"name": "http", "containerPort": 80}}]}}]}}, "status": {{"phase": "Running",
            "podIPs": [{{"ip": "10.0.0.1"}}, {{"ip": "fd00::1"}}]}}}}"#,
            labels.join(", ")
        );
        item::<PodFields>(text.as_bytes()).expect("a pod")
    }

    #[test]
    fn a_large_cluster_takes_a_tenth_of_what_is_taken_at_most() {
        let (mut weight, pod) = (Weight::default(), pod("a-value-of-a-label"));
        (0..100_000).for_each(|_| weight.add(&pod).expect("a usual pod"));
        assert!((MOST_BYTES / 15..=MOST_BYTES / 8).contains(&weight.bytes), "{}", weight.bytes);
    }

    #[test]
    fn objects_of_the_greatest_size_are_soon_too_many() {
        let (mut weight, pod) = (Weight::default(), pod(&"x".repeat(1 << 20)));
        let added = (0..1000).take_while(|_| weight.add(&pod).is_ok()).count();
        assert!((90..=110).contains(&added), "{added}");
        let mut weight = Weight::default();
        let added = (0..=MOST).take_while(|_| weight.add_object(0).is_ok()).count();
        assert_eq!(added, MOST);
    }
}
