//! Configuration files for containerd, kubelet, kube-proxy and flannel.
//! They are the same on all nodes wherever they can be.

use std::path::Path;

use samples::testbed_spec::TestbedSpec;
use serde_json::{Value, json};

use super::{Backend, Options, PAUSE, Proxy};

/// Where containerd listens, in each node.
pub(super) const SOCKET: &str = "/run/containerd/containerd.sock";
/// `config.toml`, for containerd 1.6 and later 1.x.
pub(super) fn containerd(networks: &Path, plugins: &Path) -> String {
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
         bin_dir = \"{}\"\n\
         conf_dir = \"{}\"\n",
        plugins.display(),
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
