//! A real API server: etcd and kube-apiserver, without the rest of a control plane.
//!
//! The server runs in a network namespace, at an address of that namespace. You get
//! kubectl, kubeconfigs and clients for it, objects by the thousand, and [`proxy`],
//! which misbehaves in its place.
//! Never: controllers. Without [`crate::kubernetes`], nothing creates service
//! accounts or tokens, empties a namespace that is being deleted, or runs a pod.

mod access;
mod certificates;
mod database;
pub(crate) mod inside;
mod objects;
pub mod policies;
pub(crate) mod process;
mod programs;
pub mod proxy;
mod store;

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hyper::Request;
use k8s_openapi::api::core::v1;
use kube::{Api, Client};
use serde_json::json;

use access::{cluster, connect, write_kubeconfig};
use certificates::Certificates;
use inside::Inside;
use netbed::net::Namespace;
use process::Process;
pub use programs::path as program;
use samples::scratch::Folder;

/// Where kube-apiserver listens by default.
const PORT: u16 = 6443;
/// etcd's ports for clients and for its peers.
const ETCD: [u16; 2] = [2379, 2380];
/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long to wait between two checks of a starting server.
const PAUSE: Duration = Duration::from_millis(50);

/// The server, as long as this value lives.
pub struct ApiServer {
    address: SocketAddr,
    client: Client,
    server: Option<Process>,
    etcd: Option<Process>,
    inside: Arc<Inside>,
    certificates: Certificates,
    purpose: Purpose,
    /// Last: the processes write into it.
    folder: Folder,
}

/// The purpose of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It runs alone. The admission plugin ServiceAccount is off, because it would
    /// wait for service accounts that no controller creates. No Service leads to
    /// the server.
    Alone,
    /// It is the control plane of nodes with kubelets.
    Nodes,
}

impl ApiServer {
    /// Starts etcd on the namespace's loopback and kube-apiserver on this address,
    /// port 6443. Waits until the server answers. Start one server per namespace,
    /// because the ports are fixed. RBAC and the Node authorizer authorize
    /// requests.
    ///
    /// # Errors
    /// When a program is missing (`cargo xtask kube` builds them), ends, or does
    /// not answer within a minute. The error has its last output.
    pub fn start(namespace: &Namespace, address: IpAddr) -> Result<Self> {
        Self::start_for(Purpose::Alone, namespace, address, Folder::new("kube")?)
    }

    /// As [`ApiServer::start`], for this purpose, with its files in this folder.
    ///
    /// # Errors
    /// As [`ApiServer::start`].
    pub fn start_for(
        purpose: Purpose,
        namespace: &Namespace,
        address: IpAddr,
        folder: Folder,
    ) -> Result<Self> {
        let inside = Arc::new(Inside::enter(namespace)?);
        let etcd = start_etcd(&inside, folder.path())?;
        let certificates = Certificates::write(folder.path(), address, services(address).1)
            .context("make certificates")?;
        let server = start_server(&inside, &certificates, address, purpose)?;
        let address = SocketAddr::new(address, PORT);
        let kubeconfig = folder.path().join("admin.kubeconfig");
        let user = json!({
            "client-certificate": certificates.path("admin.crt"),
            "client-key": certificates.path("admin.key"),
        });
        write_kubeconfig(&kubeconfig, &cluster(address, &certificates), user)?;
        let client = inside.block_on(connect(&kubeconfig))?;
        let (server, etcd) = (Some(server), Some(etcd));
        let mut this =
            Self { address, client, server, etcd, inside, certificates, purpose, folder };
        this.wait()?;
        Ok(this)
    }

    /// The thread in the server's namespace, and the folder of its files and logs.
    pub(crate) fn place(&self) -> (&Inside, &Path) {
        (&self.inside, self.folder.path())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs a future to its end in the server's namespace. Blocks this thread.
    /// Clients of [`ApiServer::client`] work nowhere else.
    ///
    /// # Errors
    /// The error of the future.
    pub fn block_on<T, E>(&self, future: impl Future<Output = Result<T, E>> + Send) -> Result<T>
    where
        T: Send,
        E: Into<anyhow::Error> + Send,
    {
        self.inside.block_on(future)
    }

    /// Kills kube-apiserver as a crash would. What it has confirmed stays in etcd.
    pub fn stop(&mut self) {
        self.server = None;
    }

    /// Kills kube-apiserver if it runs, starts it again with the same etcd,
    /// address and certificates, and waits until it answers.
    ///
    /// # Errors
    /// As [`ApiServer::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.stop();
        let (address, purpose) = (self.address.ip(), self.purpose);
        self.server = Some(start_server(&self.inside, &self.certificates, address, purpose)?);
        self.wait()
    }

