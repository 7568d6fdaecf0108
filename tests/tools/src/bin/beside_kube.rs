//! Runs a command beside an API server that has the objects of a folder.
//!
//! Takes the folder and the command: `beside_kube FOLDER COMMAND...`. Every `*.yaml` there
//! is created, with what it says of an object's status. The command runs in the API
//! server's network namespace. The file `cluster.env` in the folder tells it, in the words
//! of a shell, the kubeconfigs of the administrator (`ADMIN`) and of the DaemonSet
//! (`AGENT`). Exits as the command does. Never: a controller. So Services need
//! EndpointSlices in the folder.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use kubebed::apiserver::ApiServer;
use kubebed::world;
use netbed::net::Namespace;

/// Of RFC 5737's TEST-NET-3. kube-proxy in mode `ipvs` tries an address of TEST-NET-2.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let [folder, program, rest @ ..] = arguments else {
        bail!("usage: beside_kube FOLDER COMMAND...");
    };
    let folder = Path::new(folder);
    let namespace = Namespace::new("bk")?;
    namespace.ip(&format!("addr add {ADDRESS}/32 dev lo"))?;
    let server = ApiServer::start(&namespace, IpAddr::V4(ADDRESS))?;
    let agent = world::install(&server)?;
    let manifests = manifests(folder)?;
    for manifest in &manifests {
        // A server-side apply refuses a node with two addresses of one type: the type is the
        // key of that list (`NodeStatus.Addresses`, k8s.io/api/core/v1, 1.36).
        server.kubectl(&["create", "-f", "-"], manifest)?.success()?;
    }
    for manifest in &manifests {
        set_status(&server, manifest)?;
    }
    let lines =
        format!("ADMIN={}\nAGENT={}\n", server.admin_kubeconfig().display(), agent.display());
    fs::write(folder.join("cluster.env"), lines).context("write cluster.env")?;
    let status = namespace.command(program).args(rest).status();
    let status = status.with_context(|| format!("run {program}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// The YAML files of a folder, in the order of their names.
fn manifests(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
    };
    paths.iter().map(read).collect()
}

/// The API server takes an object's status apart from the rest of it.
fn set_status(server: &ApiServer, manifest: &str) -> Result<()> {
    let with_status: Vec<&str> =
        manifest.split("---\n").filter(|document| document.contains("\nstatus:")).collect();
    if with_status.is_empty() {
        return Ok(());
    }
    let arguments = ["replace", "--subresource=status", "-f", "-"];
    server.kubectl(&arguments, &with_status.join("---\n"))?.success().map(drop)
}
