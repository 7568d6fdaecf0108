//! Computes from scratch what a snapshot compiles to.
//!
//! This is the oracle of the property tests. It has no state, no index and no
//! counts: it asks every pod and every policy. It shares with the compiler only
//! functions of a small input (the grants of a policy, the chain of a signature,
//! the scaffold, names). What the compiler updates while the cluster changes, this
//! code finds with a loop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use compiler::budget::{self, Decision, Weight};
use compiler::grants::{self, Grants};
use compiler::naming::Naming;
use compiler::price::{self, Form, Quote};
use compiler::scaffold::Placed;
use compiler::scaffold::audit::{self, Audits};
use compiler::scaffold::unknown::{Shut, of_known};
use compiler::sets::{PodsPeer, Scope, SetSource, Sources};
use compiler::signature::{ResolvedPorts, Signature};
use compiler::{Compiled, Engine, Options, Place, chain, over_budget, scaffold};
use policy::spec::edges::AtEdges;
use policy::{
    Diagnostic, Direction, Isolation, Mode, NetworkPolicy, NodeNetwork, ObjectKey, Owners, Pod,
    PortNumbers, Ports, Severity, Snapshot, all_subjects, audited, named_addresses,
};
use ruleset::{Element, Family, Name, Set, TableFamily};

/// What the product compiles a snapshot to, in one step.
pub fn compiled(snapshot: &Snapshot, options: &Options) -> Compiled {
    compiled_on(snapshot, &NodeNetwork::default(), options)
}

/// The same with a network.
pub fn compiled_on(snapshot: &Snapshot, network: &NodeNetwork, options: &Options) -> Compiled {
    Engine::new(options.clone()).update(snapshot, network).clone()
}

/// What a snapshot must compile to.
pub fn from_scratch(snapshot: &Snapshot, options: &Options) -> Compiled {
    from_scratch_on(snapshot, &NodeNetwork::default(), options)
}

/// What a snapshot and a network must compile to.
pub fn from_scratch_on(snapshot: &Snapshot, network: &NodeNetwork, options: &Options) -> Compiled {
    let owners = Owners::of(snapshot.pods.values().map(|pod| &**pod));
    let isolated = isolated_pods(snapshot, options);
    let place = Place::forward();
    let mut oracle = Oracle {
        snapshot,
        owners: &owners,
        options,
        out: Compiled {
            ruleset: scaffold::of(&place, !isolated.is_empty(), options.log.is_some()),
            ..Compiled::of_nothing(&place, options)
        },
        sources: Sources::new(),
        set_users: BTreeMap::new(),
        grants: BTreeMap::new(),
        decisions: BTreeMap::new(),
    };
    let all = all_subjects(snapshot, options.node.as_deref());
    let is_audited = |subjects: &Vec<_>| {
        let is = |direction| audited(snapshot, subjects, direction) != Isolation::None;
        Direction::BOTH.into_iter().any(is)
    };
    oracle.bind(network, &isolated, all.values().any(is_audited));
    for (address, subjects) in all {
        for direction in Direction::BOTH {
            let by_policies = |mode, pod| signature(snapshot, (direction, mode), pod);
            if let Some(found) = Signature::of_subjects(direction, &subjects, by_policies) {
                oracle.add_address(address, found);
            }
        }
    }
    oracle.budget();
    for (name, signature) in oracle.out.signatures.clone() {
        oracle.fill_chain(&name, &signature);
    }
    oracle.fill_sets();
    oracle.diagnose();
    oracle.out
}

