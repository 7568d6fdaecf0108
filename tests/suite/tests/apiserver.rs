//! The tests' API server and its proxy do what they promise.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::Api;
use kube::api::ListParams;
use kubebed::apiserver::ApiServer;
use kubebed::apiserver::proxy::{Proxy, Verb};
use netbed::net::Namespace;
use netbed::testbed::Testbed;
use policy::{ObjectKey, Phase};
use samples::fixtures::deny_all_ingress;
use samples::large;
use samples::testbed_spec::{Families, Network, TestbedSpec};
use serde_json::Value;
use watcher::{Store, api};

/// An API server and its namespace. Fields drop in order, so the server ends first.
struct Shared {
    server: ApiServer,
    namespace: Namespace,
}

/// The server for all tests that do not stop it. The first test starts it, and it
/// ends with the last. Each test uses Kubernetes namespaces of its own.
fn shared() -> Result<Arc<Shared>> {
    static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = shared.upgrade() {
        return Ok(running);
    }
    let namespace = Namespace::new("as")?;
    let start = Instant::now();
    let server = ApiServer::start(&namespace, LOOPBACK)?;
    println!("API server started in {:?}", start.elapsed());
    let started = Arc::new(Shared { server, namespace });
    *shared = Arc::downgrade(&started);
    Ok(started)
}

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A policy that isolates a tenth of the pods.
fn policy(namespace: &str, number: usize) -> NetworkPolicy {
    let app = [("app".to_owned(), format!("app-{}", number % 10))].into();
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(format!("policy-{number}")),
            namespace: Some(namespace.to_owned()),
            ..Default::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector { match_labels: Some(app), ..Default::default() }),
            ..Default::default()
        }),
    }
}

/// A service account that may read pods once both manifests are applied.
fn reader(namespace: &str) -> (String, String) {
    let account = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: reader, namespace: {namespace}}}\n"
    );
    let rights = format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\n\
         metadata: {{name: {namespace}-reader}}\n\
         rules: [{{apiGroups: [''], resources: [pods], verbs: [get, list, watch]}}]\n\
         ---\n\
         apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\n\
         metadata: {{name: {namespace}-reader}}\n\
         roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {namespace}-reader}}\n\
         subjects: [{{kind: ServiceAccount, name: reader, namespace: {namespace}}}]\n"
    );
    (account, rights)
}

fn one_namespace(name: &str) -> TestbedSpec {
    TestbedSpec::new(Network::Bridge, &["node-1"]).namespace(name, &[("team", "a")])
}

#[test]
fn objects_survive_a_server_that_is_killed() -> Result<()> {
    let namespace = Namespace::new("as")?;
    let start = Instant::now();
    let mut server = ApiServer::start(&namespace, LOOPBACK)?;
    println!("started in {:?}", start.elapsed());
    let spec = one_namespace("dev").pod("dev", "a", &[("app", "web")], Families::Both, &[]);
    server.create_cluster(&spec)?;
    server.apply(&deny_all_ingress("dev"))?;

    let proxy = SocketAddr::new(LOOPBACK, 0);
    let proxy = Proxy::start(&server, &namespace, proxy, server.client())?;
    let target = "/api/v1/namespaces/dev/pods/a";
    assert_eq!(Raw::get(&proxy, &namespace, target)?.0, 200);

    server.stop();
    let error = Raw::get(&proxy, &namespace, target).err().context("the proxy answers")?;
    assert_eq!(error.to_string(), "no status line");
    let get = ["get", "networkpolicy", "--namespace", "dev", "--output", "name"];
    let refused = server.kubectl(&get, "")?;
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    let start = Instant::now();
    server.restart()?;
    println!("restarted in {:?}", start.elapsed());

    assert_eq!(Raw::get(&proxy, &namespace, target)?.0, 200);
    let listed = server.kubectl(&get, "")?.success()?;
    assert_eq!(listed, "networkpolicy.networking.k8s.io/deny-all\n");
    let policies: Api<NetworkPolicy> = Api::all(server.client());
    let seen = server.block_on(policies.list(&ListParams::default()))?;
    assert_eq!(seen.items.len(), 1);
    let pods: Api<Pod> = Api::namespaced(server.client(), "dev");
    let pod = server.block_on(pods.get("a"))?;
    let status = pod.status.context("no status")?;
    let seen: Vec<String> = status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()).collect();
    let wanted: Vec<String> = spec.pods[0].addresses.iter().map(IpAddr::to_string).collect();
    assert_eq!(seen, wanted);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    Ok(())
}

