//! What all commands read: manifests, a cluster, or manifests over a cluster.
//!
//! In: the options, as kubectl has them. Out: a [`Cluster`].
//! Never: a part of the input that is left out without a word.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use ipnet::IpNet;
use policy::{Diagnostic, Now, Severity};
use tokio::runtime;
use watcher::Object;
use watcher::api::{self, Access, Found, Listed};
use watcher::files::{self, Everything, Finding, Location, Source, Written};

use crate::Cluster;
use crate::ModeOption;
use crate::cluster::{Builder, MadeUp};
use crate::progress::while_waiting;

/// The file of findings about objects of an API server.
pub(crate) const CLUSTER: &str = "cluster";

/// Options about what is read.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Manifests: a file, a folder (all .yaml, .yml, .json below it), or - for standard
    /// input, such as the output of Helm or kustomize. May be given several times [default: the
    /// cluster].
    #[arg(short = 'f', long = "filename", value_name = "FILE|DIR|-")]
    pub filenames: Vec<PathBuf>,
    /// Read the cluster beside the manifests. Objects of the manifests replace those of the
    /// cluster, as `kubectl apply` would.
    #[arg(long, requires = "filenames")]
    pub with_cluster: bool,
    /// The namespace that the answer is about, and of objects that name none [default: that of
    /// the kubeconfig, and all of manifests].
    #[arg(short, long, value_name = "NAME")]
    pub namespace: Option<String>,
    /// The answer is about all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// How to reach the API server [default: $KUBECONFIG, ~/.kube/config].
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// How long to wait for an answer of the API server: a number of seconds, or with a unit as
    /// in 1m30s; 0 is forever.
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = patience)]
    pub request_timeout: Patience,
    /// The network that pods have their addresses of, for pods of manifests. May be given once
    /// for each family [default: a network that no policy names].
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Vec<IpNet>,
    /// What policies do that say nothing of it, and whose Namespaces do not either (annotation
    /// nftpol.dev/mode): as the nodes' agents are started.
    #[arg(long, value_enum, default_value_t)]
    pub mode: ModeOption,
    /// Texts that a command read by itself, after the manifests.
    #[arg(skip)]
    pub texts: Vec<Source>,
}

/// How long to wait; `None`: forever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Patience(pub Option<Duration>);

impl InputArgs {
    /// Reads the input for a question about what is in it, and prints notices.
    ///
    /// # Errors
    /// Unreadable files, anything wrong in them, an API server that cannot be asked.
    pub fn cluster(&self) -> Result<Cluster> {
        Self::reported(self.read()?)
    }

    /// Prints the notices and findings of an input; one with errors has no answer.
    ///
    /// # Errors
    /// Anything wrong in the manifests.
    pub fn reported(cluster: Cluster) -> Result<Cluster> {
        for notice in &cluster.notices {
            eprintln!("notice: {notice}");
        }
        for finding in &cluster.findings {
            eprintln!("{finding}");
        }
        let of_file = |finding: &&Finding| finding.location.file != CLUSTER;
        let errors = cluster.findings.iter().filter(of_file);
        if errors.filter(|finding| finding.severity == Severity::Error).count() > 0 {
            bail!("the manifests have errors, so what they mean cannot be told");
        }
        Ok(cluster)
    }

    /// Reads the input. Mistakes in it are findings, and the rest is there.
    ///
    /// # Errors
    /// Unreadable files, an API server that cannot be asked.
    pub fn read(&self) -> Result<Cluster> {
        let mut builder = Builder::default();
        let mut written = BTreeSet::new();
        let reads_files = !self.filenames.is_empty() || !self.texts.is_empty();
        let reads_cluster = !reads_files || self.with_cluster;
        let mut namespace = self.namespace.clone();
        if reads_cluster {
            let of_config = self.add_cluster(&mut builder, &mut written)?;
            namespace = namespace.or(Some(of_config));
        }
        if reads_files {
            self.add_files(&mut builder, &mut written, namespace.as_deref())?;
        }
        let mut made_up = MadeUp::default();
        self.pod_cidr.iter().for_each(|net| made_up.within(*net));
        let focus = match (&self.namespace, self.all_namespaces, reads_cluster) {
            (_, true, _) => None,
            (Some(name), false, _) => Some(name.clone()),
            // As kubectl: without -A it is the kubeconfig's. Manifests are all meant.
            (None, false, true) if !reads_files => namespace.clone(),
            (None, false, _) => None,
        };
        builder.at(now(), self.mode.into());
        let cluster = builder.cluster();
        cluster.namespace = namespace.unwrap_or_else(|| "default".to_owned());
        cluster.focus = focus;
        Ok(builder.finish(made_up, &written))
    }

