//! What authors' commands read of a real API server, and what the optional admission policy
//! makes it say.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use kubebed::apiserver::ApiServer;
use netbed::net::Namespace;
use netbed::program::{self, Finished};
use samples::fixtures;
use serde_json::Value;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A policy with this spec.
fn policy(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, \
         namespace: shop}}\nspec: {spec}\n"
    )
}

/// Policies, each with the warning that it must cause, if any.
const CASES: [(&str, Option<&str>, &str); 17] = [
    (
        "a",
        Some("allows-everything"),
        "{podSelector: {}, ingress: [{from: [{podSelector: {}}]}, {}]}",
    ),
    ("b", None, "{podSelector: {}, ingress: [{}]}"),
    (
        "c",
        Some("api-server-peer"),
        "{podSelector: {}, egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {component: kube-apiserver}}}]}]}",
    ),
    ("d", Some("dns-protocol"), "{podSelector: {}, egress: [{ports: [{port: 53}]}]}"),
    ("e", None, "{podSelector: {}, egress: [{ports: [{port: 53}, {port: 53, protocol: UDP}]}]}"),
    (
        "f",
        None,
        "{podSelector: {}, egress: [{ports: [{port: dns, protocol: UDP}, {port: 80, endPort: 90}]}]}",
    ),
    ("deny-all", Some("name-contradicts"), "{podSelector: {}, ingress: [{}]}"),
    ("deny-egress", None, "{podSelector: {}, ingress: [{}], policyTypes: [Ingress, Egress]}"),
    ("deny-all-but-allow-x", None, "{podSelector: {}, ingress: [{}]}"),
    (
        "g",
        Some("namespace-name-label"),
        "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {name: a}}}]}]}",
    ),
    ("h", Some("policy-types"), "{podSelector: {}, policyTypes: [Ingress], egress: [{}]}"),
    ("i", None, "{podSelector: {}, policyTypes: [Egress]}"),
    (
        "j",
        Some("selector-contradiction"),
        "{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: NotIn, values: [b]}]}}",
    ),
    (
        "k",
        None,
        "{podSelector: {matchLabels: {a: b}, matchExpressions: [{key: a, operator: In, values: [b]}]}}",
    ),
    (
        "l",
        Some("two-peers"),
        "{podSelector: {}, egress: [{to: [{namespaceSelector: {}}, {podSelector: {matchLabels: {k8s-app: kube-dns}}}]}]}",
    ),
    (
        "m",
        None,
        "{podSelector: {}, egress: [{to: [{namespaceSelector: {}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]}]}",
    ),
    ("plain", None, "{podSelector: {}}"),
];