#[test]
fn what_a_program_said_is_in_the_error() -> Result<()> {
    let shared = shared()?;
    // The ports are taken.
    let error = ApiServer::start(&shared.namespace, LOOPBACK).err().context("it started")?;
    let said = format!("{error:#}");
    assert!(
        said.contains(" ended: exit status: 1") && said.contains("address already in use"),
        "{said}"
    );
    Ok(())
}

#[test]
fn pods_change_and_go() -> Result<()> {
    let shared = shared()?;
    let server = &shared.server;
    let spec = one_namespace("changing").pod("changing", "a", &[("x", "1")], Families::V4, &[]);
    server.create_cluster(&spec)?;
    let mut pod = spec.pods().remove(0);
    pod.phase = Phase::Succeeded;
    server.set_pods_status(&[pod.clone()])?;
    let labels = [("y".to_owned(), "2".to_owned())].into();
    server.relabel_pods(&[(pod.key.clone(), labels)])?;
    let pods: Api<Pod> = Api::namespaced(server.client(), "changing");
    let seen = server.block_on(pods.get("a"))?;
    assert_eq!(seen.status.and_then(|status| status.phase).as_deref(), Some("Succeeded"));
    assert_eq!(seen.metadata.labels, Some([("y".to_owned(), "2".to_owned())].into()));

    server.delete_pods(&[pod.key])?;
    assert!(server.block_on(pods.get_opt("a"))?.is_none());
    server.delete_namespace("changing")?;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(server.client());
    assert!(server.block_on(namespaces.get_opt("changing"))?.is_none());
    let missing = ObjectKey::new("default", "nobody");
    assert!(server.delete_pods(&[missing]).is_err());
    Ok(())
}

#[test]
fn a_thousand_pods_are_created_with_status() -> Result<()> {
    let shared = shared()?;
    let server = &shared.server;
    let mut spec = TestbedSpec::new(Network::Bridge, &["n0", "n1", "n2", "n3"]);
    spec = spec.namespace("many", &[]);
    for number in 0..1000 {
        let app = format!("app-{}", number % 10);
        spec = spec.pod("many", &format!("p{number}"), &[("app", &app)], Families::V4, &[]);
    }
    let start = Instant::now();
    server.create_cluster(&spec)?;
    let seconds = start.elapsed().as_secs_f32();
    println!("1000 pods in {seconds:.2} s: {:.0} pods/s", 1000.0 / seconds);
    let policies: Vec<NetworkPolicy> = (0..100).map(|number| policy("many", number)).collect();
    server.create_policies(&policies)?;
    let seen: Api<NetworkPolicy> = Api::namespaced(server.client(), "many");
    assert_eq!(server.block_on(seen.list(&ListParams::default()))?.items.len(), 100);
    assert!(server.create_policies(&policies[..1]).is_err(), "there is one of this name");
    let pods: Api<Pod> = Api::namespaced(server.client(), "many");
    let seen = server.block_on(pods.list(&ListParams::default()))?;
    let addresses = |pod: &Pod| pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    assert_eq!(seen.items.iter().filter_map(addresses).count(), 1000);
    Ok(())
}

