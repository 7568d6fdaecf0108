//! Everything that can go wrong, again and again, drawn from a seed.
//!
//! The real agent enforces on a node of network namespaces. It watches a real API server
//! through a proxy that lags, cuts, repeats, reorders and lies. Beside that the agent is
//! killed, stopped and starved, and others change the kernel's tables. Objects change all
//! the time.
//!
//! What must hold:
//! * **Never is an isolated pod open.** Packets are sent all the time, to a pod that nobody
//!   may reach and from a pod that may reach nobody.
//! * **After each fault, within a stated time, the kernel's tables are proved right** against
//!   the objects that the API server truly has, with what is kept of objects that are gone.
//!   Until then the node may be visibly not ready; ready and wrong it may be for 15 seconds,
//!   and for 100 after a watch that fell silent without an end.
//! * A node that is not ready names the condition.
//! * An agent that runs answers: no fault hangs it until a liveness probe would end it.
//! * A pod that is not isolated is reached whenever the table is proved.
//!
//! What is not in the plan, because an isolated pod may rightly be open then:
//!
//! | what | why |
//! |---|---|
//! | lists that look complete and lack a policy of the pods that packets are sent between | nobody can tell such a list from a true one. Policies of others are left out, and the next true list mends it |
//! | events that are lost, without a list later | the same. The agent lists anew after some hours; here a list follows each such lie |
//! | objects whose content is false and can be read | what the API server says is the truth |
//! | a table without an owner that is deleted while the agent does not run | root may delete what it likes, and nobody is there who could restore it |
//! | a Namespace that is gone | what is kept of its policies depends on which watch told first. `suite --test histories` proves that |
//!
//! While the agent runs, packets may get through for up to three seconds after others
//! have deleted the rules of a table that has no owner (`--table-owner=off`). How long they
//! did is counted.

mod dice;
mod fault;
mod kubelet;
mod machine;
mod oracle;
mod scene;
mod witness;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use kubebed::apiserver::proxy::Proxy;
use kubebed::world::World;
use netbed::net::Namespace;

use dice::Dice;
use fault::Fault;
use kubelet::Kubelet;
use machine::Machine;
pub use machine::Tally;
use oracle::Oracle;
use scene::{DEV, NODE, Scene};
use witness::{Must, Witness};

use crate::interrupt;

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The same seed gives the same faults and changes.
    pub seed: u64,
    /// For how long.
    pub length: Duration,
    /// Only faults that heal within seconds.
    pub quick: bool,
    /// Instead of all faults: lists that look complete and lack policies. No run can end
    /// well then, which shows that it would be seen.
    pub untrue: bool,
    /// Only these faults, by the words in which they are counted; all if there is none.
    pub only: Vec<String>,
}

/// Carries out a plan. Prints each step.
///
/// # Errors
/// Something did not hold. The error has the seed, the step, the fault and the end of the
/// agent's log.
pub fn run(plan: Plan) -> Result<Tally> {
    let Plan { seed, length, quick, untrue, only } = plan;
    println!("seed {seed}");
    // One for each purpose: how fast the machine is must not change the plan.
    let [mut plan, of_agents, of_faults] = [1, 2, 3].map(|number| Dice::new(seed ^ number << 32));
    let World { server, cluster, .. } = World::without_objects(scene::spec(&mut plan), "ch")?;
    let mut node = Namespace::existing(cluster.endpoint(NODE)?.namespace.name())?;
    node.keep();
    let client = server.service_account_client("kube-system", "nftpol")?;
    let address = "127.0.0.1:0".parse().context("an address")?;
    let proxy = Proxy::start(&server, &node, address, client)?;
    let scene = Scene::new(&server, cluster.spec(), seed)?;
    let mut kubelet = Kubelet::new(&node, &proxy.kubeconfig()?, of_agents);
    kubelet.start(false)?;
    let start = Instant::now();
    let mut machine = Machine {
        server,
        proxy,
        cluster,
        node: &node,
        kubelet,
        scene,
        oracle: Oracle::of(NODE),
        witness: Witness::default(),
        dice: of_faults,
        start,
        tally: Tally::default(),
        looked: start,
        answered: start,
        next_pod: 0,
    };
    let wrap = |error: anyhow::Error, machine: &Machine<'_>, step: usize| {
        anyhow!(
            "seed {seed}, step {step}: {error:#}\n--- the last changes of objects, after the start \
             ---\n{}--- the agent's log ---\n{}",
            machine.scene.lately(start),
            machine.kubelet.last_words()
        )
    };
    machine.begin().map_err(|error| wrap(error, &machine, 0))?;
    machine.witness = witness(&machine)?;
    let mut step = 0;
    while start.elapsed() < length {
        interrupt::check()?;
        step += 1;
        let fault = match untrue {
            true => Fault::untrue(step),
            false => Fault::draw_one_of(&mut plan, quick, &only)
                .with_context(|| format!("no fault is called {}", only.join(" or ")))?,
        };
        println!("{:7.1} s, step {step}: {fault}", start.elapsed().as_secs_f32());
        machine.step(&fault).map_err(|error| wrap(error, &machine, step))?;
    }
    println!("{}", told(&machine));
    Ok(machine.tally)
}

/// Packets that must arrive, and that must not.
fn witness(machine: &Machine<'_>) -> Result<Witness> {
    let pod = |name: &str| machine.cluster.endpoint(&format!("{DEV}/{name}"));
    let mut witness = Witness::default();
    witness.watch(pod("stranger")?, pod("victim")?, Must::NotArrive)?;
    witness.watch(machine.cluster.endpoint("outsider")?, pod("victim")?, Must::NotArrive)?;
    witness.watch(pod("prisoner")?, pod("control")?, Must::NotArrive)?;
    witness.watch(pod("stranger")?, pod("control")?, Must::Arrive)?;
    Ok(witness)
}

fn told(machine: &Machine<'_>) -> String {
    let Machine { tally, witness, scene, kubelet, start, .. } = machine;
    let [closed, open, arrived] = witness.counts();
    let mut text = String::new();
    let all = tally.faults.iter().chain(&tally.conditions);
    for (name, count) in all {
        let _ = writeln!(text, "{count:6}  {name}");
    }
    let _ = write!(
        text,
        "{} faults in {:.0} s, {} changes of objects, {} starts of the agent ({} after it ended \
         for lack of memory or files)\n{} proofs of {} isolated addresses, {} of them kept; not \
         ready for {:.1} s\n{closed} packets to and from isolated pods, of which none arrived \
         but {} while others had deleted a table without an owner ({:.0} ms at most)\n{arrived} \
         of {open} packets to a pod that is not isolated\nslowest to heal: {:.1} s, after {}",
        tally.faults.values().sum::<usize>(),
        start.elapsed().as_secs_f64(),
        scene.changes,
        kubelet.starts,
        tally.deaths,
        tally.proofs,
        tally.addresses,
        tally.kept,
        tally.not_ready.as_secs_f64(),
        witness.excused_packets,
        witness.longest_excused.as_secs_f64() * 1000.0,
        tally.slowest.0.as_secs_f64(),
        tally.slowest.1,
    );
    text
}
