//! Which capabilities it takes.

use std::process::Command;

use nft::links::{LinkEvent, LinkEvents};

use crate::bed::{Namespace, global, ips, on_node, port, read};

/// Set in the process that has fewer capabilities.
const CAPABILITIES: &str = "NFTPOL_TEST_CAPABILITIES";

/// Runs this test's program in a node's namespace with these capabilities alone.
fn run_with(node: &Namespace, capabilities: &str) {
    let set = if capabilities.is_empty() { "-all".into() } else { format!("-all,{capabilities}") };
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("nsenter")
        .args([&format!("--net={}", node.path), "setpriv", "--inh-caps=-all"])
        .arg(format!("--bounding-set={set}"))
        .arg(program)
        .args(["--exact", "rights::net_admin_alone_is_enough", "--nocapture"])
        .env(CAPABILITIES, capabilities)
        .output()
        .expect("nsenter(1), setpriv(1)");
    assert!(output.status.success(), "with {capabilities:?}: {output:?}");
}

/// The test, and, in the processes that it starts, what they try.
#[test]
fn net_admin_alone_is_enough() {
    match std::env::var(CAPABILITIES).as_deref() {
        Err(_) => on_node(|node| {
            let (pod, with_users) = (Namespace::pod(), Namespace::pod_with_users());
            pod.wire(node, "port", &["10.0.0.2/24"]);
            node.ip(&format!("link add users type veth peer name eth0 netns {}", with_users.path));
            with_users.ip("addr add 10.0.0.3/24 dev eth0");
            run_with(node, "+net_admin");
            run_with(node, "");
        }),
        Ok("+net_admin") => {
            let links = read();
            assert_eq!(global(port(&links, "port")), ips(&["10.0.0.2"]));
            assert_eq!(global(port(&links, "users")), ips(&["10.0.0.3"]));
            let mut events = LinkEvents::open().expect("open");
            let waited = events.wait(std::time::Duration::from_millis(1));
            assert_eq!(waited.expect("wait"), LinkEvent::Timeout);
        }
        Ok(_) => {
            let links = read();
            assert!(!port(&links, "port").is_readable, "{links:?}");
            assert!(port(&links, "port").addresses.is_empty(), "{links:?}");
        }
    }
}
