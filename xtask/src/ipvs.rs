//! Tries what IPVS forwards with real packets, on a kernel of Debian under qemu.
//!
//! In: who sets IPVS up; the package of a kernel, the built `nftpol`. Out: the counts of the
//! scripts in `ipvs/`. Fails if a packet goes wrong. Takes some minutes: qemu emulates the
//! processor.
//! Never: a change to this machine's kernel or network. Its files are seen in the virtual
//! machine, and nothing is written to them.
//!
//! ```text
//! apt-get download ─▶ target/vm/kernel ─┬─ vmlinuz ──────────────┐
//! busybox-static, modules for 9p ───────┴─▶ target/vm/initrd ────┴─▶ qemu ─▶ init ─▶ command ─▶ trial.sh
//!                    API server, for a real proxy and a real agent ◀── eth0 ──┘
//! ```

mod probe;
mod vm;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cargo::Cargo;
use crate::{PROGRAMS, kube, setup};
use vm::{LAST_WORD, Vm};

/// What no socket or rule of the trial loads by itself. `crc32c_generic` comes first: another
/// module asks for its algorithm, not for its name.
const MODULES: &str = "crc32c_generic veth dummy nf_tables nf_conntrack nft_ct nft_fib_inet \
                       nft_fib_ipv4 nft_fib_ipv6 nft_masq nft_chain_nat nft_limit nft_log \
                       nfnetlink_log bridge br_netfilter";

/// What a proxy's rules need beside, and the wire to the API server.
const OF_PROXIES: &str = "virtio_net nft_compat xt_comment xt_mark xt_set xt_MASQUERADE xt_nat \
                          xt_conntrack xt_addrtype xt_tcpudp xt_REDIRECT ipt_REJECT ip6t_REJECT \
                          ip_set ip_set_hash_ip ip_set_hash_net ip_set_hash_ipport \
                          ip_set_hash_ipportip ip_set_hash_ipportnet ip_set_bitmap_port";

/// The node, its pods and who reaches whom. Then what one trial does with them.
const NET: &str = include_str!("ipvs/net.sh");
const BY_HAND: &str = include_str!("ipvs/trial.sh");
const BY_PROXY: &str = include_str!("ipvs/proxy.sh");
/// The objects.
const OBJECTS: [(&str, &str); 2] = [
    ("pods.yaml", include_str!("ipvs/pods.yaml")),
    ("services.yaml", include_str!("ipvs/services.yaml")),
];

/// Who sets IPVS up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By<'a> {
    /// `ipvsadm`, called by the trial.
    Hand,
    /// A proxy of Kubernetes, from Services. This is the name of its program, and more options
    /// of the agent beside it.
    Proxy(&'static str, &'a [&'a str]),
}

/// Runs a trial, or what it calls.
pub fn run(args: &[String]) -> Result<()> {
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => trial(By::Hand),
        ["kube-proxy", ref options @ ..] => trial(By::Proxy("kube-proxy", options)),
        ["kube-router", ref options @ ..] => trial(By::Proxy("kube-router", options)),
        ["serve"] => probe::serve(),
        ["ask"] => probe::ask(),
        ["hammer", address, until] => probe::hammer(address, Path::new(until)),
        _ => {
            bail!("`ipvs` takes nothing, or `kube-proxy` or `kube-router` and options of the agent")
        }
    }
}

fn trial(by: By<'_>) -> Result<()> {
    setup::packages_of_vm()?;
    let cargo = Cargo::default();
    cargo.run(PROGRAMS)?;
    let target = cargo.target_folder()?;
    let folder = target.join("vm");
    let is_connected = by != By::Hand;
    let mut before = Vec::new();
    if let By::Proxy(name, _) = by {
        setup::packages_of_nodes()?;
        kube::build(&cargo, &kube::SERVER)?;
        let proxies = if name == "kube-router" { &kube::KUBE_ROUTER } else { &kube::NODES };
        kube::build(&cargo, proxies)?;
        let beside = target.join("debug/beside_kube");
        before = [&beside, &folder].map(|path| path.display().to_string()).to_vec();
    }
    let vm = Vm { folder, before, is_connected };
    fs::create_dir_all(&vm.folder).context("make a folder for the virtual machine")?;
    let release = vm.kernel()?;
    vm.initrd(&release)?;
    let rest = if is_connected { BY_PROXY } else { BY_HAND };
    vm.write("trial.sh", &[NET, rest].concat())?;
    for (name, content) in OBJECTS {
        vm.write(name, content)?;
    }
    vm.write("command", &command(&vm.folder, &release, &target, by)?)?;
    vm.boot(&release)
}

/// What the virtual machine runs once it sees this machine's files.
fn command(folder: &Path, release: &str, target: &Path, by: By<'_>) -> Result<String> {
    let (folder, target) = (folder.display(), target.display());
    let chores = std::env::current_exe().context("find this program")?;
    // A real proxy starts on a node that has no IPVS yet.
    let (more, proxy, options) = match by {
        By::Hand => ("ip_vs ip_vs_rr", "", String::new()),
        By::Proxy(name, options) => (OF_PROXIES, name, options.join(" ")),
    };
    Ok(format!(
        "mkdir -p /usr/lib/modules
ln -sfn {folder}/kernel/lib/modules/{release} /usr/lib/modules/{release}
ln -sf /run/vm/modprobe /usr/sbin/modprobe
echo /sbin/modprobe >/proc/sys/kernel/modprobe
for module in {MODULES} {more}; do /run/vm/modprobe $module || echo \"no module $module\"; done
export HERE={folder} NFTPOL={target}/debug/nftpol XTASK={} KUBE={target}/kube PROXY={proxy} OPTIONS='{options}'
sh {folder}/trial.sh
echo \"{LAST_WORD} $?\"
",
        chores.display()
    ))
}