#[test]
fn a_cluster_that_is_stored_at_once_is_the_one_that_is_read() -> Result<()> {
    let shared = shared()?;
    let stored = large::sized(1)?;
    shared.server.store_cluster(&stored)?;
    let found = shared.server.block_on(api::list(shared.server.client()))?;
    let store: Store = found.into_iter().map(|found| found.object).collect();
    let read = store.snapshot();
    let name = "ns-0";
    assert_eq!(read.namespaces.get(name), stored.namespaces.get(name));
    let pods = read.pods.values().filter(|pod| pod.key.namespace == name);
    // The time of their creation and the uid are the server's.
    let attachment = policy::Attachment::default();
    let as_sent = |pod: &policy::Pod| policy::Pod {
        created: 0,
        attachment: attachment.clone(),
        ..pod.clone()
    };
    let pods: Vec<_> = pods.map(|pod| as_sent(pod)).collect();
    assert_eq!(pods, stored.pods.values().map(|pod| (**pod).clone()).collect::<Vec<_>>());
    let policies = read.policies.values().filter(|policy| policy.key.namespace == name);
    let policies =
        policies.map(|one| policy::NetworkPolicy { uid: String::new(), ..(**one).clone() });
    let expected = stored.policies.values().map(|one| (**one).clone());
    assert_eq!(policies.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_service_account_has_the_rights_it_is_given() -> Result<()> {
    let shared = shared()?;
    let server = &shared.server;
    server.apply_namespaces(&one_namespace("rights").namespaces())?;
    assert!(server.service_account_kubeconfig("rights", "reader").is_err(), "not there yet");
    let (account, rights) = reader("rights");
    server.apply(&account)?;
    let kubeconfig = server.service_account_kubeconfig("rights", "reader")?;
    let kubeconfig = kubeconfig.to_str().context("the path is not UTF-8")?;
    let get = ["--kubeconfig", kubeconfig, "get", "pods", "--namespace", "rights"];
    let refused = server.kubectl(&get, "")?;
    assert_ne!(refused.code, Some(0));
    assert!(refused.stderr.contains("Forbidden"), "{refused:#?}");
    server.apply(&rights)?;
    server.kubectl(&get, "")?.success()?;

    let folder = server.service_account_folder("rights", "reader")?;
    assert_eq!(std::fs::read_to_string(folder.join("namespace"))?, "rights");
    let authority = std::fs::read_to_string(folder.join("ca.crt"))?;
    assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"));
    let token = std::fs::read_to_string(folder.join("token"))?;
    assert_eq!(token.split('.').count(), 3, "a JSON web token has three parts");
    Ok(())
}

/// A request without a client library, so that nothing repairs errors.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn get(proxy: &Proxy, namespace: &Namespace, target: &str) -> Result<(u16, Self)> {
        let address = proxy.address();
        let mut stream = namespace.run(|| TcpStream::connect(address))??;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.write_all(Self::request(target).as_bytes())?;
        let mut raw = Self(BufReader::new(stream));
        let status = raw.line()?.context("no status line")?;
        let code = status.split(' ').nth(1).context("no status")?.parse()?;
        while !raw.line()?.context("no end of the head")?.is_empty() {}
        Ok((code, raw))
    }

    fn request(target: &str) -> String {
        format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    }

    /// The next line; `None` at the end of the connection.
    fn line(&mut self) -> Result<Option<String>> {
        let mut line = String::new();
        let read = match self.0.read_line(&mut line) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            read => read?,
        };
        Ok((read > 0).then(|| line.trim_end().to_owned()))
    }

    /// The next line with JSON. The lines between hold chunk sizes.
    fn event(&mut self) -> Result<Value> {
        loop {
            let line = self.line()?.context("the watch ended")?;
            if line.starts_with('{') {
                return Ok(serde_json::from_str(&line)?);
            }
        }
    }

    /// The name of the object of the next event.
    fn name(&mut self) -> Result<String> {
        let event = self.event()?;
        Ok(event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned())
    }
}

/// A proxy for a service account that may read pods in this new namespace.
fn proxied(shared: &Shared, name: &str) -> Result<Proxy> {
    let Shared { server, namespace } = shared;
    server.apply_namespaces(&one_namespace(name).namespaces())?;
    let (account, rights) = reader(name);
    server.apply(&format!("{account}---\n{rights}"))?;
    let client = server.service_account_client(name, "reader")?;
    Proxy::start(server, namespace, SocketAddr::new(LOOPBACK, 0), client)
}

