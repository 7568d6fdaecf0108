//! `nftpol restore`: what a node that starts forwards, with each kind of file.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, SystemTime};

use agent::boot_file::BootRecord;
use anyhow::{Result, ensure};
use netbed::net::Namespace;
use netbed::program::{self, Finished};
use policy::{PodRange, pod_ranges};
use samples::scratch::Folder;

use super::support::{generation, good, listing, nft, nftpol};

const DAY: Duration = Duration::from_secs(86_400);
const SHUT: &str = "all new flows that this node forwards are dropped";

fn record() -> BootRecord {
    let nets = ["10.244.1.0/24", "fd00:10:244:1::/64"].map(str::parse);
    let ranges = pod_ranges(nets.into_iter().flatten());
    BootRecord { node: "node-1".to_owned(), written: SystemTime::now(), ranges }
}

fn restore(namespace: &Namespace, folder: &Folder, text: &str) -> Result<Finished> {
    let path = folder.path().join("boot");
    fs::write(&path, text)?;
    program::run(namespace, &["restore", "--file", &path.display().to_string()], "")
}

#[test]
fn a_good_file_shuts_its_ranges_and_any_other_shuts_all() -> Result<()> {
    let folder = Folder::new("restore")?;
    let good = record().text();
    let old = BootRecord { written: SystemTime::now() - 40 * DAY, ..record() };
    let ahead = BootRecord { written: SystemTime::now() + 3 * DAY, ..record() };
    let cases = [
        (good.clone(), None),
        (String::new(), Some("the file is damaged")),
        (good[..good.len() / 2].to_owned(), Some("the file is damaged")),
        (good.replace("10.244.1.0", "10.244.9.0"), Some("the sum is another one")),
        (good.replacen("file 1", "file 7", 1), Some("the file has form 7")),
        (old.text(), Some("40 days ago, more than --max-age")),
        (ahead.text(), Some("from the future")),
    ];
    for (text, problem) in cases {
        let namespace = Namespace::new("rs")?;
        let done = restore(&namespace, &folder, &text)?;
        let rules = nft(&namespace, &["list", "table", "inet", "nftpol"], "")?;
        match problem {
            None => {
                assert_eq!(done.code, Some(0), "{done:#?}");
                ensure!(done.stdout.contains("node-1") && done.stdout.contains("10.244.1.0"));
                ensure!(rules.contains("ip saddr 10.244.1.0-10.244.1.254"), "{rules}");
                ensure!(!rules.contains("saddr 0.0.0.0/1"), "{rules}");
            }
            Some(problem) => {
                assert_eq!(done.code, Some(1), "{done:#?}");
                ensure!(done.stderr.contains(problem) && done.stderr.contains(SHUT), "{done:#?}");
                ensure!(rules.contains("ip saddr 0.0.0.0/1 jump"), "{rules}");
                ensure!(rules.contains("ip6 daddr 8000::/1 jump"), "{rules}");
            }
        }
        // It stays, and a second run leaves it alone.
        let before = generation(&namespace)?;
        let again = restore(&namespace, &folder, &good)?;
        assert_eq!(again.code, Some(0), "{again:#?}");
        ensure!(again.stdout.contains("is here already"), "{again:#?}");
        assert_eq!(generation(&namespace)?, before);
    }
    let namespace = Namespace::new("rs")?;
    let missing = program::run(&namespace, &["restore", "--file", "/nowhere/boot"], "")?;
    assert_eq!(missing.code, Some(1), "{missing:#?}");
    ensure!(missing.stderr.contains("/nowhere/boot") && missing.stderr.contains(SHUT));
    Ok(())
}

