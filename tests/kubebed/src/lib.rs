//! The Kubernetes of the tests, without a container engine or a registry.
//!
//! | module | what for |
//! |---|---|
//! | [`apiserver`] | etcd and kube-apiserver, clients of them, objects by the thousand |
//! | [`apiserver::proxy`] | sits before the API server and misbehaves on command |
//! | [`daemon`] | `nftpol agent` as a process |
//! | [`world`] | a testbed whose nodes run agents that watch an API server |
//! | [`outpost`] | a shooting range whose node gets its policies from an API server |
//! | [`kubernetes`] | a whole cluster: control plane, kubelets, pods, faults |
//! | [`upstream`] | Kubernetes' own tests of NetworkPolicy, run against that cluster |
//! | [`image`], [`rootfs`] | container images and root file systems of one program |
//! | [`other_build`] | `nftpol` with other tables, to upgrade to |
//! | [`container`] | runs the image as the DaemonSet's container runtime does |
//!
//! Never: a right that `manifests/` does not give to the agent.

pub mod apiserver;
pub mod container;
pub mod daemon;
pub mod image;
pub mod kubernetes;
pub mod other_build;
pub mod outpost;
pub mod rootfs;
pub mod upstream;
pub mod world;