fn create_pod(server: &ApiServer, namespace: &str, name: &str) -> Result<()> {
    let spec = one_namespace(namespace).pod(namespace, name, &[], Families::V4, &[]);
    server.create_pods(&spec.pods())
}

#[test]
fn the_proxy_forwards_counts_and_refuses() -> Result<()> {
    let shared = shared()?;
    let proxy = proxied(&shared, "counted")?;
    let kubeconfig = proxy.kubeconfig()?;
    let kubeconfig = kubeconfig.to_str().context("the path is not UTF-8")?;
    let get = ["--kubeconfig", kubeconfig, "get", "--namespace", "counted"];
    let get = |resource| shared.server.kubectl(&[&get[..], &[resource]].concat(), "");
    create_pod(&shared.server, "counted", "a")?;
    assert!(get("pods")?.success()?.contains("a "));
    assert_eq!(proxy.count(Verb::List, "pods"), 1);
    let refused = get("secrets")?;
    assert!(refused.stderr.contains("system:serviceaccount:counted:reader"), "{refused:#?}");

    let before = proxy.traffic();
    let target = "/api/v1/namespaces/counted/pods/a";
    let (code, mut raw) = Raw::get(&proxy, &shared.namespace, target)?;
    assert_eq!(code, 200);
    let mut body = Vec::new();
    raw.0.read_to_end(&mut body)?;
    let after = proxy.traffic();
    assert_eq!(after.received - before.received, Raw::request(target).len() as u64);
    assert!(after.sent - before.sent > body.len() as u64, "{before:?} {after:?}");
    assert_eq!(proxy.calls().last().context("no call")?.path, target);

    proxy.refuse()?;
    let error = Raw::get(&proxy, &shared.namespace, target).err().context("it listens")?;
    assert!(format!("{error:#}").contains("refused"), "{error:#}");
    proxy.accept()?;
    assert_eq!(Raw::get(&proxy, &shared.namespace, target)?.0, 200);
    Ok(())
}

#[test]
fn the_proxy_cuts_holds_and_expires_watches() -> Result<()> {
    let shared = shared()?;
    let proxy = proxied(&shared, "watched")?;
    let target = "/api/v1/namespaces/watched/pods?watch=true";
    let (code, mut watch) = Raw::get(&proxy, &shared.namespace, target)?;
    assert_eq!(code, 200);
    assert_eq!(proxy.count(Verb::Watch, "pods"), 1);
    assert_eq!((proxy.watches(Some("pods")), proxy.watches(Some("namespaces"))), (1, 0));
    create_pod(&shared.server, "watched", "a")?;
    assert_eq!(watch.name()?, "a");
    assert_eq!(watch.name()?, "a", "its status");

    proxy.hold("pods");
    create_pod(&shared.server, "watched", "b")?;
    // Long enough: an event that is not held arrives within milliseconds.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(proxy.expire(Some("namespaces")), 0);
    assert_eq!(proxy.expire(Some("pods")), 1);
    let event = watch.event()?;
    assert_eq!(event["type"], "ERROR", "a held event got through: {event}");
    let status = &event["object"];
    assert_eq!((&status["code"], &status["reason"]), (&410.into(), &"Expired".into()));
    // The end of the last chunk, the end of all chunks, and the end of the
    // connection.
    while let Some(line) = watch.line()? {
        assert!(matches!(line.as_str(), "" | "0"), "a watch continues after 410: {line}");
    }

    let (_, mut watch) = Raw::get(&proxy, &shared.namespace, target)?;
    proxy.release("pods");
    let mut names = [watch.name()?, watch.name()?];
    names.sort();
    assert_eq!(names, ["a", "b"]);
    proxy.cut()?;
    while watch.line()?.is_some() {}
    assert_eq!(proxy.watches(None), 0);
    Ok(())
}

