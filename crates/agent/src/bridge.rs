//! The forward hook sees bridged packets only while a sysctl is on.
//!
//! In: the interfaces of this network namespace, addresses of pods.
//! Out: which packets are not seen, and how to fix that. Never: a changed
//! sysctl, except by [`Bridges::ensure_seen`].

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::sys::socket::SockaddrStorage;

use agent::report;

/// Per network namespace (Documentation/networking/ip-sysctl.rst,
/// "/proc/sys/net/bridge/*"). They exist while `br_netfilter` is loaded.
const SYSCTLS: [&str; 2] = [
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
];

/// How often to look again. A CNI creates its bridge with a node's first pod.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Makes sure that bridged packets are seen.
#[derive(Debug, Default)]
pub struct Bridges {
    looked: Option<Instant>,
    /// Warnings are not repeated while they stay true.
    warned: BTreeSet<String>,
}

impl Bridges {
    /// Turns the sysctls on where they are off and there are bridges, and
    /// reports it. Where that fails, reports what stays unseen and how to fix
    /// it. Cheap to call often.
    pub fn ensure_seen(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let mut warnings = BTreeSet::new();
        if bridges().is_none_or(|bridges| !bridges.is_empty()) {
            warnings.extend(SYSCTLS.iter().filter_map(|path| turn_on(path)));
        }
        for warning in warnings.difference(&self.warned) {
            report::warning(warning);
        }
        self.warned = warnings;
    }
}

/// Why packets between these pods are not seen, if a bridge holds the pods.
/// Changes nothing.
pub fn unseen(pods: &[IpAddr]) -> Vec<String> {
    let holding = match bridges() {
        Some(bridges) => bridges.into_iter().find(|bridge| holds(bridge, pods)),
        None => Some("a bridge, if there is one,".to_owned()),
    };
    let Some(bridge) = holding.filter(|_| !pods.is_empty()) else { return Vec::new() };
    SYSCTLS
        .iter()
        .filter_map(|path| read(path))
        .map(|problem| format!("{bridge} holds pods and {problem}"))
        .collect()
}

/// Why packets between pods of one bridge would not be seen. Changes nothing.
pub fn not_seen() -> Vec<String> {
    SYSCTLS.iter().filter_map(|path| read(path)).collect()
}

/// Turns a sysctl on. Returns a warning if that fails.
fn turn_on(path: &str) -> Option<String> {
    let problem = read(path)?;
    if fs::read_to_string(path).is_err() {
        return Some(problem);
    }
    match fs::write(path, "1") {
        Ok(()) => {
            report::notice(format_args!(
                "set {}=1: without it packets between pods of one bridge go unseen",
                sysctl(path)
            ));
            None
        }
        Err(error) => Some(format!("{problem} (it cannot be set from here: {error})")),
    }
}

/// What is wrong with a sysctl; `None` when it is on.
fn read(path: &str) -> Option<String> {
    let name = sysctl(path);
    match fs::read_to_string(path) {
        Ok(value) if value.trim() != "0" => None,
        Ok(_) => Some(format!(
            "{name} is 0: packets between pods of one bridge are not filtered; run \
             `sysctl -w {name}=1` on the host"
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Some(format!(
            "{name} does not exist: packets between pods of one bridge are not filtered; load \
             the module br_netfilter on the host"
        )),
        Err(error) => Some(format!("{name} cannot be read ({error})")),
    }
}

fn sysctl(path: &str) -> String {
    path.trim_start_matches("/proc/sys/").replace('/', ".")
}

/// The bridges of this network namespace. sysfs shows the namespace it was
/// mounted in, /proc/self/net the one we are in. `None` where the two differ.
fn bridges() -> Option<Vec<String>> {
    let devices = fs::read_to_string("/proc/self/net/dev").ok()?;
    let ours: BTreeSet<&str> = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    let shown: BTreeSet<String> = fs::read_dir("/sys/class/net")
        .ok()?
        .flatten()
        // Beside interfaces there are control files, such as bonding_masters.
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let same = shown.len() == ours.len() && shown.iter().all(|name| ours.contains(name.as_str()));
    let is_bridge = |name: &String| fs::exists(format!("/sys/class/net/{name}/bridge"));
    same.then(|| shown.into_iter().filter(|name| is_bridge(name).unwrap_or(true)).collect())
}

/// Whether a bridge holds one of these pods: it has an address in their subnet,
/// as their gateway has, or it has no address but ports.
fn holds(bridge: &str, pods: &[IpAddr]) -> bool {
    let Ok(all) = getifaddrs() else { return true };
    let subnets: Vec<Subnet> =
        all.filter(|one| one.interface_name == bridge).filter_map(|one| Subnet::of(&one)).collect();
    if subnets.is_empty() {
        let ports = fs::read_dir(format!("/sys/class/net/{bridge}/brif"));
        return ports.is_ok_and(|mut ports| ports.next().is_some());
    }
    pods.iter().any(|pod| subnets.iter().any(|subnet| subnet.contains(*pod)))
}

/// An interface's address and its mask, in host order.
struct Subnet {
    is_v4: bool,
    address: u128,
    mask: u128,
}

impl Subnet {
    /// `None` for a link-local address: every interface has one.
    fn of(interface: &InterfaceAddress) -> Option<Self> {
        let address = address(interface.address.as_ref()?)?;
        let mask = number(self::address(interface.netmask.as_ref()?)?);
        let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let subnet = Self { is_v4: address.is_ipv4(), address: number(address), mask };
        (!link_local).then_some(subnet)
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_v4 && number(address) & self.mask == self.address & self.mask
    }
}

fn address(socket: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = socket.as_sockaddr_in().map(|v4| v4.ip().into());
    v4.or_else(|| socket.as_sockaddr_in6().map(|v6| v6.ip().into()))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
