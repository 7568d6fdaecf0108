//! A bench for the enforcing loop, with a kernel in memory and a clock of its own.
//!
//! You choose what happens at which moment, and see what the loop did, and when.
//! Time passes only while the loop waits. If a test asks for it, time also passes
//! while the kernel works.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::binding_options::BindingOptions;
use agent::clock::Clock;
use agent::conntrack_cleanup::Counters;
use agent::enforcer::{
    Enforcer, FlowCleanup, Inbox, Interfaces, Message, Parts, Received, Surroundings, ThreadDied,
};
use agent::metrics::Metrics;
use agent::node_ranges::NodeRanges;
use agent::pipeline::Pipeline;
use agent::problems::Problems;
use agent::status::{Condition, Status};
use compiler::budget::Budgets;
use compiler::{Options, scaffold};
use imbl::OrdSet;
use policy::{BindingFinding, Claims, NodeNetwork, ObjectKey, Placement, Pod, PodRange};
use ruleset::Ruleset;
use tokio::sync::watch;
use watcher::api::{Event, Found};
use watcher::{Kind, Object};

use super::kernel::{Kernel, ManualClock};
use super::model::{Model, objects};

/// What happens.
enum Happening {
    Event(Event),
    Stop,
    /// The thread of the watches ends.
    Died,
    /// Others change the kernel.
    Others(Box<dyn FnOnce(&mut Model)>),
    /// The test checks the readiness.
    Look,
}

struct Script {
    happenings: VecDeque<(Duration, Happening)>,
    clock: Arc<ManualClock>,
    model: Rc<RefCell<Model>>,
    status: Status,
    seen: Rc<RefCell<Vec<Option<String>>>>,
}

impl Inbox for Script {
    fn receive(&mut self, at_most: Duration) -> Received {
        let until = self.clock.passed() + at_most;
        while self.happenings.front().is_some_and(|(at, _)| *at <= until) {
            let Some((at, happening)) = self.happenings.pop_front() else { break };
            self.clock.move_to(at);
            match happening {
                Happening::Event(event) => {
                    return Received::Message(Message::Event(self.clock.now(), event));
                }
                Happening::Stop => return Received::Message(Message::Stop),
                Happening::Died => return Received::Closed,
                Happening::Others(act) => act(&mut self.model.borrow_mut()),
                Happening::Look => {
                    self.seen.borrow_mut().push(self.status.problem(Condition::Enforced));
                }
            }
        }
        self.clock.move_to(until);
        Received::Nothing
    }
}

/// A change that the loop reports to the clean-up of connections.
pub struct Cleaned {
    pub before: Option<Arc<Ruleset>>,
    pub after: Arc<Ruleset>,
}

struct Cleanup {
    told: Rc<RefCell<Vec<Cleaned>>>,
    bound: Rc<RefCell<Vec<BTreeSet<IpAddr>>>>,
    is_alive: Rc<Cell<bool>>,
}

impl FlowCleanup for Cleanup {
    fn changed(&self, before: Option<Arc<Ruleset>>, after: Arc<Ruleset>) {
        self.told.borrow_mut().push(Cleaned { before, after });
    }

    fn bound(&self, addresses: BTreeSet<IpAddr>) {
        self.bound.borrow_mut().push(addresses);
    }