#[test]
fn the_server_warns_of_what_a_policy_shows_by_itself_and_refuses_nothing() -> Result<()> {
    let namespace = Namespace::new("ac")?;
    let server = ApiServer::start(&namespace, LOOPBACK)?;
    let path = fixtures::directory("../../manifests/admission/policy.yaml");
    server.apply(&std::fs::read_to_string(&path)?)?;
    server.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")?;
    // The policy takes effect a moment after it is written.
    let known = policy("wait", "{podSelector: {}, ingress: [{from: []}, {}]}");
    let mut tries = 0;
    while !apply(&server, &known)?.stderr.contains("allows-everything") {
        tries += 1;
        ensure!(tries < 100, "the admission policy has no effect");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    for (name, warning, spec) in CASES {
        let Finished { code, stderr, .. } = apply(&server, &policy(name, spec))?;
        ensure!(code == Some(0), "{name} {spec}: {stderr}");
        match warning {
            Some(id) => ensure!(stderr.contains(&format!(": {id}: ")), "{spec}: {stderr}"),
            None => ensure!(!stderr.contains("nftpol-check"), "{spec}: {stderr}"),
        }
    }
    // The expressions are of the right types.
    let arguments = ["get", "validatingadmissionpolicies", "nftpol-check", "-o", "json"];
    let written: Value = serde_json::from_str(&server.kubectl(&arguments, "")?.success()?)?;
    let faults = &written["status"]["typeChecking"]["expressionWarnings"];
    ensure!(faults.is_null(), "{faults}");
    Ok(())
}

/// Without `--validate`, kubectl prints the warnings alone.
fn apply(server: &ApiServer, text: &str) -> Result<Finished> {
    // Each time as a change, so that it is admitted anew.
    let _ = server.kubectl(&["delete", "--ignore-not-found", "-f", "-"], text)?;
    server.kubectl(&["apply", "-f", "-"], text)
}

#[test]
fn a_cluster_is_read_as_far_as_the_author_may() -> Result<()> {
    let namespace = Namespace::new("ac")?;
    let server = ApiServer::start(&namespace, LOOPBACK)?;
    let folder = fixtures::directory("checks");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).context("a fixture");
    let namespaces = ["shop", "monitoring", "ingress-nginx"];
    for name in namespaces {
        server.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"))?;
    }
    // Nothing here makes pods of them, as while they are scaled to nothing.
    for part in read("cluster.yaml")?.split("---\n").filter(|part| part.contains("image: ")) {
        let is_workload = part.contains("kind: Deployment");
        if is_workload {
            server.apply(part)?;
        }
    }
    server.apply(&read("06-peer-selects-nobody.yaml")?)?;
    let admin = server.admin_kubeconfig();
    let nftpol = |kubeconfig: &std::path::Path, arguments: &[&str]| {
        let kubeconfig = kubeconfig.display().to_string();
        let all = [&["check", "-o", "json", "--kubeconfig", &kubeconfig], arguments].concat();
        program::run(&namespace, &all, "")
    };
    let ids = |finished: &Finished| -> Result<Vec<String>> {
        let all: Value =
            serde_json::from_str(&finished.stdout).with_context(|| format!("{finished:?}"))?;
        let findings = all["findings"].as_array().context("a list")?;
        Ok(findings.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect())
    };
    let found = nftpol(&admin, &["-A"])?;
    ensure!(ids(&found)?.contains(&"peer-selects-nobody".to_owned()), "{found:?}");
    // The kubeconfig's namespace is `default`.
    let found = nftpol(&admin, &[])?;
    ensure!(ids(&found)?.is_empty(), "{found:?}");
    // A file over the cluster: its policy replaces the cluster's.
    let mended = namespace_file(&read("06-peer-selects-nobody.yaml")?.replace("fronts", "front"))?;
    let found = nftpol(&admin, &["-f", &mended, "--with-cluster", "-n", "shop"])?;
    ensure!(!ids(&found)?.contains(&"peer-selects-nobody".to_owned()), "{found:?}");
    let found = nftpol(&admin, &["--context", "nowhere"])?;
    ensure!(found.code == Some(2), "{found:?}");

    // Who may see one namespace alone is told so.
    server.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: author, \
         namespace: shop}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, \
         name: cluster-admin}\nsubjects: [{kind: User, name: author, apiGroup: \
         rbac.authorization.k8s.io}]\n",
    )?;
    let author = server.user_kubeconfig("author", None)?;
    let found = nftpol(&author, &["-n", "shop"])?;
    ensure!(ids(&found)?.contains(&"peer-selects-nobody".to_owned()), "{found:?}");
    ensure!(found.stderr.contains("about namespace shop alone"), "{found:?}");
    let found = nftpol(&author, &["-n", "monitoring"])?;
    ensure!(found.code == Some(2) && found.stderr.contains("forbidden"), "{found:?}");
    Ok(())
}

/// A shop with two workloads, a Service and a policy: who may reach the cart.
fn shop(server: &ApiServer) -> Result<()> {
    for name in ["shop", "other"] {
        server.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"))?;
    }
    for name in ["front", "cart"] {
        server.apply(&format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: \
             {{app: {name}}}}}, spec: {{containers: [{{name: c, image: c, ports: \
             [{{containerPort: 8080, name: http}}]}}]}}}}}}\n"
        ))?;
    }
    server.apply(
        "apiVersion: v1\nkind: Service\nmetadata: {name: cart, namespace: shop}\nspec: {selector: \
         {app: cart}, ports: [{port: 80, targetPort: http}]}\n",
    )?;
    server.apply(&policy("cart", CART))
}

const CART: &str = "{podSelector: {matchLabels: {app: cart}}, ingress: [{from: [{podSelector: \
                    {matchLabels: {app: front}}}], ports: [{port: 8080}]}]}";

