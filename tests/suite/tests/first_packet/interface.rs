//! The interface that ADD names is the pod's when ADD ends, whatever others show.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use compiler::Layout;
use kubebed::world::PATIENCE;
use nft::Kernel;
use policy::Claims;
use ruleset::{TableFamily, TableId};
use serde_json::json;

use super::failures::{node, soon, world};
use super::newcomer::{ANSWERS, NODE, Newcomer};
use netbed::net::Namespace;

/// The names of the node's interfaces that the kernel binds to an address.
fn bound(node: &Namespace, address: IpAddr) -> Result<Vec<String>> {
    let mut kernel = node.run(Kernel::open)??;
    let mut tables = Vec::new();
    for family in [TableFamily::Inet, TableFamily::Bridge] {
        let id = TableId { family, name: compiler::scaffold::table() };
        tables.extend(kernel.dump(&id)?.map(|dump| dump.ruleset));
    }
    let Claims(claims) = Layout::claims(&tables);
    let holders = claims.iter().filter(|(_, claim)| claim.addresses.contains(&address));
    let name = |index: u32| {
        let found = node.run(|| nix::net::if_::if_indextoname(index))?;
        let name = found.with_context(|| format!("interface {index}"))?;
        Ok(name.to_string_lossy().into_owned())
    };
    // Where packets are routed, all pods of a bridge are behind it.
    let names: Result<Vec<String>> = holders.map(|(index, _)| name(index.0)).collect();
    Ok(names?.into_iter().filter(|name| name != "cni0").collect())
}

/// Without the plugin's word nobody would have the address: two interfaces show it, and no
/// object tells whose namespace the attacker's is.
#[test]
fn the_victims_address_is_its_interfaces_when_add_ends_though_another_showed_it_first() -> Result<()>
{
    let world = world()?;
    let node = node(&world)?;
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    // Its address is not reported, and it was there before.
    let attacker = Newcomer::new(node, 40)?;
    let victim = Newcomer::new(node, 41)?;
    attacker.namespace.ip(&format!("address add {}/32 dev eth0", victim.address))?;
    world.server.create_pods(&[attacker.object(false), victim.object(false)])?;
    victim.call(node, "ADD", &json!({}))?.success()?;
    assert_eq!(bound(node, victim.address)?, ["new41"], "when ADD ended");
    world.server.set_pods_status(&[victim.object(true)])?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(bound(node, victim.address)?, ["new41"], "once it is reported");
    // The victim's own end loses the address, and the attacker shows it still.
    victim.namespace.ip(&format!("address del {}/24 dev eth0", victim.address))?;
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(bound(node, victim.address)?, ["new41"], "while its interface is there");
    agent.stop().map(drop)
}

/// A pod of a StatefulSet is made again under its name, and the watch does not tell yet.
#[test]
fn a_pod_of_a_former_ones_name_is_isolated_until_its_own_object_is_known() -> Result<()> {
    use super::runtime::Runtime;
    let world = world()?;
    let runtime = Runtime::new(&world)?;
    runtime.installer(&["install"])?.status()?;
    let mut agent = world.agent(NODE, &[ANSWERS])?;
    agent.ready_within(PATIENCE)?;
    // No policy selects the former one, and the API server gives it a uid.
    let former = policy::Pod { labels: policy::Labels::new(), ..super::newcomer::object("db-0") };
    world.server.create_pods(std::slice::from_ref(&former))?;
    let later = runtime.sandbox("db-0", 7)?;
    let added = runtime.call("ADD", &later, &[])?;
    ensure!(added.code == Some(0), "{added:?}");
    let address = super::runtime::address(&added)?;
    let node = node(&world)?;
    ensure!(super::failures::is_isolated(node, address)?, "the former pod's labels count");
    // DEL, and the same name without a uid, as of a runtime that tells none.
    runtime.call("DEL", &later, &[])?.success()?;
    soon("forgotten", || Ok(!super::failures::is_isolated(node, address)?))?;
    let unknown = super::runtime::Sandbox { uid: String::new(), ..later };
    let added = runtime.call("ADD", &unknown, &[])?;
    ensure!(added.code == Some(0), "{added:?}");
    let address = super::runtime::address(&added)?;
    ensure!(!super::failures::is_isolated(node, address)?, "by its name it is the former one");
    agent.stop().map(drop)
}
