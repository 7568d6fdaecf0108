//! The rights in `manifests/` suffice, and each of them is needed.
//!
//! The test reads the role back from the API server after
//! `kubectl apply -k manifests/`. `install/manifests.rs` shows that the server drops none of
//! it. A right without a case here fails the test.

use std::collections::BTreeSet;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authorization::v1::{
    ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec, SubjectRulesReviewStatus,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::api::PostParams;
use kube::{Api, Client};
use kubebed::apiserver::proxy::Proxy;
use kubebed::daemon::Daemon;
use kubebed::world::{PATIENCE, World, soon};
use netbed::probe::Knock;
use netbed::scenario::Scenario;
use samples::fixtures;
use samples::testbed_spec::Network;
use serde_json::json;

use super::events::{cluster, events, proxy, store_unusable, told};

const ACCOUNT: &str = "system:serviceaccount:kube-system:nftpol";

/// A verb on a resource of an API group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    group: String,
    resource: String,
    verb: String,
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.verb, self.resource())
    }
}

impl Right {
    /// The resource as kubectl names it.
    fn resource(&self) -> String {
        let name = format!("{}.{}", self.resource, self.group);
        name.trim_end_matches('.').to_owned()
    }
}

#[test]
fn the_rights_suffice_and_each_is_needed() -> Result<()> {
    let world = World::beside(cluster(&["node-1", "node-2"], Network::Routed), "rt")?;
    let role = role(&world)?;
    let rights = rights(&role);
    nothing_else(&world, &rights).context("nothing but the role")?;
    sufficient(&world).context("with all rights")?;
    for right in &rights {
        println!("without {right}");
        grant(&world, rights.iter().filter(|one| *one != right))?;
        allowed(&world, right, false)?;
        let mend = || {
            grant(&world, &rights)?;
            allowed(&world, right, true)
        };
        needed(&world, right, &mend).with_context(|| format!("without {right}"))?;
    }
    Ok(())
}

/// Shows what fails without this right, and that granting it is enough, without a
/// restart.
fn needed(world: &World, right: &Right, mend: &dyn Fn() -> Result<()>) -> Result<()> {
    match (right.group.as_str(), right.resource.as_str(), right.verb.as_str()) {
        ("networking.k8s.io", "networkpolicies", verb @ ("list" | "watch")) => {
            cannot_follow(world, verb, "networkpolicies.networking.k8s.io", "NetworkPolicy", mend)
        }
        ("", "pods", verb @ ("list" | "watch")) => cannot_follow(world, verb, "pods", "Pod", mend),
        ("", "namespaces", verb @ ("list" | "watch")) => {
            cannot_follow(world, verb, "namespaces", "Namespace", mend)
        }
        ("", "events", "create") => cannot_create_events(world, mend),
        ("", "events", "patch") => cannot_patch_events(world, mend),
        _ => bail!("nothing shows that this right is needed"),
    }
}

/// An agent that may not list or watch a kind is not ready and reports the missing
/// right. `list` is also for API servers that cannot stream lists; the proxy acts as one.
fn cannot_follow(
    world: &World,
    verb: &str,
    resource: &str,
    kind: &str,
    mend: &dyn Fn() -> Result<()>,
) -> Result<()> {
    let proxy = proxy(world, "node-1")?;
    proxy.without_watch_list(verb == "list");
    let mut agent = through(world, &proxy)?;
    // Without Namespaces it is not known which cluster this is.
    let missing = match (verb, kind) {
        ("list", "Namespace") => "NetworkPolicy, Pod, Namespace",
        _ => kind,
    };
    agent.unready_within(PATIENCE, &format!("waiting for the API server to list {missing}\n"))?;
    agent.unready_within(PATIENCE, "[-] api: since ")?;
    said(&agent, &format!("cannot {verb} {resource}: forbidden: "))?;
    said(&agent, &format!("a ClusterRole must grant the verbs list and watch on {resource}"))?;
    mend()?;
    agent.ready_within(PATIENCE).context("granted again")?;
    agent.stop().map(drop)
}

fn through<'a>(world: &'a World, proxy: &Proxy) -> Result<Daemon<'a>> {
    let namespace = &world.cluster.endpoint("node-1")?.namespace;
    Daemon::start(namespace, &proxy.kubeconfig()?, "node-1", &[])
}

fn cannot_create_events(world: &World, mend: &dyn Fn() -> Result<()>) -> Result<()> {
    forget_events(world)?;
    store_unusable(world, "10.0.0.1")?;
    let mut agent = world.agent("node-1", &[])?;
    agent.ready_within(PATIENCE)?;
    said(&agent, "cannot write an Event: ")?;
    said(&agent, "cannot create resource \"events\"")?;
    assert_eq!(events(world)?, []);
    mend()?;
    store_unusable(world, "10.0.0.2")?;
    told(world, "node-1", "10.0.0.2", &agent).context("granted again")?;
    agent.stop().map(drop)
}

fn cannot_patch_events(world: &World, mend: &dyn Fn() -> Result<()>) -> Result<()> {
    forget_events(world)?;
    store_unusable(world, "10.0.0.1")?;
    let agent = world.agent("node-1", &[])?;
    let first = told(world, "node-1", "10.0.0.1", &agent)?;
    agent.stop()?;
    let agent = world.agent("node-2", &[])?;
    said(&agent, "cannot write an Event: ")?;
    said(&agent, "cannot patch resource \"events\"")?;
    assert_eq!(events(world)?, [first], "it stays as the first node wrote it");
    mend()?;
    store_unusable(world, "10.0.0.2")?;
    told(world, "node-2", "10.0.0.2", &agent).context("granted again")?;
    agent.stop().map(drop)
}