#[test]
fn questions_are_answered_from_a_real_api_server() -> Result<()> {
    let namespace = Namespace::new("aq")?;
    let server = ApiServer::start(&namespace, LOOPBACK)?;
    shop(&server)?;
    let kubeconfig = server.admin_kubeconfig().display().to_string();
    let nftpol = |command: &str, arguments: &[&str]| {
        let all = [&[command, "--kubeconfig", &kubeconfig], arguments].concat();
        program::run(&namespace, &all, "")
    };
    let said = |code: i32, found: Finished, part: &str| {
        let holds = found.code == Some(code) && found.stdout.contains(part);
        ensure!(holds, "no {part:?}, or not {code}: {found:?}");
        Ok(())
    };

    let allowed = "ALLOWED  shop/deploy/front -> shop/deploy/cart  TCP 8080";
    said(0, nftpol("explain", &["shop/deploy/front", "shop/deploy/cart:http"])?, allowed)?;
    said(
        0,
        nftpol("explain", &["-n", "shop", "front", "svc/cart:80"])?,
        "Service shop/cart port 80",
    )?;
    said(1, nftpol("explain", &["-n", "shop", "front", "cart:9090"])?, "ports no: 8080")?;
    let elsewhere = nftpol("explain", &["front", "cart:8080"])?;
    ensure!(
        elsewhere.code == Some(2) && elsewhere.stderr.contains("default/front"),
        "{elsewhere:?}"
    );

    said(0, nftpol("matrix", &["-n", "shop"])?, "8080")?;
    let json = nftpol("matrix", &["-A", "-o", "json"])?;
    let all: Value = serde_json::from_str(&json.stdout).with_context(|| format!("{json:?}"))?;
    ensure!(all.to_string().contains("shop/cart"), "{all}");
    // The namespace of the kubeconfig's context has no pods.
    let nobody = nftpol("matrix", &[])?;
    let is_said = nobody.stderr.contains("no pod and no workload is in namespace default");
    ensure!(nobody.code == Some(2) && is_said, "{nobody:?}");

    let opened = namespace_file(&policy("cart", &CART.replace("8080", "9090")))?;
    let diff = nftpol("matrix", &["--diff", "cluster", &opened])?;
    said(1, diff, "shop/front -> shop/cart")?;
    let same = namespace_file(&policy("cart", CART))?;
    said(0, nftpol("matrix", &["--diff", "cluster", &same])?, "")?;
    said(0, nftpol("check", &["-n", "shop", "--fail-on", "warning"])?, "")?;
    a_context_has_its_namespace(&namespace, &server)?;
    a_server_that_is_silent_is_not_waited_for(&namespace)
}

/// `--context` chooses another context of the kubeconfig, with its namespace.
fn a_context_has_its_namespace(namespace: &Namespace, server: &ApiServer) -> Result<()> {
    let view: Value = serde_json::from_str(
        &server.kubectl(&["config", "view", "--raw", "-o", "json"], "")?.success()?,
    )?;
    let current = view["contexts"][0]["context"].clone();
    let mut config = view.clone();
    let mut shop = current;
    shop["namespace"] = "shop".into();
    let contexts = config["contexts"].as_array_mut().context("contexts")?;
    contexts.push(serde_json::json!({"name": "the-shop", "context": shop}));
    let file = namespace_file(&config.to_string())?;
    let arguments =
        ["explain", "--kubeconfig", &file, "--context", "the-shop", "front", "cart:8080"];
    let found = program::run(namespace, &arguments, "")?;
    ensure!(found.code == Some(0) && found.stdout.contains("ALLOWED"), "{found:?}");
    Ok(())
}

/// `--request-timeout` ends the wait for a server that takes the connection and is silent.
fn a_server_that_is_silent_is_not_waited_for(namespace: &Namespace) -> Result<()> {
    let listener = namespace.run(|| std::net::TcpListener::bind((LOOPBACK, 0)))??;
    let port = listener.local_addr()?.port();
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    });
    let file = namespace_file(&config.to_string())?;
    for command in [&["check"][..], &["matrix"], &["explain", "a/b", "c/d:1"]] {
        let since = std::time::Instant::now();
        let options = ["--kubeconfig", &file, "--request-timeout", "1s"];
        let found = program::run(namespace, &[command, &options].concat(), "")?;
        let said = found.stderr.contains("no answer within 1 s");
        ensure!(found.code == Some(2) && said, "{command:?}: {found:?}");
        ensure!(since.elapsed() < std::time::Duration::from_secs(20), "{command:?} waits");
        // Nothing of the progress in a pipe.
        ensure!(!found.stderr.contains("reading the cluster:"), "{found:?}");
    }
    Ok(())
}