/// Local pods that are isolated in a direction, and what is kept. A pod counts before
/// its address is reported, because its link-local address already works.
fn isolated_pods(snapshot: &Snapshot, options: &Options) -> BTreeSet<ObjectKey> {
    let is_selected = |pod: &Pod| {
        let is_isolated =
            |direction| signature(snapshot, (direction, Mode::Enforce), pod).is_some();
        Direction::BOTH.into_iter().any(is_isolated)
    };
    let pods = snapshot.pods.values().map(|pod| &**pod);
    let local = pods.filter(|pod| pod.is_subject() && pod.is_on(options.node.as_deref()));
    let local = local.filter(|pod| is_selected(pod));
    let kept = snapshot.kept.values().filter(|kept| kept.is_on(options.node.as_deref()));
    let kept = kept.filter(|kept| kept.is_shut() || is_selected(&kept.pod));
    local.chain(kept.map(|kept| &*kept.pod)).map(|pod| pod.key.clone()).collect()
}

/// By the policies that select a pod.
fn signature(snapshot: &Snapshot, of: (Direction, Mode), pod: &Pod) -> Option<Signature> {
    let policies = snapshot.policies.values().map(|policy| &**policy);
    Signature::of(of, pod, policies.filter(|policy| snapshot.selects(policy, pod)))
}

struct Oracle<'a> {
    snapshot: &'a Snapshot,
    owners: &'a Owners<'a>,
    options: &'a Options,
    out: Compiled,
    sources: Sources,
    set_users: BTreeMap<Name, BTreeSet<ObjectKey>>,
    grants: BTreeMap<(ObjectKey, Direction, ResolvedPorts), Arc<Grants>>,
    /// About the policies of each namespace.
    decisions: BTreeMap<String, Decision>,
}

