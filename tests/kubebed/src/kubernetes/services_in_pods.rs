//! Services translated in the pods' own namespaces, for networks past the node.
//!
//! In: the API server's Services and their endpoints. Out: in each pod's namespace a table
//! `ip services`, which translates what the pod sends. It stands for a proxy there: the
//! node's own one sees no answer of pods with macvlan, because that goes straight to who
//! asked. Never: a rule that lets a packet pass or drops one; IPv6, which upstream's specs
//! do not ask for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result};
use netbed::program;
use serde_json::Value;

use super::Kubernetes;

/// Between two looks at the API server.
const EVERY: Duration = Duration::from_millis(500);

impl Kubernetes {
    /// Does something while Services are translated in all pods, those of later included.
    ///
    /// # Errors
    /// As what is done.
    pub fn with_services_in_pods<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut known = BTreeMap::new();
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = self.translate(&mut known) {
                        eprintln!("Services in pods: {error:#}");
                    }
                    sleep(EVERY);
                }
            });
            let done = work();
            stop.store(true, Ordering::Relaxed);
            done
        })
    }

    /// One look. `known`: what each pod's namespace has.
    fn translate(&self, known: &mut BTreeMap<PathBuf, String>) -> Result<()> {
        let words = ["get", "services,endpointslices", "--all-namespaces", "-o", "json"];
        let objects: Value =
            serde_json::from_str(&self.kubectl(&words, "")?.success()?).context("read Services")?;
        let text = table(objects["items"].as_array().map_or(&[], Vec::as_slice));
        let nodes = self.cluster.spec().nodes.iter();
        let folders =
            nodes.map(|node| self.namespaces_of_pods(node)).collect::<Result<Vec<_>>>()?;
        for path in folders.into_iter().flatten() {
            if known.get(&path) == Some(&text) {
                continue;
            }
            let mut command = Command::new("nsenter");
            command.arg(format!("--net={}", path.display())).args(["nft", "-f", "-"]);
            // A namespace that ended meanwhile needs none.
            if program::finish(command, &text)?.success().is_ok() {
                known.insert(path, text.clone());
            }
        }
        Ok(())
    }
}

/// The table: for each port of a Service the first ready endpoint.
fn table(objects: &[Value]) -> String {
    let mut elements = String::new();
    for service in objects.iter().filter(|one| one["kind"] == "Service") {
        let Some(address) = service["spec"]["clusterIP"].as_str() else { continue };
        if !address.contains('.') {
            continue;
        }
        for port in service["spec"]["ports"].as_array().into_iter().flatten() {
            let Some((own, number)) = endpoint(objects, service, &port["name"]) else { continue };
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_lowercase();
            let _ =
                writeln!(elements, "{address} . {protocol} . {} : {own} . {number},", port["port"]);
        }
    }
    if elements.is_empty() {
        return "table ip services {}\ndelete table ip services\n".to_owned();
    }
    format!(
        "table ip services {{}}\ndelete table ip services\ntable ip services {{\nmap endpoints {{ \
         type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; elements = {{ \
         {elements} }} }}\nchain output {{ type nat hook output priority -100; meta l4proto \
         {{ tcp, udp }} dnat ip to ip daddr . meta l4proto . th dport map @endpoints\n}}\n}}\n"
    )
}

/// Address and port of a Service's endpoint for the port of this name.
fn endpoint(objects: &[Value], service: &Value, port: &Value) -> Option<(String, u64)> {
    let of = |slice: &&Value| {
        slice["kind"] == "EndpointSlice"
            && slice["addressType"] == "IPv4"
            && slice["metadata"]["namespace"] == service["metadata"]["namespace"]
            && slice["metadata"]["labels"]["kubernetes.io/service-name"]
                == service["metadata"]["name"]
    };
    let name = |written: &Value| written.as_str().unwrap_or_default().to_owned();
    objects.iter().filter(of).find_map(|slice| {
        let mut ports = slice["ports"].as_array()?.iter();
        let number = ports.find(|one| name(&one["name"]) == name(port))?["port"].as_u64()?;
        let mut ends = slice["endpoints"].as_array()?.iter();
        let end = ends.find(|one| one["conditions"]["ready"] == true)?;
        Some((end["addresses"][0].as_str()?.to_owned(), number))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_service_leads_to_its_ready_endpoint() {
        let objects = [
            json!({
                "kind": "Service",
                "metadata": {"namespace": "x", "name": "s"},
                "spec": {"clusterIP": "10.96.0.7", "ports": [
                    {"name": "u", "protocol": "UDP", "port": 81}
                ]},
            }),
            json!({
                "kind": "EndpointSlice",
                "addressType": "IPv4",
                "metadata": {"namespace": "x", "labels": {"kubernetes.io/service-name": "s"}},
                "ports": [{"name": "u", "port": 8081}],
                "endpoints": [
                    {"addresses": ["10.244.1.2"], "conditions": {"ready": false}},
                    {"addresses": ["10.244.1.3"], "conditions": {"ready": true}},
                ],
            }),
        ];
        let text = table(&objects);
        assert!(text.contains("10.96.0.7 . udp . 81 : 10.244.1.3 . 8081,"), "{text}");
        assert!(!table(&objects[..1]).contains("chain"));
    }
}