#[test]
fn the_proxy_can_be_a_server_without_watch_lists() -> Result<()> {
    let shared = shared()?;
    let proxy = proxied(&shared, "old")?;
    let target = "/api/v1/namespaces/old/pods?watch=true&sendInitialEvents=true\
                  &resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let (code, mut watch) = Raw::get(&proxy, &shared.namespace, target)?;
    assert_eq!(code, 200);
    assert_eq!(watch.event()?["type"], "BOOKMARK");
    proxy.without_watch_list(true);
    let (code, mut refused) = Raw::get(&proxy, &shared.namespace, target)?;
    assert_eq!(code, 422);
    let mut body = String::new();
    refused.0.read_to_string(&mut body)?;
    let status: Value = serde_json::from_str(&body)?;
    assert_eq!((&status["reason"], &status["code"]), (&"Invalid".into(), &422.into()));
    Ok(())
}

#[test]
fn nodes_reach_a_server_on_the_switch() -> Result<()> {
    let spec = TestbedSpec::new(Network::Bridge, &["node-1", "node-2"]);
    let testbed = Testbed::new(spec, "as")?;
    for v6 in [true, false] {
        let address = testbed.services_address(v6)?;
        assert_eq!(testbed.services_address(v6)?, address);
        let server = ApiServer::start(testbed.switch(), address)?;
        for node in testbed.nodes() {
            let kubectl = kubebed::apiserver::program("kubectl")?;
            let mut command = node.namespace.command(kubectl);
            command.arg("--kubeconfig").arg(server.admin_kubeconfig());
            command.args(["get", "--raw", "/version"]).env("NO_PROXY", "*");
            let version = netbed::program::finish(command, "")?.success()?;
            ensure!(version.contains("gitVersion"), "{version}");
        }
    }
    Ok(())
}

/// A cluster without a controller, so that the Deployments have no pods.
const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: plugin}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: front, namespace: plugin}
spec:
  selector: {matchLabels: {app: front}}
  template:
    metadata: {labels: {app: front}}
    spec: {containers: [{name: c, image: none}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: plugin}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: c, image: none, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: plugin}
spec: {selector: {app: cart}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: cart, namespace: plugin}
spec:
  podSelector: {matchLabels: {app: cart}}
  ingress: [{from: [{podSelector: {matchLabels: {app: front}}}], ports: [{port: http}]}]
";

#[test]
fn kubectl_finds_the_plugin_and_it_reads_the_cluster() -> Result<()> {
    let shared = shared()?;
    shared.server.apply(SHOP)?;
    let plugin = netbed::program::beside("kubectl-nftpol")?;
    let folder = plugin.parent().context("a folder")?.display().to_string();
    let kubectl = |words: &[&str]| {
        let mut command = shared.namespace.command(kubebed::apiserver::program("kubectl")?);
        command.arg("nftpol").args(words).env("PATH", format!("{folder}:/usr/bin:/bin"));
        command.env("KUBECONFIG", shared.server.admin_kubeconfig()).env("NO_PROXY", "*");
        netbed::program::finish(command, "")
    };
    let version = kubectl(&["version", "-o", "json"])?.success()?;
    let version: Value = serde_json::from_str(&version)?;
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    let allowed = kubectl(&["explain", "-n", "plugin", "deploy/front", "svc/cart:80"])?;
    let text = allowed.success()?;
    ensure!(
        text.starts_with("ALLOWED  plugin/deploy/front -> plugin/deploy/cart  TCP 8080"),
        "{text}"
    );
    let denied = kubectl(&["explain", "-n", "plugin", "deploy/cart", "deploy/front:80"])?;
    let text = denied.success()?;
    ensure!(text.contains("nothing isolates either end"), "{text}");
    let denied = kubectl(&["explain", "internet", "svc/plugin/cart:80"])?;
    assert_eq!(denied.code, Some(2), "{denied:?}");
    ensure!(denied.stderr.contains("is of type ClusterIP"), "{denied:?}");
    let denied = kubectl(&["explain", "plugin/cart", "plugin/cart:8080"])?;
    assert_eq!(denied.code, Some(0), "a pod reaches itself: {denied:?}");
    Ok(())
}