/// With all rights the agent becomes ready, enforces, writes an Event, and patches
/// another node's Event. It also becomes ready at a server that cannot stream lists.
fn sufficient(world: &World) -> Result<()> {
    let scenario = Scenario::new(&world.cluster, &[Knock::Tcp(80)])?;
    let mut agents = world.agents()?;
    world.server.apply(&fixtures::deny_all_ingress("dev"))?;
    soon(world, &scenario)?;
    agents.pop().context("no second agent")?.stop()?;
    store_unusable(world, "10.0.0.1")?;
    let first = told(world, "node-1", "10.0.0.1", &agents[0])?;
    let second = world.agent("node-2", &[])?;
    let patched = told(world, "node-2", "10.0.0.1", &second)?;
    assert_eq!(first.metadata.uid, patched.metadata.uid);
    let mut logs = vec![agents.remove(0).stop()?, second.stop()?];
    let proxy = proxy(world, "node-1")?;
    proxy.without_watch_list(true);
    let mut agent = through(world, &proxy)?;
    agent.ready_within(PATIENCE).context("at a server without WatchList")?;
    logs.push(agent.stop()?);
    for log in logs {
        // The server names the account when it refuses a request.
        ensure!(!log.contains(ACCOUNT), "{log}");
    }
    Ok(())
}

/// The account may do what every account may, and what the role grants.
/// `kubectl auth can-i --list` shows the same review.
fn nothing_else(world: &World, rights: &BTreeSet<Right>) -> Result<()> {
    world.server.kubectl(&["create", "serviceaccount", "nobody", "-n", "kube-system"], "")?;
    for namespace in ["dev", "kube-system"] {
        let ours = review(world, "nftpol", namespace)?;
        let nobodys = review(world, "nobody", namespace)?;
        let pages = |status: &SubjectRulesReviewStatus| -> BTreeSet<_> {
            let rules = status.non_resource_rules.iter();
            rules.map(|rule| (rule.non_resource_urls.clone(), rule.verbs.clone())).collect()
        };
        assert_eq!(pages(&ours), pages(&nobodys));
        let (ours, nobodys) = (flat(&ours.resource_rules), flat(&nobodys.resource_rules));
        let more: BTreeSet<Right> = ours.difference(&nobodys).cloned().collect();
        assert_eq!(&more, rights, "in {namespace}");
    }
    Ok(())
}

fn review(world: &World, account: &str, namespace: &str) -> Result<SubjectRulesReviewStatus> {
    let client: Client = world.server.service_account_client("kube-system", account)?;
    let reviews: Api<SelfSubjectRulesReview> = Api::all(client);
    let spec = SelfSubjectRulesReviewSpec { namespace: Some(namespace.to_owned()) };
    let review = SelfSubjectRulesReview { spec, ..Default::default() };
    let parameters = PostParams::default();
    let answer = world.server.block_on(reviews.create(&parameters, &review))?;
    let status = answer.status.context("a review without status")?;
    ensure!(!status.incomplete, "an incomplete review: {status:?}");
    Ok(status)
}

fn flat(rules: &[ResourceRule]) -> BTreeSet<Right> {
    let all = rules.iter().flat_map(|rule| {
        assert!(rule.resource_names.is_none(), "for single names: {rule:?}");
        products(&rule.api_groups, &rule.resources, &rule.verbs)
    });
    all.collect()
}

fn products(
    groups: &Option<Vec<String>>,
    resources: &Option<Vec<String>>,
    verbs: &[String],
) -> Vec<Right> {
    let mut rights = Vec::new();
    for group in groups.iter().flatten() {
        for resource in resources.iter().flatten() {
            rights.extend(verbs.iter().map(|verb| Right {
                group: group.clone(),
                resource: resource.clone(),
                verb: verb.clone(),
            }));
        }
    }
    rights
}

fn role(world: &World) -> Result<ClusterRole> {
    let roles: Api<ClusterRole> = Api::all(world.server.client());
    world.server.block_on(roles.get("nftpol"))
}

fn rights(role: &ClusterRole) -> BTreeSet<Right> {
    let rules = role.rules.iter().flatten();
    rules.flat_map(|rule| products(&rule.api_groups, &rule.resources, &rule.verbs)).collect()
}

fn grant<'a>(world: &World, rights: impl IntoIterator<Item = &'a Right>) -> Result<()> {
    let rules: Vec<PolicyRule> = rights
        .into_iter()
        .map(|Right { group, resource, verb }| PolicyRule {
            api_groups: Some(vec![group.clone()]),
            resources: Some(vec![resource.clone()]),
            verbs: vec![verb.clone()],
            ..PolicyRule::default()
        })
        .collect();
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "nftpol"}, "rules": rules,
    });
    world.server.apply(&role.to_string())
}

/// Waits until the server allows the request, or no longer allows it.
fn allowed(world: &World, right: &Right, is: bool) -> Result<()> {
    let resource = right.resource();
    let account = format!("--as={ACCOUNT}");
    let arguments = ["auth", "can-i", &right.verb, &resource, "--all-namespaces", &account];
    let start = Instant::now();
    loop {
        let answer = world.server.kubectl(&arguments, "")?;
        if answer.stdout.trim() == if is { "yes" } else { "no" } {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{arguments:?}: {answer:?}");
        sleep(Duration::from_millis(20));
    }
}

fn said(agent: &Daemon<'_>, text: &str) -> Result<()> {
    let start = Instant::now();
    while !agent.log().contains(text) {
        ensure!(start.elapsed() < PATIENCE, "{text:?} not said:\n{}", agent.log());
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn forget_events(world: &World) -> Result<()> {
    let arguments = ["delete", "events", "--all", "--namespace=dev"];
    world.server.kubectl(&arguments, "")?.success().map(drop)
}