    fn is_alive(&self) -> bool {
        self.is_alive.get()
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

/// Interfaces that a test chooses.
#[derive(Clone, Default)]
pub struct Seen {
    pub network: Rc<RefCell<NodeNetwork>>,
    pub findings: Rc<RefCell<Vec<BindingFinding>>>,
    /// Why they cannot be listed.
    pub problem: Rc<RefCell<Option<String>>>,
    /// What the Node object says of ranges, all the time; `None`: it is not asked.
    pub node: Option<NodeRanges>,
    /// What the loop remembered from the kernel.
    pub claims: Rc<RefCell<Option<Claims>>>,
    /// The last look.
    looked: Option<(NodeNetwork, Vec<BindingFinding>)>,
}

impl Interfaces for Seen {
    fn remember(&mut self, claims: Claims, _: OrdSet<PodRange>) {
        *self.claims.borrow_mut() = Some(claims);
    }

    fn pods(&mut self, _: Vec<Arc<Pod>>) {}

    fn place(&mut self, _: Vec<Placement>) {}

    fn look(&mut self) -> Result<(), String> {
        if let Some(problem) = &*self.problem.borrow() {
            return Err(problem.clone());
        }
        self.looked = Some((self.network.borrow().clone(), self.findings.borrow().clone()));
        Ok(())
    }

    fn network(&self) -> Option<&NodeNetwork> {
        self.looked.as_ref().map(|(network, _)| network)
    }

    fn lacks(&self) -> Option<String> {
        None
    }

    fn node_ranges(&self) -> Option<&NodeRanges> {
        self.node.as_ref()
    }

    fn findings(&self) -> &[BindingFinding] {
        self.looked.as_ref().map_or(&[], |(_, findings)| findings)
    }

    fn is_alive(&self) -> bool {
        true
    }
}

/// Tells of IPVS alone.
struct Around {
    network: Rc<RefCell<NodeNetwork>>,
    looks: Rc<RefCell<Vec<(u64, bool)>>>,
    clock: Arc<ManualClock>,
}

impl Surroundings<Kernel> for Around {
    fn look(&mut self, _: Instant, kernel: &mut Kernel, _: &[IpAddr], status: &Status) {
        let judges = |table: &Ruleset| table.chains.contains_key(&scaffold::ipvs::base_chain());
        let is_judged = kernel.model.borrow().table().is_some_and(judges);
        match self.network.borrow().ipvs && !is_judged {
            true => status.fails(Condition::Services, "IPVS is not judged"),
            false => status.holds(Condition::Services),
        }
        let holds = status.problem(Condition::Services).is_none();
        self.looks.borrow_mut().push((self.clock.ms(), holds));
    }
}

/// What will happen, and what was seen.
pub struct Bench {
    pub kernel: Kernel,
    pub cleaned: Rc<RefCell<Vec<Cleaned>>>,
    pub cleanup_is_alive: Rc<Cell<bool>>,
    /// Why the node was not ready, at each [`Self::look`].
    pub seen: Rc<RefCell<Vec<Option<String>>>>,
    /// Addresses that were bound for the first time, in groups.
    pub bound: Rc<RefCell<Vec<BTreeSet<IpAddr>>>>,
    /// What the loop sees of the node's interfaces.
    pub interfaces: Seen,
    /// When the loop looked at the node around the table, and whether what IPVS forwards was
    /// judged or there was none.
    pub looks: Rc<RefCell<Vec<(u64, bool)>>>,
    happenings: Vec<(Duration, Happening)>,
    /// The name of the node that the loop is told.
    pub node: &'static str,
    clock: Arc<ManualClock>,
    status: Status,
    metrics: Arc<Metrics>,
    /// Whether only the pods of node `node` are local; otherwise all are.
    is_on_node: bool,
    /// What policies may take.
    pub budgets: Budgets,
    /// What Events are about.
    pub problems: watch::Sender<Problems>,
}

impl Bench {
    /// Nothing happens yet.
    pub fn new(model: Model) -> Self {
        let clock = Arc::new(ManualClock::default());
        Self {
            kernel: Kernel::new(model, Arc::clone(&clock)),
            cleaned: Rc::default(),
            cleanup_is_alive: Rc::new(Cell::new(true)),
            seen: Rc::default(),
            bound: Rc::default(),
            interfaces: Seen::default(),
            looks: Rc::default(),
            happenings: Vec::new(),
            node: "node",
            clock,
            status: Status::new(),
            metrics: Arc::new(Metrics::new()),
            is_on_node: false,
            budgets: Budgets::default(),
            problems: watch::channel(Problems::new()).0,
        }
    }

    /// Only the pods of node `node` are local.
    pub fn on_node(self) -> Self {
        Self { is_on_node: true, ..self }
    }

    /// A bench that lists the model's cluster at the start.
    pub fn listed(model: Model) -> Self {
        let mut bench = Self::new(model);
        for kind in Kind::ALL {
            bench.event(0, list(kind));
        }
        bench
    }

    /// A watch sends this.
    pub fn event(&mut self, ms: u64, event: Event) {
        self.at(ms, Happening::Event(event));
    }

    /// Others do this to the kernel.
    pub fn others(&mut self, ms: u64, act: impl FnOnce(&mut Model) + 'static) {
        self.at(ms, Happening::Others(Box::new(act)));
    }

    /// Checks the readiness.
    pub fn look(&mut self, ms: u64) {
        self.at(ms, Happening::Look);
    }

    /// The thread of the watches ends.
    pub fn die(&mut self, ms: u64) {
        self.at(ms, Happening::Died);
    }

    fn at(&mut self, ms: u64, happening: Happening) {
        self.happenings.push((Duration::from_millis(ms), happening));
    }

    /// Runs the loop until this moment. Returns its result.
    pub fn run(&mut self, until_ms: u64) -> Result<(), ThreadDied> {
        self.at(until_ms, Happening::Stop);
        let mut happenings = std::mem::take(&mut self.happenings);
        happenings.sort_by_key(|(at, _)| *at);
        let inbox = Script {
            happenings: happenings.into(),
            clock: Arc::clone(&self.clock),
            model: Rc::clone(&self.kernel.model),
            status: self.status.clone(),
            seen: Rc::clone(&self.seen),
        };
        let cleanup = Cleanup {
            told: Rc::clone(&self.cleaned),
            bound: Rc::clone(&self.bound),
            is_alive: Rc::clone(&self.cleanup_is_alive),
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let node = self.is_on_node.then(|| self.node.to_owned());
        let options = Options { node, budgets: self.budgets, ..Options::default() };
        let pipeline = Pipeline::new(self.kernel.clone(), options);
        Enforcer::new(Parts {
            inbox: Box::new(inbox),
            clock: Arc::clone(&clock),
            pipeline: pipeline.with_clock(clock),
            flow_cleanup: Some(Box::new(cleanup)),
            interfaces: Box::new(self.interfaces.clone()),
            binding: BindingOptions::default(),
            surroundings: Box::new(Around {
                network: Rc::clone(&self.interfaces.network),
                looks: Rc::clone(&self.looks),
                clock: Arc::clone(&self.clock),
            }),
            problems: self.problems.clone(),
            status: self.status.clone(),
            metrics: Arc::clone(&self.metrics),
            node: self.node.to_owned(),
            boot_file: None,
            cni: None,
        })
        .run()
    }

    /// The loop's present moment.
    pub fn ms(&self) -> u64 {
        self.clock.ms()
    }

    /// Why the node is not ready now.
    pub fn problem(&self) -> Option<String> {
        self.status.problem(Condition::Enforced)
    }

    /// Why addresses are not bound now.
    pub fn bound_problem(&self) -> Option<String> {
        self.status.problem(Condition::Bound)
    }

    /// The conditions, now and later.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// What `/readyz` says.
    pub fn report(&self) -> String {
        self.status.report()
    }

    /// The present value of a metric.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics.text(&self.status).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or("0").parse().unwrap()
    }

    /// Our table.
    pub fn table(&self) -> Option<Ruleset> {
        self.kernel.model.borrow().table().cloned()
    }

    /// Milliseconds between the loop's batches.
    pub fn gaps(&self) -> Vec<u64> {
        self.kernel.trace.borrow().sends.windows(2).map(|two| two[1] - two[0]).collect()
    }
}

/// A list of this kind, from the model's cluster.
pub fn list(kind: Kind) -> Event {
    let objects = objects().into_iter().filter(|object| object.kind() == kind);
    Event::Listed { kind, objects: objects.map(found).collect() }
}

/// The list of this kind is empty.
pub fn empty(kind: Kind) -> Event {
    Event::Listed { kind, objects: Vec::new() }
}

/// A policy of the model's cluster is deleted.
pub fn deleted(name: &str) -> Event {
    Event::Deleted { kind: Kind::NetworkPolicy, key: ObjectKey::new("dev", name) }
}

/// A policy of the model's cluster is added, or added again.
pub fn applied(name: &str) -> Event {
    let is_it = |object: &Object| {
        object.kind() == Kind::NetworkPolicy && object.key() == ObjectKey::new("dev", name)
    };
    Event::Applied(found(objects().into_iter().find(is_it).unwrap()))
}

fn found(object: Object) -> Found {
    Found { object, diagnostics: Vec::new() }
}
