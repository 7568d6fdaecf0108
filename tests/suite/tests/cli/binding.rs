//! What commands bind to the interfaces of the network namespace that they run in.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use netbed::net::{Namespace, veth};
use netbed::program::{self, Finished};
use netbed::testbed::{Endpoint, Testbed};
use samples::fixtures::{self, isolated_victim, victim_and};
use samples::scratch::Folder;
use samples::testbed_spec::Network;

use super::support::{UNBOUND, Watcher, good, listing, nft};

/// Three pods, one of them isolated.
struct Node {
    testbed: Testbed,
    folder: Folder,
}

impl Node {
    fn new(network: Network) -> Result<Self> {
        let testbed = Testbed::new(victim_and("web", network), "cl")?;
        let folder = Folder::new("cli")?;
        let objects = testbed.spec().manifests() + "---\n" + &isolated_victim("Ingress");
        std::fs::write(folder.path().join("all.yaml"), objects)?;
        Ok(Self { testbed, folder })
    }

    fn namespace(&self) -> Result<&Namespace> {
        Ok(&self.testbed.nodes().next().context("a node")?.namespace)
    }

    fn pod(&self, name: &str) -> Result<&Endpoint> {
        self.testbed.endpoint(&format!("dev/{name}"))
    }

    fn nftpol(&self, command: &[&str]) -> Result<Finished> {
        let file = self.folder.path().join("all.yaml").display().to_string();
        let arguments = [command, &["-f", &file, "--node", "node-1"]].concat();
        program::run(self.namespace()?, &arguments, "")
    }

    /// What the kernel has of a set or chain.
    fn shows(&self, what: &[&str]) -> Result<String> {
        nft(self.namespace()?, &[&["list"], what].concat(), "")
    }
}

#[test]
fn what_is_on_the_interfaces_is_applied_shown_proved_and_removed() -> Result<()> {
    for network in [Network::Bridge, Network::Routed] {
        let node = Node::new(network)?;
        let is_bridged = network == Network::Bridge;
        let before = node.nftpol(&["diff", "--rules"])?;
        assert_eq!((before.code, before.stderr.as_str()), (Some(1), ""), "{network:?}");
        let bridge = before.stdout.contains("+ table bridge nftpol\n");
        assert_eq!(bridge, is_bridged, "{}", before.stdout);
        assert!(before.stdout.contains("+ chain bind\n"), "{}", before.stdout);

        let applied = node.nftpol(&["apply"])?;
        assert_eq!(applied.code, Some(0), "{network:?}: {applied:#?}");
        let notice = "notice: addresses are bound to the interfaces as they are now: ";
        let is_all = applied.stderr.starts_with(notice) && applied.stderr.lines().count() == 1;
        assert!(is_all, "{}", applied.stderr);
        let tables: Vec<&str> =
            applied.stdout.lines().filter_map(|line| line.split(" configured").next()).collect();
        let both = ["table inet nftpol", "table bridge nftpol"];
        assert_eq!(tables, both[..1 + usize::from(is_bridged)], "{}", applied.stdout);
        let after = node.nftpol(&["diff"])?;
        assert_eq!((after.code, after.stdout.as_str(), after.stderr.as_str()), (Some(0), "", ""));

        let proved = node.nftpol(&["verify", "--kernel"])?;
        assert_eq!(proved.code, Some(0), "{network:?}: {proved:#?}");
        assert!(proved.stdout.contains("; 3 bound ports, "), "{}", proved.stdout);
        assert!(proved.stderr.starts_with("notice: not judged: "), "{}", proved.stderr);

        let removed = program::run(node.namespace()?, &["cleanup"], "")?;
        assert_eq!(removed.stdout.lines().count(), 1 + usize::from(is_bridged), "{removed:?}");
        assert_eq!(listing(node.namespace()?)?, "");
    }
    Ok(())
}

/// By an element that is missing, and by a rule: in either table.
#[test]
fn a_hand_in_the_binding_is_found_shown_and_mended() -> Result<()> {
    let node = Node::new(Network::Bridge)?;
    node.nftpol(&["apply"])?.success()?;
    let whole = listing(node.namespace()?)?;
    for script in [
        "flush set bridge nftpol guarded",
        "flush set bridge nftpol owned4",
        "flush set inet nftpol owned4",
        "flush chain bridge nftpol from",
        "flush chain bridge nftpol to.guarded",
        "flush chain inet nftpol bind",
        "insert rule bridge nftpol from.other accept",
        "delete table bridge nftpol",
    ] {
        nft(node.namespace()?, &[script], "")?;
        let verified = node.nftpol(&["verify", "--kernel"])?;
        assert_eq!(verified.code, Some(1), "{script}: {verified:#?}");
        let shown = node.nftpol(&["diff"])?;
        assert_eq!(shown.code, Some(1), "{script}: {shown:#?}");
        node.nftpol(&["apply"])?.success()?;
        assert_eq!(listing(node.namespace()?)?, whole, "{script}");
        assert_eq!(node.nftpol(&["verify", "--kernel"])?.code, Some(0), "{script}");
    }
    Ok(())
}