/// Rules that enforce are never replaced by coarser ones.
#[test]
fn what_enforces_stays() -> Result<()> {
    let (namespace, folder) = (Namespace::new("rs")?, Folder::new("restore")?);
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let before = listing(&namespace)?;
    restore(&namespace, &folder, "damaged")?.success()?;
    assert_eq!(listing(&namespace)?, before);
    // What `apply` knows takes the place of a restored table.
    program::run(&namespace, &["cleanup"], "")?.success()?;
    restore(&namespace, &folder, &record().text())?.success()?;
    nftpol(&namespace, &["apply"], &good())?.success()?;
    let after = listing(&namespace)?;
    ensure!(!after.contains("unknown.from4 {"), "still shut: {after}");
    let same = nftpol(&namespace, &["diff"], &good())?;
    assert_eq!(same.code, Some(0), "{same:#?}");
    Ok(())
}

/// `nft list ruleset > /etc/nftables.conf` while nftpol runs, and a start: the rules of that
/// time isolate that time's pods.
#[test]
fn a_saved_ruleset_does_not_take_the_place_of_what_is_shut() -> Result<()> {
    let (namespace, folder) = (Namespace::new("rs")?, Folder::new("restore")?);
    nftpol(&namespace, &["apply"], &good())?.success()?;
    // What an older kernel or a newer `nft` would write of the table's flags.
    let saved = nft(&namespace, &["list", "ruleset"], "")?;
    let saved: Vec<&str> = saved.lines().filter(|line| line.trim() != "flags").collect();
    let start = Namespace::new("rs")?;
    nft(&start, &["-f", "-"], &saved.join("\n"))?;
    let path = folder.path().join("boot");
    fs::write(&path, record().text())?;
    let file = path.display().to_string();
    let at_start = ["restore", "--replace", "--file", &file];
    let done = program::run(&start, &at_start, "")?;
    assert_eq!(done.code, Some(0), "{done:#?}");
    ensure!(done.stderr.contains("nftables.conf"), "{done:#?}");
    let rules = nft(&start, &["list", "table", "inet", "nftpol"], "")?;
    ensure!(rules.contains("ip saddr 10.244.1.0-10.244.1.254 jump"), "{rules}");
    // An agent that is at work keeps its table, and none keeps a node open.
    let _agent = start.run(hold_the_lock)??;
    let busy = program::run(&start, &at_start, "")?;
    ensure!(busy.stdout.contains("is here already"), "{busy:#?}");
    let other = Namespace::new("rs")?;
    let _other = other.run(hold_the_lock)??;
    let taken = program::run(&other, &at_start, "")?;
    ensure!(taken.code == Some(0) && taken.stderr.contains("@nftpol"), "{taken:#?}");
    ensure!(nft(&other, &["list", "tables"], "")?.contains("inet nftpol"), "open");
    Ok(())
}

/// As an agent does, or any process of the node's network.
fn hold_the_lock() -> std::io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name("nftpol")?)
}

/// The table means what the specification says of a node that knows nothing, and closes
/// what is beside the pods, too. Of that, listener discovery passes, as while a pod is
/// isolated.
#[test]
fn the_table_is_proved() -> Result<()> {
    let all = compiler::boot::everything();
    let some = record().ranges;
    for ranges in [some, all] {
        let table = compiler::boot::closed(&ranges, Some(compiler::LogOptions::default()), true);
        let network = policy::NodeNetwork {
            pod_ranges: ranges.clone(),
            unknown_pods: policy::UnknownPods::Closed,
            ..policy::NodeNetwork::default()
        };
        let nothing = policy::Snapshot::default();
        let aside = std::collections::BTreeSet::new();
        let report = verify::verify(&nothing, None, &aside, &network, &table, None)?;
        for difference in &report.differences {
            let is_discovery = difference.rule.as_deref().is_some_and(|rule| rule.contains("@mld"));
            let is_closed = difference.got == ruleset::simulator::Outcome::Drop || is_discovery;
            ensure!(is_closed, "open: {difference}");
        }
        ensure!(report.bound_differences.is_empty(), "{:?}", report.bound_differences);
        ensure!(ranges.iter().all(|one: &PodRange| one.first <= one.last));
    }
    Ok(())
}
