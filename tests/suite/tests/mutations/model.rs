//! Mistakes about the objects. The compiler gets other objects than there are, as if
//! its author had misread the API.

use std::sync::Arc;

use policy::{
    IpBlock, Namespace, NetworkPolicy, ObjectKey, Operator, Peer, Peers, Phase, Pod, Port,
    PortNumbers, Ports, Protocol, Requirement, Selector, Snapshot, cidr,
};

use super::Mistake;

const fn mistake(
    name: &'static str,
    line: &'static str,
    plant: fn(&mut Snapshot) -> Option<()>,
) -> Mistake<Snapshot> {
    Mistake { name, line, plant }
}

pub const MISTAKES: &[Mistake<Snapshot>] = &[
    mistake("egress rules alone do not isolate ingress", "1", |snapshot| {
        policy(snapshot, "dev", "cache")?.ingress.take().map(|_| ())
    }),
    mistake("policyTypes without rules isolates nothing", "4", |snapshot| {
        policy(snapshot, "dev", "web")?.egress.take().map(|_| ())
    }),
    mistake("rules of the other direction count", "2", |snapshot| {
        let policy = policy(snapshot, "dev", "db")?;
        policy.egress.clone_from(&policy.ingress);
        Some(())
    }),
    mistake("an empty from allows nobody", "5", |snapshot| {
        policy(snapshot, "dev", "sctp")?.ingress.as_mut()?.first_mut()?.peers = Peers::Only(vec![]);
        Some(())
    }),
    mistake("an unreadable peer allows anyone", "13", |snapshot| {
        policy(snapshot, "dev", "db")?.ingress.as_mut()?.first_mut()?.peers = Peers::Anyone;
        Some(())
    }),
    mistake("a podSelector alone selects in all namespaces", "5", |snapshot| {
        peers(policy(snapshot, "shop", "cart")?.ingress.as_mut()?).find_map(|peer| match peer {
            Peer::Pods(pods) if pods.namespaces.is_none() => {
                pods.namespaces = Some(Selector::everything());
                Some(())
            }
            _ => None,
        })
    }),
    mistake("a namespaceSelector selects in its own namespace", "5", |snapshot| {
        let selected = |peer: &mut Peer| match peer {
            Peer::Pods(pods) => pods.namespaces.take().map(|_| ()),
            Peer::IpBlock(_) => None,
        };
        peers(policy(snapshot, "shop", "cart")?.ingress.as_mut()?).find_map(selected)
    }),
    mistake("an except is ignored", "17", |snapshot| {
        let bare = |peer: &mut Peer| match peer {
            Peer::IpBlock(block) if !block.except().is_empty() => {
                *block = IpBlock::new(block.cidr(), []).ok()?;
                Some(())
            }
            _ => None,
        };
        peers(policy(snapshot, "dev", "web")?.ingress.as_mut()?).find_map(bare)
    }),
    mistake("an except also cuts another block", "17", |snapshot| {
        let rule = policy(snapshot, "dev", "web")?.ingress.as_mut()?.first_mut()?;
        let Peers::Only(peers) = &mut rule.peers else { return None };
        peers.pop().map(|_| ())
    }),
    mistake("excepts that cover their block are ignored", "13", |snapshot| {
        let rule = policy(snapshot, "dev", "db")?.ingress.as_mut()?.get_mut(1)?;
        let Peers::Only(peers) = &mut rule.peers else { return None };
        let block = IpBlock::new(cidr::parse("192.0.2.0/24").ok()?, []).ok()?;
        *peers = vec![Peer::IpBlock(block)];
        Some(())
    }),
    mistake("leading zeros are octal", "19", |snapshot| {
        let rule = policy(snapshot, "dev", "web")?.ingress.as_mut()?.get_mut(3)?;
        let block = IpBlock::new(cidr::parse("198.18.8.0/24").ok()?, []).ok()?;
        rule.peers = Peers::Only(vec![Peer::IpBlock(block)]);
        Some(())
    }),
    mistake("a block does not apply to pods", "16", |snapshot| {
        let rule = policy(snapshot, "dev", "web")?.egress.as_mut()?.get_mut(1)?;
        let pods = cidr::parse("10.0.0.0/28").ok()?;
        let block = IpBlock::new(cidr::parse("0.0.0.0/0").ok()?, [pods]).ok()?;
        rule.peers = Peers::Only(vec![Peer::IpBlock(block)]);
        Some(())
    }),
    mistake("NotIn needs the key", "11", |snapshot| {
        let rule = policy(snapshot, "dev", "db")?.ingress.as_mut()?.get_mut(2)?;
        let Peers::Only(peers) = &mut rule.peers else { return None };
        let Some(Peer::Pods(pods)) = peers.first_mut() else { return None };
        let exists = Requirement { key: "tier".to_owned(), operator: Operator::Exists };
        let before: Vec<Requirement> = pods.pods.requirements().cloned().collect();
        pods.pods = Selector::new(before.into_iter().chain([exists]));
        Some(())
    }),
    mistake("an empty value matches any value", "11", |snapshot| {
        let rule = policy(snapshot, "dev", "cache")?.egress.as_mut()?.get_mut(1)?;
        let Peers::Only(peers) = &mut rule.peers else { return None };
        let Some(Peer::Pods(pods)) = peers.first_mut() else { return None };
        let exists = Requirement { key: "empty".to_owned(), operator: Operator::Exists };
        pods.pods = Selector::new([exists]);
        Some(())
    }),
    mistake("the labels of a namespace are unknown", "12", |snapshot| {
        let bare = Namespace::synthesised("ops");
        snapshot.namespaces.insert("ops".to_owned(), Arc::new(bare)).map(|_| ())
    }),
    mistake("a known namespace is missing", "12", |snapshot| {
        snapshot.namespaces.remove("ops").map(|_| ())
    }),
    mistake("a policy selects pods of other namespaces", "27", |snapshot| {
        let mut copy = (**snapshot.policies.get(&ObjectKey::new("dev", "db"))?).clone();
        copy.key.namespace = "shop".to_owned();
        copy.pod_selector = Selector::new([Requirement::equals("app", "front")]);
        snapshot.policies.insert(copy.key.clone(), Arc::new(copy));
        Some(())
    }),
    mistake("a policy is forgotten", "DESIGN", |snapshot| {
        snapshot.policies.remove(&ObjectKey::new("dev", "sctp")).map(|_| ())
    }),
    mistake("only the last policy of a pod counts", "25", |snapshot| {
        snapshot.policies.remove(&ObjectKey::new("dev", "db")).map(|_| ())
    }),
    mistake("ports are crossed with protocols", "7", |snapshot| {
        let rule = policy(snapshot, "dev", "web")?.ingress.as_mut()?.get_mut(1)?;
        let Ports::Only(ports) = &mut rule.ports else { return None };
        let numbers = PortNumbers::Range(53, 53);
        ports.push(Port { protocol: Protocol::Tcp, numbers });
        Some(())
    }),
    mistake("peers of one rule go with ports of another", "8", |snapshot| {
        let rules = policy(snapshot, "dev", "web")?.ingress.as_mut()?;
        let ports = rules.first()?.ports.clone();
        rules.get_mut(1)?.ports = ports;
        Some(())
    }),
    mistake("no ports means no port", "6", |snapshot| {
        policy(snapshot, "dev", "web")?.egress.as_mut()?.get_mut(2)?.ports = Ports::Only(vec![]);
        Some(())
    }),
    mistake("a port name of another protocol counts", "14", |snapshot| {
        pod(snapshot, "dev", "dns")?.ports.first_mut()?.protocol = Protocol::Tcp;
        Some(())
    }),
    mistake("a port name has one number in the cluster", "14", |snapshot| {
        pod(snapshot, "dev", "web")?.ports.first_mut()?.port = 8080;
        Some(())
    }),
    mistake("pods that have ended count", "22", |snapshot| {
        pod(snapshot, "ops", "ended")?.phase = Phase::Running;
        Some(())
    }),
    mistake("a running pod counts as ended", "22", |snapshot| {
        pod(snapshot, "ops", "mon")?.phase = Phase::Failed;
        Some(())
    }),
    mistake("pods on the node's network count as pods", "20", |snapshot| {
        pod(snapshot, "ops", "agent")?.host_network = false;
        Some(())
    }),
    mistake("the older pod keeps an address", "22", |snapshot| {
        pod(snapshot, "dev", "late")?.created = 2;
        Some(())
    }),
    mistake("only the first address of a pod counts", "23", |snapshot| {
        pod(snapshot, "dev", "web")?.addresses.truncate(1);
        Some(())
    }),
    mistake("a pod's labels are old", "DESIGN", |snapshot| {
        let labels = &mut pod(snapshot, "shop", "cart")?.labels;
        labels.insert("app".to_owned(), "front".to_owned()).map(|_| ())
    }),
];

fn policy<'a>(
    snapshot: &'a mut Snapshot,
    namespace: &str,
    name: &str,
) -> Option<&'a mut NetworkPolicy> {
    snapshot.policies.get_mut(&ObjectKey::new(namespace, name)).map(Arc::make_mut)
}

fn pod<'a>(snapshot: &'a mut Snapshot, namespace: &str, name: &str) -> Option<&'a mut Pod> {
    snapshot.pods.get_mut(&ObjectKey::new(namespace, name)).map(Arc::make_mut)
}

fn peers(rules: &mut [policy::Rule]) -> impl Iterator<Item = &mut Peer> {
    rules.iter_mut().flat_map(|rule| match &mut rule.peers {
        Peers::Only(peers) => peers.as_mut_slice(),
        Peers::Anyone => &mut [],
    })
}
