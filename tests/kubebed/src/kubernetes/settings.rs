//! Configuration files for containerd, kubelet, kube-proxy and the CNI plugins.
//! They are the same on all nodes wherever they can be.

use std::path::Path;

use samples::testbed_spec::TestbedSpec;
use serde_json::{Value, json};

use super::{Backend, Network, Options, PAUSE, Proxy};

/// Where containerd listens, in each node.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";
/// Where the plugins of Debian's containernetworking-plugins are.
const PLUGINS: &str = "/usr/lib/cni";

/// The name of the pods' network in the plugins, and the folder of its addresses.
pub(super) const NETWORK: &str = "pods";

/// `config.toml`, for containerd 1.6 and later 1.x.
pub(super) fn containerd(networks: &Path) -> String {
    format!(
        "version = 2\n\
         root = \"/var/lib/containerd\"\n\
         state = \"/run/containerd\"\n\
         [grpc]\n\
         address = \"{SOCKET}\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = \"{PAUSE}\"\n\
         # Without CAP_SYS_RESOURCE nobody may make himself harder to kill.\n\
         restrict_oom_score_adj = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
         bin_dir = \"{PLUGINS}\"\n\
         conf_dir = \"{}\"\n",
        networks.display()
    )
}

/// A kubelet's (`kubelet.config.k8s.io/v1beta1`).
pub(super) fn kubelet(authority: &Path) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{SOCKET}"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": authority},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "oomScoreAdj": 0,
        // The disk belongs to the machine. Other programs fill it, and no pod may
        // be evicted for that.
        "evictionHard": {
            "memory.available": "10Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "resolvConf": "",
        "registerWithTaints": [],
    })
}

/// kube-proxy's (`kubeproxy.config.k8s.io/v1alpha1`).
pub(super) fn proxy(options: &Options, node: &str, kubeconfig: &Path, pods: &[String]) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": match options.proxy {
            Proxy::Nftables => "nftables",
            Proxy::Iptables => "iptables",
        },
        "hostnameOverride": node,
        "clientConnection": {"kubeconfig": kubeconfig},
        "clusterCIDR": pods.join(","),
        // These are limits of the whole machine. Do not set them from here.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    })
}

/// The list of plugins that connects a node's pods, with addresses from these
/// ranges, as in flannel and kubenet (cni.dev/plugins/current/main).
pub(super) fn network(options: &Options, ranges: &[String]) -> Value {
    let ranges_of_pods: Vec<Value> =
        ranges.iter().map(|range| json!([{"subnet": range}])).collect();
    let all = ranges.iter().map(|range| if range.contains(':') { "::/0" } else { "0.0.0.0/0" });
    let routes: Vec<Value> = all.map(|all| json!({"dst": all})).collect();
    let ipam = json!({
        "type": "host-local",
        "ranges": ranges_of_pods,
        "routes": routes,
    });
    let plugin = match options.network {
        Network::Bridge | Network::Flannel(_) => json!({
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "ipMasq": false,
            "hairpinMode": true,
            "mtu": mtu(options.network),
            "ipam": ipam,
        }),
        Network::Ptp => json!({"type": "ptp", "ipMasq": false, "ipam": ipam}),
    };
    // For hostPort, as in flannel's list.
    let ports = json!({"type": "portmap", "capabilities": {"portMappings": true}});
    json!({"cniVersion": "1.0.0", "name": NETWORK, "plugins": [plugin, ports]})
}

/// The longest packet that a pod may send, in bytes: what a wire carries, without
/// flannel's headers (overhead in pkg/backend of flannel 0.28).
fn mtu(network: Network) -> u32 {
    const WIRE: u32 = 1500;
    match network {
        Network::Bridge | Network::Ptp | Network::Flannel(Backend::HostGw) => WIRE,
        Network::Flannel(Backend::Udp) => WIRE - 28,
        // IPv6 headers are 20 bytes longer than IPv4 headers.
        Network::Flannel(Backend::Vxlan | Backend::VxlanDirect) => WIRE - 70,
    }
}

/// flannel's `net-conf.json` (Documentation/configuration.md of flannel 0.28).
pub(super) fn flannel(options: &Options, backend: Backend) -> Value {
    let backend = match backend {
        Backend::Vxlan => json!({"Type": "vxlan"}),
        Backend::VxlanDirect => json!({"Type": "vxlan", "DirectRouting": true}),
        Backend::HostGw => json!({"Type": "host-gw"}),
        Backend::Udp => json!({"Type": "udp"}),
    };
    let mut config = json!({
        "EnableIPv4": true,
        "Network": TestbedSpec::pods_range(false),
        "Backend": backend,
    });
    if options.dual_stack {
        config["EnableIPv6"] = true.into();
        config["IPv6Network"] = TestbedSpec::pods_range(true).into();
    }
    config
}