    fn add_files(
        &self,
        builder: &mut Builder,
        written: &mut BTreeSet<String>,
        namespace: Option<&str>,
    ) -> Result<()> {
        let mut sources: Vec<Source> = self.filenames.iter().map(|path| source(path)).collect();
        sources.extend(self.texts.iter().cloned());
        let all = files::read_everything(&sources, namespace).context("read manifests")?;
        let Everything { loaded, related, written: objects, skipped, texts } = all;
        let named = |one: &Written| (one.kind == "Namespace").then(|| one.key.name.clone());
        let of_files: BTreeSet<String> = objects.iter().filter_map(named).collect();
        // A namespace that is only assumed does not replace one of the cluster.
        let objects_read = loaded.objects.into_iter().filter(|object| match object {
            Object::Namespace(one) => of_files.contains(&one.name),
            Object::NetworkPolicy(_) | Object::Pod(_) | Object::MultiNetworkPolicy(_) => true,
        });
        // A workload of the files takes the pods of its former version away.
        builder.related(related);
        builder.objects(objects_read);
        written.extend(of_files);
        let cluster = builder.cluster();
        cluster.findings.extend(loaded.findings);
        let files: BTreeSet<String> = skipped.into_iter().map(|one| one.file).collect();
        cluster.notices.extend(files.into_iter().map(|file| {
            format!(
                "{file} holds a document that is no Kubernetes object, or a part of one (a patch); \
                 it is skipped"
            )
        }));
        objects.into_iter().for_each(|one| cluster.places.note_object(one));
        texts.into_iter().for_each(|(file, text)| cluster.places.note_text(file, text));
        Ok(())
    }

    /// Returns the namespace of the kubeconfig.
    fn add_cluster(&self, builder: &mut Builder, known: &mut BTreeSet<String>) -> Result<String> {
        let access = Access { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() };
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let (namespace, listed) = runtime.context("start a runtime")?.block_on(async {
            let client = access.client().await?;
            let of_config = client.default_namespace().to_owned();
            let namespace = self.namespace.clone().unwrap_or_else(|| of_config.clone());
            let came = Cell::new(0);
            let listing = api::everything(&client, &namespace, self.request_timeout.0, &came);
            let listed = while_waiting("reading the cluster", &came, listing).await;
            anyhow::Ok((of_config, listed.context("read the cluster")?))
        })?;
        let Listed { objects, related, notices, only, lacks_multi_policies, lacks_networks } =
            listed;
        let cluster = builder.cluster();
        cluster.lacks_networks = lacks_networks;
        cluster.lacks_multi_policies = lacks_multi_policies;
        cluster.is_whole = only.is_none();
        cluster.notices.extend(notices);
        for Found { object, diagnostics } in objects {
            if let Object::Namespace(namespace) = &object {
                known.insert(namespace.name.clone());
            }
            builder.cluster().findings.extend(diagnostics.into_iter().map(finding));
            builder.objects([object]);
        }
        builder.related(related);
        Ok(namespace)
    }
}

fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let wall_seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Now { wall_seconds, steady: Duration::ZERO }
}

fn source(path: &Path) -> Source {
    if path.as_os_str() == "-" { Source::Stdin } else { Source::Path(path.to_owned()) }
}

/// A finding about an object of the API server, which has no lines.
fn finding(diagnostic: Diagnostic) -> Finding {
    let Diagnostic { severity, kind, object, field, message } = diagnostic;
    let location = Location { file: CLUSTER.to_owned(), line: 1, column: 1 };
    Finding { location, severity, kind: kind.to_owned(), object: Some(object), field, message }
}

/// A duration as kubectl takes it: `30`, `30s`, `1m30s`, `2h`; `0` is forever.
fn patience(text: &str) -> Result<Patience, String> {
    let wrong = || format!("{text:?} is no time; a number of seconds, or such as 30s, 1m30s, 2h");
    let mut seconds: u64 = 0;
    let mut number = String::new();
    for character in text.chars() {
        if character.is_ascii_digit() {
            number.push(character);
            continue;
        }
        let unit = match character {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(wrong()),
        };
        let count: u64 = number.parse().map_err(|_| wrong())?;
        seconds = seconds.saturating_add(count.saturating_mul(unit));
        number.clear();
    }
    if !number.is_empty() {
        if seconds > 0 {
            return Err(wrong());
        }
        seconds = number.parse().map_err(|_| wrong())?;
    } else if text.is_empty() {
        return Err(wrong());
    }
    Ok(Patience((seconds > 0).then(|| Duration::from_secs(seconds))))
}

#[cfg(test)]
pub(crate) mod tests;
