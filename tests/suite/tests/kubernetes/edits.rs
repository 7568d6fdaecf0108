//! Policies and labels are edited with kubectl. After each edit, packets do what the
//! specification says about the objects as they are then.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use netbed::testbed::Endpoint;
use serde_json::{Value, json};

use crate::scene::{HTTP, Scene, Try, hold, namespace, pod, policy};

/// The pods that connect: two in the server's namespace, one in another.
const CLIENTS: [&str; 3] = ["edits/near", "edits/far", "edits-other/guest"];

impl Scene {
    pub fn edits(&mut self) -> Result<()> {
        self.put(&[
            namespace("edits", json!({})),
            namespace("edits-other", json!({})),
            pod("edits/server", "node-1", json!({"app": "server"}))?,
            pod(CLIENTS[0], "node-1", json!({}))?,
            pod(CLIENTS[1], "node-2", json!({}))?,
            pod(CLIENTS[2], "node-2", json!({}))?,
        ])?;
        self.pods_ready("edits")?;
        self.pods_ready("edits-other")?;
        let clients = CLIENTS.map(|name| self.kubernetes.pod(name));
        let clients: Vec<Endpoint> = clients.into_iter().collect::<Result<_>>()?;
        let server = self.kubernetes.pod("edits/server")?;
        for (words, input, passes) in edits()? {
            let words: Vec<&str> = words.split(' ').collect();
            self.kubernetes.kubectl(&words, &input)?.success()?;
            let what = words.join(" ");
            let mut tries = Vec::new();
            for &v6 in self.kubernetes.options().families() {
                let to = SocketAddr::new(server.address(v6).context("no such address")?, HTTP);
                let each = clients.iter().zip(passes);
                tries.extend(each.map(|(from, passes)| Try {
                    what: format!("{} after {what}", from.name),
                    from,
                    to,
                    passes,
                }));
            }
            hold(&tries).with_context(|| format!("with {input}"))?;
            self.say(&format!("{what}: {passes:?}"));
        }
        self.remove(&["edits", "edits-other"])
    }
}

/// Arguments of kubectl, its input, and which of [`CLIENTS`] pass afterwards.
fn edits() -> Result<Vec<(&'static str, String, [bool; 3])>> {
    const APPLY: &str = "apply -f -";
    let only = |peer: Value, port: u16| {
        let rule = json!({"from": [peer], "ports": [{"protocol": "TCP", "port": port}]});
        let server = json!({"matchLabels": {"app": "server"}});
        let spec = json!({"podSelector": server, "ingress": [rule]});
        Ok::<_, anyhow::Error>(policy("edits/only", spec)?.to_string())
    };
    let friend = json!({"podSelector": {"matchLabels": {"role": "friend"}}});
    let (none, quiet) = ([false; 3], String::new);
    Ok(vec![
        (APPLY, only(friend.clone(), HTTP)?, none),
        ("-n edits label pod far role=friend", quiet(), [false, true, false]),
        ("-n edits label pod near role=foe", quiet(), [false, true, false]),
        ("-n edits label pod near role=friend --overwrite", quiet(), [true, true, false]),
        ("-n edits label pod far role-", quiet(), [true, false, false]),
        (APPLY, only(friend.clone(), HTTP + 1)?, none),
        (APPLY, only(friend, HTTP)?, [true, false, false]),
        (
            "-n edits patch networkpolicy only --type=json --patch=[{\"op\":\"add\",\"path\":\
             \"/spec/ingress/0/from/-\",\"value\":{\"namespaceSelector\":{\"matchLabels\":\
             {\"team\":\"blue\"}}}}]",
            quiet(),
            [true, false, false],
        ),
        ("label namespace edits-other team=blue", quiet(), [true, false, true]),
        ("label namespace edits-other team=red --overwrite", quiet(), [true, false, false]),
        ("label namespace edits team=blue", quiet(), [true, true, false]),
        (
            "-n edits patch networkpolicy only --type=merge --patch={\"spec\":{\"ingress\":[]}}",
            quiet(),
            none,
        ),
        ("-n edits label pod server app=other --overwrite", quiet(), [true; 3]),
        ("-n edits label pod server app=server --overwrite", quiet(), none),
        ("-n edits delete networkpolicy only", quiet(), [true; 3]),
    ])
}
