//! Metrics beyond the node: over TLS, for those whom a real API server allows.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hyper::Request;
use kube::{Client, Config};
use kubebed::apiserver::ApiServer;
use kubebed::daemon::Daemon;
use kubebed::outpost::{NODE, Outpost};
use kubebed::world::{PATIENCE, manifests};

use super::prometheus::Prometheus;

/// The node's address on the wire to the API server.
const ADDRESS: &str = "192.168.88.2:9479";
/// Where everybody may read.
const OPEN: &str = "192.168.88.2:9480";

/// Lets another account read.
const GRANT: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: also}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nftpol-metrics-reader}
subjects: [{kind: ServiceAccount, name: nftpol, namespace: kube-system}]
";

#[test]
fn metrics_go_to_those_whom_the_api_server_allows() -> Result<()> {
    let mut outpost = Outpost::new()?;
    let kubeconfig = outpost.kubeconfig().to_owned();
    let Outpost { server, range, .. } = &mut outpost;
    let node = range.node();
    let options = ["--metrics-address", ADDRESS, "--metrics-access=token"];
    let mut agent = Daemon::start(node, &kubeconfig, NODE, &options)?;
    agent.ready_within(PATIENCE)?;

    let rights = fs::read_to_string(manifests().join("components/metrics-token/rbac.yaml"))?;
    let token = |server: &ApiServer, name: &str| -> Result<String> {
        let folder = server.service_account_folder("kube-system", name)?;
        Ok(fs::read_to_string(folder.join("token"))?)
    };
    let other = token(server, "nftpol")?;
    // Without the right to ask, nobody reads, and the log says what is missing.
    expect(server, Some(&other), 503, "gave no answer about this token")?;
    ensure!(agent.log().contains("tokenreviews"), "{}", agent.log());
    server.apply(&rights)?;
    let scraper = token(server, "nftpol-scraper")?;
    until(server, &scraper, 200, "nftpol_condition{")?;

    expect(server, None, 401, "send a token")?;
    expect(server, Some("abc"), 401, "does not accept this token")?;
    let lacks = "system:serviceaccount:kube-system:nftpol may not get /metrics";
    expect(server, Some(&other), 403, lacks)?;
    server.apply(GRANT)?;
    until(server, &other, 200, "nftpol_condition{")?;
    let (code, _) = get(server, "/readyz", Some(&scraper))?;
    ensure!(code == 404, "/readyz: {code}");

    // Prometheus sends the token as the PodMonitor tells it to.
    let folder = server.service_account_folder("kube-system", "nftpol-scraper")?;
    let targets = format!(
        "
  scheme: https
  tls_config: {{insecure_skip_verify: true}}
  authorization: {{credentials_file: {}}}
  static_configs:
  - {{targets: ['{ADDRESS}'], labels: {{node: node-1}}}}
",
        folder.join("token").display()
    );
    let prometheus = Prometheus::start(node, &targets)?;
    prometheus.until("up == 1", 1)?;

    // Somebody tries tokens. Those who may read do not notice.
    let tried = (0..20).map(|number| Ok(get(server, "/metrics", Some(&format!("t{number}")))?.0));
    let tried: Vec<u16> = tried.collect::<Result<_>>()?;
    ensure!(tried.contains(&429), "{tried:?}");
    expect(server, Some(&scraper), 200, "nftpol_condition{")?;
    prometheus.until("up == 1", 1)?;
    drop(prometheus);
    ensure!(!agent.log().contains("without encryption"), "{}", agent.log());
    agent.stop()?;

    let mut agent = Daemon::start(node, &kubeconfig, NODE, &["--metrics-address", OPEN])?;
    agent.ready_within(PATIENCE)?;
    let said = "metrics are served without encryption to everybody who reaches the address";
    ensure!(agent.log().contains(said), "{}", agent.log());
    let log = agent.stop()?;
    ensure!(!log.contains(&scraper), "a token is in the log");
    Ok(())
}

fn expect(server: &ApiServer, token: Option<&str>, code: u16, text: &str) -> Result<()> {
    let (got, said) = get(server, "/metrics", token)?;
    ensure!(got == code && said.contains(text), "{got} instead of {code}: {said}");
    Ok(())
}

/// A refusal counts for ten seconds.
fn until(server: &ApiServer, token: &str, code: u16, text: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        match expect(server, Some(token), code, text) {
            Err(error) if start.elapsed() > PATIENCE => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(500)),
            done => return done,
        }
    }
}

/// Status and body, from where the API server is.
fn get(server: &ApiServer, page: &str, token: Option<&str>) -> Result<(u16, String)> {
    server.block_on(async {
        let mut config = Config::new(format!("https://{ADDRESS}").parse()?);
        config.accept_invalid_certs = true;
        // What refuses is what is asked for.
        config.default_retry = false;
        config.auth_info.token = token.map(|token| token.to_owned().into());
        let client = Client::try_from(config).context("a client")?;
        let request = Request::get(page).body(Vec::new())?;
        match client.request_text(request).await {
            Ok(text) => anyhow::Ok((200, text)),
            Err(kube::Error::Api(status)) => Ok((status.code, status.message.clone())),
            Err(error) => bail!("{page}: {error}"),
        }
    })
}