/// The tables remember it: no process runs between the two commands.
#[test]
fn an_address_stays_with_the_interface_that_had_it_first() -> Result<()> {
    let node = Node::new(Network::Bridge)?;
    let victim = node.pod("victim")?;
    let address = victim.address(false).context("an address")?;
    node.nftpol(&["apply"])?.success()?;
    let own = node.shows(&["set", "bridge", "nftpol", "own4"])?;

    node.pod("web")?.namespace.ip(&format!("addr add {address}/32 dev eth0"))?;
    // The victim's own is now the newer one.
    victim.namespace.ip(&format!("addr del {address}/24 dev eth0"))?;
    victim.namespace.ip(&format!("addr add {address}/24 dev eth0"))?;
    let applied = node.nftpol(&["apply"])?;
    assert_eq!(applied.code, Some(0), "{applied:#?}");
    let line = applied.stderr.lines().find(|line| line.contains("claims"));
    let line = line.with_context(|| format!("no claim in: {}", applied.stderr))?;
    assert!(line.starts_with("warning: ") && line.contains("dev/web"), "{line}");
    assert_eq!(node.shows(&["set", "bridge", "nftpol", "own4"])?, own);
    Ok(())
}

#[test]
fn pods_without_an_interface_are_named() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    let [cluster, policy] = good().try_into().map_err(|_| anyhow::anyhow!("two files"))?;
    let files = ["-f", &cluster, "-f", &policy, "--node", "node-1"];
    let applied = program::run(&namespace, &[&["apply"], &files[..]].concat(), "")?;
    assert_eq!(applied.code, Some(0), "{applied:#?}");
    let said = format!("{UNBOUND}, so others can send under it: dev/db, dev/web\n");
    assert_eq!(applied.stderr, said);
    Ok(())
}

#[test]
fn the_operator_says_which_pods_are_not_bound() -> Result<()> {
    let node = Node::new(Network::Routed)?;
    node.nftpol(&["apply", "--unbound", "other", "--unbound", "dev/app in (web,third)"])?;
    let owned = node.shows(&["set", "inet", "nftpol", "owned4"])?;
    let is_there = |name: &str| -> Result<bool> {
        let address = node.pod(name)?.address(false).context("an address")?;
        Ok(owned.contains(&address.to_string()))
    };
    assert_eq!((is_there("victim")?, is_there("web")?, is_there("third")?), (true, false, false));

    for (arguments, said) in [
        (["--unbound", "dev/app in web"], "\"app in web\" is not a label requirement"),
        (["--unbound", "Dev"], "\"Dev\" is not the name of a namespace"),
        (["--tunnel", "8472"], "give udp/PORT, such as udp/8472"),
        (["--tunnel", "ip/6"], "IP protocol 6 carries the traffic of pods"),
        (["--tunnel-peer", "node-2"], "invalid IP address syntax"),
        (["--tunnel-sources", "pods"], "possible values: nodes, any"),
        (["--unknown-pods", "shut"], "possible values: open, selected, closed"),
        (["--pod-cidr", "0.0.0.0/0"], "0.0.0.0/0 is more than pods"),
        (["--pod-cidr", "10.244.1.0"], "is not a CIDR, such as"),
    ] {
        let refused = node.nftpol(&[&["apply"], &arguments[..]].concat())?;
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:#?}");
        assert!(refused.stderr.contains(said), "{arguments:?}: {}", refused.stderr);
    }
    Ok(())
}

#[test]
fn tunnels_are_those_that_are_seen_and_those_that_the_operator_names() -> Result<()> {
    let node = Node::new(Network::Routed)?;
    node.namespace()?.ip("link add vx type vxlan id 1 dstport 4789 local 192.168.77.11")?;
    node.nftpol(&["apply", "--tunnel", "udp/8472", "--tunnel", "ip/4"])?.success()?;
    let input = node.shows(&["chain", "inet", "nftpol", "input"])?;
    for part in ["udp dport 4789 ", "udp dport 8472 ", "meta l4proto 4 "] {
        ensure!(
            input.contains(part) || part.ends_with("4 ") && input.contains("ipencap"),
            "{input}"
        );
    }
    assert_eq!(node.nftpol(&["diff", "--tunnel", "udp/8472", "--tunnel", "ip/4"])?.code, Some(0));
    node.namespace()?.ip("link del vx")?;
    node.nftpol(&["apply"])?.success()?;
    let tables = node.shows(&["table", "inet", "nftpol"])?;
    assert!(!tables.contains("udp dport"), "{tables}");
    Ok(())
}