/// A file with this text.
fn namespace_file(text: &str) -> Result<String> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("nftpol-author-{}-{number}.yaml", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

/// Two pods on a further network, as Multus and kubelet report them.
fn on_a_further_network(server: &ApiServer) -> Result<()> {
    for name in ["shop", "storage"] {
        server.apply(&format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n"))?;
    }
    for (name, number) in [("db", 2), ("backup", 3)] {
        server.apply(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  namespace: shop\n  labels: \
             {{app: {name}}}\n  annotations:\n    k8s.v1.cni.cncf.io/network-status: '[{{\"name\": \
             \"storage/macvlan\", \"interface\": \"net1\", \"ips\": [\"10.9.0.{number}\"]}}]'\nspec: \
             {{nodeName: n1, containers: [{{name: c, image: c}}]}}\n"
        ))?;
        let status = format!(
            "{{\"status\": {{\"phase\": \"Running\", \"podIPs\": [{{\"ip\": \
             \"10.0.0.{number}\"}}], \"podIP\": \"10.0.0.{number}\"}}}}"
        );
        let patch = ["-n", "shop", "patch", "pod", name, "--subresource=status", "-p", &status];
        server.kubectl(&patch, "")?.success()?;
    }
    Ok(())
}

/// Commands find the policies of further networks in a cluster that has the kind, and say
/// nothing of them in one that has not.
#[test]
fn further_networks_are_read_from_a_real_api_server() -> Result<()> {
    let namespace = Namespace::new("af")?;
    let server = ApiServer::start(&namespace, LOOPBACK)?;
    on_a_further_network(&server)?;
    let kubeconfig = server.admin_kubeconfig().display().to_string();
    let nftpol = |command: &str, arguments: &[&str]| {
        let all = [&[command, "--kubeconfig", &kubeconfig], arguments].concat();
        program::run(&namespace, &all, "")
    };
    let asked = ["--network", "storage/macvlan", "shop/backup", "shop/db:22"];
    let at = ["--node", "n1", "--place=pod", "--pod", "shop/db", "--network", "storage/macvlan"];

    // Without the kind.
    let open = nftpol("explain", &asked)?;
    ensure!(open.code == Some(0) && open.stdout.contains("nothing isolates"), "{open:?}");
    ensure!(nftpol("matrix", &["-A"])?.stderr.is_empty(), "a word about what is not there");
    let proved = nftpol("verify", &at)?;
    ensure!(proved.code == Some(0) && proved.stdout.contains(", 0 directions"), "{proved:?}");

    server.apply(&fixtures::read("multi-network/crd.yaml")?)?;
    let policy = "apiVersion: k8s.cni.cncf.io/v1beta1\nkind: MultiNetworkPolicy\nmetadata: {name: \
                  backups, namespace: shop, annotations: {k8s.v1.cni.cncf.io/policy-for: \
                  storage/macvlan}}\nspec: {podSelector: {matchLabels: {app: db}}, policyTypes: \
                  [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: backup}}}], ports: \
                  [{port: 5432}]}]}\n";
    let mut tries = 0;
    while let Err(error) = server.apply(policy) {
        tries += 1;
        ensure!(tries < 100, "the kind is not served: {error}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let denied = nftpol("explain", &asked)?;
    ensure!(denied.code == Some(1), "{denied:?}");
    ensure!(denied.stdout.contains("shop/backups") && denied.stdout.contains("10.9.0.3"));
    let matrix = nftpol("matrix", &["-n", "shop", "--network", "storage/macvlan"])?.success()?;
    ensure!(matrix.contains("5432"), "{matrix}");
    let beside = nftpol("matrix", &["-A"])?;
    ensure!(beside.stderr.contains("1 MultiNetworkPolicy is of further networks"), "{beside:?}");
    let proved = nftpol("verify", &at)?;
    ensure!(proved.code == Some(0) && proved.stdout.contains(", 1 directions"), "{proved:?}");
    let rules = nftpol("render", &at)?.success()?;
    ensure!(rules.contains("nftpol-net-storage/macvlan") && rules.contains("10.9.0.2"), "{rules}");
    let found = nftpol("check", &["-n", "shop", "-o", "json"])?;
    ensure!(!found.stdout.contains("network-unknown"), "{found:?}");

    // Who may read the policies of the primary network alone is told so, or gets no answer.
    server.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: primary}\n\
         rules:\n- {apiGroups: [\"\"], resources: [pods, namespaces], verbs: [list]}\n- {apiGroups: \
         [networking.k8s.io], resources: [networkpolicies], verbs: [list]}\n---\napiVersion: \
         rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: primary}\n\
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: primary}\n\
         subjects: [{kind: User, name: reader, apiGroup: rbac.authorization.k8s.io}]\n",
    )?;
    let reader = server.user_kubeconfig("reader", None)?.display().to_string();
    let reading = |command: &str, arguments: &[&str]| {
        let all = [&[command, "--kubeconfig", &reader], arguments].concat();
        program::run(&namespace, &all, "")
    };
    let told = reading("matrix", &["-A"])?;
    ensure!(told.code == Some(0), "{told:?}");
    ensure!(told.stderr.contains("may not list multi-networkpolicies"), "{}", told.stderr);
    let refused = reading("explain", &asked)?;
    ensure!(refused.code == Some(2), "{refused:?}");
    ensure!(refused.stderr.contains("what passes there cannot be told"), "{}", refused.stderr);
    let refused = reading("verify", &at)?;
    ensure!(refused.code.is_some_and(|code| code > 1 || refused.stdout.is_empty()), "{refused:?}");
    let primary = reading("verify", &["--node", "n1"])?;
    ensure!(primary.stderr.contains("MultiNetworkPolicies are not read"), "{primary:?}");
    ensure!(primary.code == Some(0), "{primary:?}");
    Ok(())
}