    /// Waits until the server is ready and has created the namespace `default`. Its
    /// readiness does not include that.
    fn wait(&mut self) -> Result<()> {
        let Self { inside, server, client, .. } = self;
        let server = server.as_mut().context("kube-apiserver has been stopped")?;
        let start = Instant::now();
        loop {
            let answer = inside.block_on(ready(client));
            let Err(error) = answer else { return Ok(()) };
            if let Some(status) = server.ended()? {
                bail!("kube-apiserver ended: {status}; {}", server.last_words());
            }
            if start.elapsed() > PATIENCE {
                let words = server.last_words();
                bail!("kube-apiserver is not ready after {PATIENCE:?}: {error:#}; {words}");
            }
            std::thread::sleep(PAUSE);
        }
    }
}

async fn ready(client: &Client) -> Result<()> {
    let ask = async {
        client.request_text(Request::get("/readyz").body(Vec::new())?).await?;
        Api::<v1::Namespace>::all(client.clone()).get("default").await?;
        Ok(())
    };
    tokio::time::timeout(Duration::from_secs(5), ask).await.context("ask whether it is ready")?
}

fn start_etcd(inside: &Inside, folder: &Path) -> Result<Process> {
    let [clients, peers] = ETCD.map(|port| format!("http://127.0.0.1:{port}"));
    let arguments = [
        "--name=tests".to_owned(),
        format!("--data-dir={}", folder.join("etcd").display()),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=tests={peers}"),
        // This data need not survive a power failure.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    let mut etcd = Process::start(inside, "etcd", &arguments, folder)?;
    let start = Instant::now();
    // kube-apiserver waits a second between tries if it starts before etcd answers.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ETCD[0]));
    while inside.namespace().run(|| TcpStream::connect(address))?.is_err() {
        if let Some(status) = etcd.ended()? {
            bail!("etcd ended: {status}; {}", etcd.last_words());
        }
        if start.elapsed() > PATIENCE {
            bail!("etcd does not listen after {PATIENCE:?}; {}", etcd.last_words());
        }
        std::thread::sleep(PAUSE);
    }
    Ok(etcd)
}

/// The ranges of Services for kube-apiserver, the server's own family first, and
/// the first address of the first range. The server takes that address.
fn services(address: IpAddr) -> (&'static str, IpAddr) {
    if address.is_ipv6() {
        let first = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 1);
        ("fd00:96::/112,10.96.0.0/16", first.into())
    } else {
        ("10.96.0.0/16,fd00:96::/112", Ipv4Addr::new(10, 96, 0, 1).into())
    }
}

fn start_server(
    inside: &Inside,
    certificates: &Certificates,
    address: IpAddr,
    purpose: Purpose,
) -> Result<Process> {
    let file = |name: &str| certificates.path(name).display().to_string();
    let mut arguments = vec![
        format!("--etcd-servers=http://127.0.0.1:{}", ETCD[0]),
        format!("--bind-address={address}"),
        format!("--advertise-address={address}"),
        format!("--secure-port={PORT}"),
        format!("--tls-cert-file={}", file("apiserver.crt")),
        format!("--tls-private-key-file={}", file("apiserver.key")),
        format!("--client-ca-file={}", file("ca.crt")),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", file("service-accounts.pub")),
        format!("--service-account-signing-key-file={}", file("service-accounts.key")),
        format!("--service-cluster-ip-range={}", services(address).0),
        "--allow-privileged=true".to_owned(),
    ];
    match purpose {
        Purpose::Alone => arguments.extend([
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            // The record of its address would stay after a kill.
            "--endpoint-reconciler-type=none".to_owned(),
        ]),
        Purpose::Nodes => arguments.extend([
            // For `kubectl exec` and `logs`.
            format!("--kubelet-client-certificate={}", file("admin.crt")),
            format!("--kubelet-client-key={}", file("admin.key")),
            "--kubelet-preferred-address-types=InternalIP".to_owned(),
        ]),
    }
    Process::start(inside, "kube-apiserver", &arguments, certificates.folder())
}