/// The subnet is that of the pods' bridge.
#[test]
fn addresses_that_no_pod_names_are_shut_as_each_command_is_told() -> Result<()> {
    let node = Node::new(Network::Bridge)?;
    let shut = ["--unknown-pods=closed"];
    let applied = node.nftpol(&["apply", shut[0]])?;
    ensure!(applied.code == Some(0), "{applied:?}");
    ensure!(applied.stderr.contains("no network until you apply again"), "{applied:?}");
    let base = node.shows(&["chain", "inet", "nftpol", "forward"])?;
    ensure!(base.contains("ip saddr 10.244.1.0-10.244.1.254 jump unknown.from4"), "{base}");
    assert_eq!(node.nftpol(&["diff", shut[0]])?.code, Some(0));
    assert_eq!(node.nftpol(&["diff"])?.code, Some(1));
    let proved = node.nftpol(&["verify", "--kernel", shut[0]])?;
    ensure!(proved.code == Some(0), "{proved:?}");
    let differs = node.nftpol(&["verify", "--kernel"])?;
    ensure!(differs.code == Some(1), "{differs:?}");
    let open = node.nftpol(&["apply"])?;
    ensure!(!open.stderr.contains("no network until"), "{open:?}");
    ensure!(!node.shows(&["table", "inet", "nftpol"])?.contains("unknown.from4"));
    Ok(())
}

/// This kernel need not have IPVS.
#[test]
fn what_ipvs_forwards_is_judged_as_each_command_is_told() -> Result<()> {
    let node = Node::new(Network::Routed)?;
    let always = "--ipvs=always";
    assert_eq!(node.nftpol(&["apply", always])?.code, Some(0));
    let base = node.shows(&["chain", "inet", "nftpol", "ipvs"])?;
    ensure!(base.contains("hook output") && base.contains("fib saddr type local"), "{base}");
    assert_eq!(node.nftpol(&["diff", always])?.code, Some(0));
    let proved = node.nftpol(&["verify", "--kernel", always])?;
    ensure!(proved.code == Some(0), "{proved:?}");
    nft(node.namespace()?, &["flush chain inet nftpol ipvs"], "")?;
    let differs = node.nftpol(&["verify", "--kernel", always])?;
    ensure!(differs.code == Some(1), "{differs:?}");
    // In audit it is told of what IPVS forwards, too.
    let audit = ["--mode=audit", always];
    assert_eq!(node.nftpol(&["apply", audit[0], audit[1]])?.code, Some(0));
    let base = node.shows(&["chain", "inet", "nftpol", "ipvs"])?;
    ensure!(base.contains("jump audit.ingress4"), "{base}");
    let proved = node.nftpol(&["verify", "--kernel", audit[0], audit[1]])?;
    ensure!(proved.code == Some(0), "{proved:?}");
    Ok(())
}

/// The files stay as they are.
#[test]
fn watch_binds_an_interface_that_comes_later() -> Result<()> {
    let node = Node::new(Network::Bridge)?;
    let file: PathBuf = node.folder.path().join("all.yaml");
    let web = node.pod("web")?;
    let address = web.address(false).context("an address")?.to_string();
    let port = "link set eth0 down\nlink set eth0 name away";
    web.namespace.ip(&format!("addr flush dev eth0\n{port}"))?;
    let watcher = Watcher::start(node.namespace()?, &[&file])?;
    let set = ["set", "bridge", "nftpol", "own4"];
    assert!(!node.shows(&set)?.contains(&address));
    veth((node.namespace()?, "late"), (&web.namespace, "eth0"))?;
    node.namespace()?.ip("link set late master cni0 up")?;
    web.namespace.ip(&format!("addr add {address}/24 dev eth0\nlink set eth0 up"))?;
    watcher.until("it is bound", |_| Ok(node.shows(&set)?.contains(&address)))?;
    nft(node.namespace()?, &["delete table bridge nftpol"], "")?;
    watcher.until("it is restored", |watcher| {
        Ok(watcher.stderr().contains("others changed table bridge nftpol; it is restored"))
    })?;
    assert!(node.shows(&set)?.contains(&address));
    Ok(())
}

/// The table stays where it is: its chain keeps its handle.
#[test]
fn a_table_of_the_version_that_bound_nothing_becomes_ours_in_place() -> Result<()> {
    let namespace = Namespace::new("cl")?;
    nft(&namespace, &["-f", "-"], &fixtures::read("upgrade/before-binding.nft")?)?;
    let handle = || -> Result<String> {
        let listing = nft(&namespace, &["-a", "list", "chain", "inet", "nftpol", "forward"], "")?;
        let line = listing.lines().find(|line| line.contains("chain forward"));
        Ok(line.context("no chain")?.to_owned())
    };
    let before = handle()?;
    let file = fixtures::directory("golden").join("every-field.yaml").display().to_string();
    let [shown, applied, again] = ["diff", "apply", "diff"]
        .map(|command| program::run(&namespace, &[command, "-f", &file, "--node", "n1"], ""));
    assert_eq!((shown?.code, applied?.code), (Some(1), Some(0)));
    let again = again?;
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), ""));
    assert_eq!(handle()?, before);
    Ok(())
}