impl Oracle<'_> {
    fn bind(&mut self, network: &NodeNetwork, isolated: &BTreeSet<ObjectKey>, has_audits: bool) {
        let pods = self.snapshot.pods.values().flat_map(|pod| &pod.host_addresses);
        let nodes: BTreeSet<IpAddr> = pods.chain(&network.tunnel_peers).copied().collect();
        let has_tunnels = !network.tunnels.is_empty();
        let parts = scaffold::Network {
            is_bound: !network.ports.is_empty(),
            tunnels: network.tunnels.clone(),
            known_nodes: match has_tunnels {
                true => nodes.iter().copied().map(Family::of).collect(),
                false => BTreeSet::new(),
            },
            shut: Shut { ranges: network.shut_ranges(self.snapshot), log: self.options.log },
            audits: has_audits.then_some(Audits { has_log: self.options.log.is_some() }),
            edges: AtEdges::of(self.snapshot, network, self.options.node.as_deref()).edges,
            ipvs: network.ipvs,
        };
        scaffold::fit(&mut self.out.ruleset, &Place::forward(), &parts);
        let mut elements: Vec<Placed> = nodes.into_iter().map(scaffold::of_node).collect();
        if !parts.shut.ranges.is_empty() {
            elements.extend(of_known(named_addresses(self.snapshot), &parts.shut.ranges));
        }
        for (&index, port) in &network.ports {
            let guarded = isolated.contains(&port.pod);
            elements.extend(scaffold::of_port(index, port, guarded));
        }
        for (&index, bridge) in &network.bridges {
            elements.extend(scaffold::of_bridge(index, bridge));
        }
        let mut bridge = scaffold::bridge::of();
        for Placed { table, set, element } in elements {
            match table {
                TableFamily::Inet => self.add_element(&set, element),
                TableFamily::Bridge => {
                    bridge.sets.get_mut(&set).into_iter().for_each(|set| {
                        set.elements.insert(element);
                    });
                }
            }
        }
        let is_bridged = network.ports.values().any(|port| port.bridge.is_some());
        self.out.bridge = is_bridged.then_some(bridge);
    }

    fn add_address(&mut self, address: IpAddr, signature: Signature) {
        let direction = signature.direction;
        let chain = signature.chain_name();
        self.out.signatures.insert(chain.clone(), Arc::new(signature));
        let family = Family::of(address);
        let mode = self.out.signatures[&chain].mode;
        let map = match mode {
            Mode::Enforce => scaffold::dispatch(direction, family),
            Mode::Audit => audit::dispatch(direction, family),
        };
        if mode == Mode::Enforce {
            let gate = scaffold::isolated_set(direction, family);
            self.add_element(&gate, Element::Address(address));
        }
        self.add_element(&scaffold::self_set(family), Element::AddressPair(address, address));
        if let Some(map) = self.out.ruleset.maps.get_mut(&map) {
            map.entries.insert(address, chain.clone());
        }
    }

    fn add_element(&mut self, set: &Name, element: Element) {
        if let Some(set) = self.out.ruleset.sets.get_mut(set) {
            set.elements.insert(element);
        }
    }

    /// Every policy is charged in every chain, but its sets only once for the same ports.
    fn budget(&mut self) {
        let mut all: BTreeMap<String, BTreeMap<String, Quote>> = BTreeMap::new();
        let mut charged = BTreeSet::new();
        for signature in self.out.signatures.values().filter(|signature| !signature.is_shut) {
            for key in &signature.policies {
                let Some(policy) = self.snapshot.policies.get(key) else { continue };
                let (direction, ports) = (signature.direction, signature.ports_of(policy));
                let mut quote = price::quote(policy, direction, &ports);
                if !charged.insert((key.clone(), direction, ports)) {
                    quote.plain = quote.plain.rules_only();
                    quote.compact = quote.compact.rules_only();
                }
                let policies = all.entry(key.namespace.clone()).or_default();
                *policies.entry(key.name.clone()).or_default() += quote;
            }
        }
        let budgets = &self.options.budgets;
        let sum = |policies: &BTreeMap<String, Quote>| Quote {
            plain: policies.values().map(|quote| quote.plain).sum(),
            compact: policies.values().map(|quote| quote.compact).sum(),
        };
        let demands = all.values().map(|policies| budget::demand(&sum(policies), budgets));
        let allowed = budget::allowed(demands, budgets);
        for (namespace, policies) in all {
            let decision = budget::decide(&policies, &sum(&policies), &allowed);
            self.decisions.insert(namespace, decision);
        }
        let beyond = self.decisions.iter().flat_map(|(namespace, decision)| {
            decision.beyond.iter().map(move |name| ObjectKey::new(namespace, name))
        });
        let beyond: BTreeSet<ObjectKey> = beyond.collect();
        self.out.over_budget = Arc::new(beyond);
        let crowded = self.crowded();
        Arc::make_mut(&mut self.out.over_budget).extend(crowded);
    }

    /// The policies whose sets of pods have too many elements.
    fn crowded(&self) -> BTreeSet<ObjectKey> {
        let mut sources = Sources::new();
        let mut users: BTreeMap<&ObjectKey, BTreeSet<Name>> = BTreeMap::new();
        for signature in self.out.signatures.values().filter(|signature| !signature.is_shut) {
            let counts = |key: &&ObjectKey| {
                let aside = &self.options.set_aside;
                !self.out.over_budget.contains(*key) && !aside.contains(*key)
            };
            for key in signature.policies.iter().filter(counts) {
                let Some((key, policy)) = self.snapshot.policies.get_key_value(key) else {
                    continue;
                };
                let (direction, ports) = (signature.direction, signature.ports_of(policy));
                let form = self.form(&key.namespace);
                let grants = grants::of(policy, direction, &ports, &Naming::default(), form);
                users.entry(key).or_default().extend(grants.sources.keys().cloned());
                sources.extend(grants.sources);
            }
        }
        let mut policies: BTreeMap<&str, BTreeMap<&str, BTreeSet<&Name>>> = BTreeMap::new();
        for (key, sets) in &users {
            let namespace = policies.entry(key.namespace.as_str()).or_default();
            namespace.insert(key.name.as_str(), sets.iter().collect());
        }
        let weigh = |name, source: &SetSource| {
            let looks = |sets: &&BTreeMap<&str, BTreeSet<&Name>>| {
                sets.values().flatten().any(|set| *set == name)
            };
            let with_it = policies.values().filter(looks);
            let elements = match source {
                SetSource::Blocks(..) | SetSource::Ports(_) | SetSource::Ends(..) => 0,
                SetSource::Pods(..) | SetSource::AnyOf(..) | SetSource::NamedPorts(..) => {
                    self.elements(source).len() as u64
                }
            };
            Weight::new(elements, with_it.count())
        };
        let weights = sources.iter().map(|(name, source)| (name, weigh(name, source)));
        self.without_room(&policies, &weights.collect())
    }

    /// The policies with these sets that find no room for them.
    fn without_room(
        &self,
        policies: &BTreeMap<&str, BTreeMap<&str, BTreeSet<&Name>>>,
        weights: &BTreeMap<&Name, Weight>,
    ) -> BTreeSet<ObjectKey> {
        let budgets = &self.options.budgets;
        let all = policies.iter().map(|(namespace, policies)| {
            let mut all = Weight::default();
            let sets: BTreeSet<&Name> = policies.values().flatten().copied().collect();
            sets.into_iter().for_each(|name| all += weights[name]);
            (*namespace, policies, all)
        });
        let all: Vec<_> = all.collect();
        let shares = || all.iter().map(|(_, _, weight)| weight.share);
        let share = budget::highest_share(shares().sum(), shares(), budgets);
        let mut without = BTreeSet::new();
        for (namespace, policies, weight) in all {
            let used = self.decisions.get(namespace).map_or(0, |one| one.used.elements);
            let room = Weight { elements: budgets.namespace.elements.saturating_sub(used), share };
            if !weight.fits(&room) {
                let names = budget::crowded(policies, |name| weights[name], &room);
                without.extend(names.into_iter().map(|name| ObjectKey::new(namespace, name)));
            }
        }
        without
    }

    fn form(&self, namespace: &str) -> Form {
        self.decisions.get(namespace).map_or(Form::Plain, |one| one.form)
    }

    fn fill_chain(&mut self, name: &Name, signature: &Signature) {
        let over_budget = Arc::clone(&self.out.over_budget);
        let policies: Vec<(&ObjectKey, Arc<Grants>)> = signature
            .policies
            .iter()
            .filter(|_| !signature.is_shut)
            .filter(|key| !self.options.set_aside.contains(key))
            .filter(|key| !over_budget.contains(key))
            .filter_map(|key| Some((key, self.snapshot.policies.get(key)?)))
            .map(|(key, policy)| (key, self.grants(policy, signature)))
            .collect();
        let allowing = policies.iter().map(|(key, grants)| (*key, &**grants));
        let built = chain::of(name, signature, allowing, self.options.log);
        self.out.ruleset.chains.insert(name.clone(), built.chain.into());
        self.out.rule_sources.insert(name.clone(), Arc::new(built.sources));
    }

    /// The grants of a policy. They are computed once for all signatures in which
    /// its port names have the same meaning.
    fn grants(&mut self, policy: &NetworkPolicy, signature: &Signature) -> Arc<Grants> {
        let direction = signature.direction;
        let key = (policy.key.clone(), direction, signature.ports_of(policy));
        if let Some(known) = self.grants.get(&key) {
            return Arc::clone(known);
        }
        let form = self.form(&policy.key.namespace);
        let grants = Arc::new(grants::of(policy, direction, &key.2, &Naming::default(), form));
        for (set, source) in &grants.sources {
            self.set_users.entry(set.clone()).or_default().insert(policy.key.clone());
            self.sources.insert(set.clone(), source.clone());
        }
        self.grants.insert(key, Arc::clone(&grants));
        grants
    }

    fn fill_sets(&mut self) {
        for (name, source) in &self.sources {
            let set = Set::new(source.set_type(), source.comment(name));
            self.out.ruleset.sets.insert(name.clone(), set.with(self.elements(source)));
        }
        let users = std::mem::take(&mut self.set_users).into_iter();
        self.out.set_users = users.map(|(set, users)| (set, Arc::new(users))).collect();
    }

    fn elements(&self, source: &SetSource) -> BTreeSet<Element> {
        let pods = || {
            let pods = self.snapshot.pods.values().map(|pod| &**pod);
            pods.flat_map(|pod| self.owners.addresses_of(pod).map(move |address| (pod, address)))
        };
        match source {
            SetSource::Pods(family, peer) => pods()
                .filter(|(pod, address)| Family::of(*address) == *family && self.selects(peer, pod))
                .map(|(_, address)| Element::Address(address))
                .collect(),
            SetSource::AnyOf(family, peers) => pods()
                .filter(|(pod, address)| {
                    Family::of(*address) == *family
                        && peers.iter().any(|peer| self.selects(peer, pod))
                })
                .map(|(_, address)| Element::Address(address))
                .collect(),
            SetSource::NamedPorts(family, ports) => pods()
                .filter(|(pod, address)| {
                    let mut peers = ports.peers.iter().flatten();
                    Family::of(*address) == *family
                        && (ports.peers.is_none() || peers.any(|peer| self.selects(peer, pod)))
                })
                .flat_map(|(pod, address)| {
                    let names = ports.names.iter();
                    let numbers = names.flat_map(|name| pod.named_ports(name, ports.protocol));
                    numbers.map(move |number| Element::AddressPort(address, number))
                })
                .collect(),
            SetSource::Blocks(_, ranges) => ranges.iter().copied().map(Element::Range).collect(),
            SetSource::Ports(ports) => {
                let ports = ports.iter();
                ports.map(|(transport, port)| Element::ProtocolPort(*transport, *port)).collect()
            }
            SetSource::Ends(_, _, ends) => {
                ends.iter().map(|(address, port)| Element::AddressPort(*address, *port)).collect()
            }
        }
    }

    fn selects(&self, peer: &PodsPeer, pod: &Pod) -> bool {
        let in_scope = match &peer.scope {
            Scope::Own(namespace) => pod.key.namespace == *namespace,
            Scope::Matching(selector) => self
                .snapshot
                .namespace_labels(&pod.key.namespace)
                .is_some_and(|labels| selector.matches(labels)),
        };
        in_scope && peer.pods.matches(&pod.labels)
    }

    /// Once per policy, however many signatures it is in.
    fn diagnose(&mut self) {
        let signatures = self.out.signatures.values();
        let ingress = signatures.filter(|signature| signature.direction == Direction::Ingress);
        let keys: BTreeSet<&ObjectKey> =
            ingress.flat_map(|signature| &signature.policies).collect();
        let found: Vec<Diagnostic> = keys
            .into_iter()
            .filter(|key| !self.options.set_aside.contains(*key))
            .filter(|key| !self.out.over_budget.contains(*key))
            .filter_map(|key| self.snapshot.policies.get(key))
            .flat_map(|policy| port_names_of_nobody(policy, self.snapshot))
            .chain(self.out.over_budget.iter().map(|key| over_budget(key, &self.options.budgets)))
            .collect();
        let mut found = found;
        found.sort_by(|one, other| one.object.cmp(&other.object));
        self.out.diagnostics = found.into();
    }
}

/// Port names of ingress rules that none of the selected pods has.
fn port_names_of_nobody(policy: &NetworkPolicy, snapshot: &Snapshot) -> Vec<Diagnostic> {
    let mut diagnostics = Vec::new();
    for (rule_index, rule) in policy.ingress.iter().flatten().enumerate() {
        let Ports::Only(ports) = &rule.ports else { continue };
        for port in ports {
            let PortNumbers::Named(name) = &port.numbers else { continue };
            let mut selected = snapshot.pods.values().filter(|pod| snapshot.selects(policy, pod));
            if selected.any(|pod| !pod.named_ports(name, port.protocol).is_empty()) {
                continue;
            }
            diagnostics.push(Diagnostic {
                severity: Severity::Warning,
                kind: "NetworkPolicy",
                object: policy.key.clone(),
                field: format!("spec.ingress[{rule_index}].ports"),
                message: format!(
                    "no pod that the policy selects has a port named {name}/{}: it allows nothing",
                    port.protocol
                ),
            });
        }
    }
    diagnostics
}
