//! Bridged packets are seen by the forward hook only while a sysctl says so.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::report;

/// Per network namespace (Documentation/networking/ip-sysctl.rst,
/// "/proc/sys/net/bridge/*"); there when `br_netfilter` is.
const SYSCTLS: [&str; 2] = [
    "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "/proc/sys/net/bridge/bridge-nf-call-ip6tables",
];

/// How often to look again; a CNI makes its bridge with a node's first pod.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Sees to it that bridged packets are seen.
#[derive(Debug, Default)]
pub struct Bridges {
    looked: Option<Instant>,
    /// Warnings are not repeated while they stay true.
    warned: BTreeSet<String>,
}

impl Bridges {
    /// Turns the sysctls on where they are off and there are bridges; says so.
    /// Where that fails, says what stays unseen and how to mend it. Cheap to
    /// call again and again.
    pub fn ensure_seen(&mut self) {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_EVERY) {
            return;
        }
        self.looked = Some(Instant::now());
        let mut warnings = BTreeSet::new();
        if has_bridge() {
            warnings.extend(SYSCTLS.iter().filter_map(|path| turn_on(path)));
        }
        for warning in warnings.difference(&self.warned) {
            report::warning(warning);
        }
        self.warned = warnings;
    }
}

/// Turns a sysctl on; what is to be said if that cannot be done.
fn turn_on(path: &str) -> Option<String> {
    let name = path.trim_start_matches("/proc/sys/").replace('/', ".");
    match fs::read_to_string(path) {
        Ok(value) if value.trim() != "0" => None,
        Ok(_) => match fs::write(path, "1") {
            Ok(()) => {
                report::notice(format_args!(
                    "set {name}=1: without it packets between pods of one bridge go unseen"
                ));
                None
            }
            Err(error) => Some(format!(
                "{name} is 0 and cannot be set ({error}): packets between pods of one bridge are \
                 not filtered; run `sysctl -w {name}=1` on the host"
            )),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Some(format!(
            "{name} does not exist: packets between pods of one bridge are not filtered; load \
             the module br_netfilter"
        )),
        Err(error) => Some(format!("{name} cannot be read ({error})")),
    }
}

/// Whether a bridge is in this network namespace. sysfs shows the namespace
/// it was mounted in, /proc/self/net the one we are in: where the two differ,
/// there may be one.
fn has_bridge() -> bool {
    let Ok(devices) = fs::read_to_string("/proc/self/net/dev") else { return true };
    let ours: Vec<&str> = devices
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim())
        .collect();
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return true };
    let shown: Vec<_> = entries.flatten().collect();
    let same = shown.len() == ours.len()
        && shown.iter().all(|entry| ours.iter().any(|name| entry.file_name() == **name));
    !same || shown.iter().any(|entry| entry.path().join("bridge").exists())
}
