//! `support-bundle`: one file with all that helps to understand what nodes do.
//!
//! In: the agent of this node, or those of all. Out: a tar file.
//! Never: a secret. Agents collect none, and tokens and certificates are removed from every
//! text, on the node and here (`live::secrets`).
//!
//! ```text
//! nftpol-support/README.txt            what is in it, and which nodes did not answer
//! nftpol-support/nodes/NODE/...        what the agent of a node tells
//! nftpol-support/nodes/NODE/error.txt  why it does not, with the log of its pod
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::StreamExt;
use futures::stream;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::agents::{AgentPod, ClusterAgents, Where};
use super::tar::Tar;
use super::{Here, print, warning};
use crate::live::protocol::{Line, Piece, Question};
use crate::live::secrets;

/// The folder in the archive.
const FOLDER: &str = "nftpol-support";
/// Nodes that are asked at a time.
const AT_ONCE: usize = 10;
/// How long a node may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is kept of a node at most.
const NODE_BYTES: usize = 64 << 20;

/// `support-bundle`. Exit 0 all nodes are in it, 1 not all, 2 none.
#[derive(Debug, Args)]
pub struct SupportBundle {
    #[command(flatten)]
    place: Where,
    /// Where to write it; - is standard output. An existing file is not overwritten.
    #[arg(short, long, value_name = "FILE", default_value = "nftpol-support.tar")]
    output: PathBuf,
    /// Print the pieces of this node, for the command that makes the file.
    #[arg(long, hide = true)]
    pieces: bool,
}

/// The files of a node by name, or why there are none.
type Files = BTreeMap<String, String>;

impl SupportBundle {
    /// Writes it.
    ///
    /// # Errors
    /// No agent answers, or the file cannot be written.
    pub fn run(&self, here: &dyn Here) -> Result<ExitCode> {
        if self.pieces {
            for line in here.ask(&Question::Bundle {})? {
                print(&(line? + "\n"))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        // Before anybody is asked: a name that is taken costs nothing.
        let out = open(&self.output)?;
        let nodes = match self.place.is_local(here) {
            true => {
                let files = local(here)?;
                [(name_of(&files), Ok(files))].into()
            }
            false => {
                let runtime = Builder::new_current_thread().enable_all().build();
                runtime.context("start a runtime")?.block_on(self.cluster())?
            }
        };
        let failed = nodes.values().filter(|node| node.is_err()).count();
        write(out, &nodes).with_context(|| format!("write {}", self.output.display()))?;
        let (all, file) = (nodes.len(), self.output.display());
        if failed == all {
            bail!("none of {all} nodes answered; {file} has the reasons");
        }
        let said = format!("{file}: {} of {all} nodes, without secrets", all - failed);
        match self.output == Path::new("-") {
            true => warning(said),
            false => print(&(said + "\n"))?,
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn cluster(&self) -> Result<BTreeMap<String, Result<Files, String>>> {
        let agents = ClusterAgents::connect(&self.place).await?;
        let found = agents.find().await?;
        let asked = stream::iter(found).map(async |(node, pod)| {
            let files = of_node(&agents, &pod).await;
            if let Err(why) = &files {
                warning(format_args!("node {node}: {}", why.lines().next().unwrap_or_default()));
            }
            (node, files)
        });
        Ok(asked.buffer_unordered(AT_ONCE).collect().await)
    }
}

/// What an agent tells, or why it does not, with the log of its pod.
async fn of_node(agents: &ClusterAgents, pod: &AgentPod) -> Result<Files, String> {
    let why = match &pod.problem {
        Some(problem) => problem.clone(),
        None => match timeout(PATIENCE, ask(agents, &pod.name)).await {
            Ok(Ok(files)) => return Ok(files),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        },
    };
    if pod.name.is_empty() {
        return Err(why);
    }
    Err(match agents.log(&pod.name).await {
        Ok(log) => format!("{why}\n\nThe log of the pod {}:\n{log}", pod.name),
        Err(error) => format!("{why}\n\nThe log of the pod {}: {error:#}", pod.name),
    })
}

async fn ask(agents: &ClusterAgents, pod: &str) -> Result<Files> {
    let arguments = ["support-bundle", "--local", "--pieces"].map(str::to_owned);
    let (lines, mut came) = mpsc::channel::<String>(16);
    let collected = async {
        let mut files = Files::new();
        while let Some(line) = came.recv().await {
            add(&mut files, &line)?;
        }
        anyhow::Ok(files)
    };
    let (ran, files) = tokio::join!(agents.run(pod, &arguments, lines), collected);
    let files = files?;
    // What came before it failed is worth more than the failure.
    match (ran, files.is_empty()) {
        (Err(error), true) => Err(error),
        (_, true) => bail!("its agent gave no answer; is it of an older version?"),
        (_, false) => Ok(files),
    }
}

fn local(here: &dyn Here) -> Result<Files> {
    let mut files = Files::new();
    for line in here.ask(&Question::Bundle {})? {
        add(&mut files, &line?)?;
    }
    if files.is_empty() {
        bail!("the agent gave no answer; is it of an older version?");
    }
    Ok(files)
}

/// The node that a status is of.
fn name_of(files: &Files) -> String {
    let status = files.get("status.json").and_then(|text| serde_json::from_str(text).ok());
    match status {
        Some(Line::Status(status)) if !status.node.is_empty() => status.node,
        _ => "this-node".to_owned(),
    }
}

/// Takes a line of an answer.
fn add(files: &mut Files, line: &str) -> Result<()> {
    match serde_json::from_str::<Line>(line) {
        Ok(Line::Piece(Piece { file, text })) => {
            let kept: usize = files.values().map(String::len).sum();
            if kept + text.len() <= NODE_BYTES {
                *files.entry(file).or_default() += &text;
            }
            Ok(())
        }
        Ok(Line::Error(why)) => bail!("{why}"),
        // Of another kind, or of a later version.
        Ok(
            Line::Denied(_) | Line::LeftOut(_) | Line::Status(_) | Line::Judged(_) | Line::Quiet {},
        )
        | Err(_) => Ok(()),
    }
}

fn open(path: &Path) -> Result<Box<dyn Write>> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout().lock()));
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let file = file.with_context(|| format!("make the file {}", path.display()))?;
    Ok(Box::new(file))
}

fn write(out: impl Write, nodes: &BTreeMap<String, Result<Files, String>>) -> io::Result<()> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut tar = Tar::new(out, time);
    tar.file(&format!("{FOLDER}/README.txt"), readme(nodes).as_bytes())?;
    for (node, files) in nodes {
        let mut put = |name: &str, text: &str| {
            let text = secrets::removed(text);
            tar.file(&format!("{FOLDER}/nodes/{node}/{name}"), text.as_bytes())
        };
        match files {
            Ok(files) => files.iter().try_for_each(|(name, text)| put(name, text))?,
            Err(why) => put("error.txt", why)?,
        }
    }
    tar.finish().map(drop)
}

fn readme(nodes: &BTreeMap<String, Result<Files, String>>) -> String {
    let mut text = format!(
        "Made by nftpol {}. A folder for each node. It has names of pods, namespaces and \
         policies, addresses, and the rules; tokens and certificates are removed.\n\n",
        env!("CARGO_PKG_VERSION")
    );
    for (node, files) in nodes {
        // Writing to a String does not fail.
        let _ = match files {
            Ok(files) => writeln!(text, "{node}: {} files", files.len()),
            Err(why) => writeln!(text, "{node}: {}", why.lines().next().unwrap_or_default()),
        };
    }
    secrets::removed(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_fails_hides_no_other_and_secrets_go() {
        let mut files = Files::new();
        for text in ["one\\n", "Bearer s3cr3t\\n"] {
            add(&mut files, &format!("{{\"piece\":{{\"file\":\"log.txt\",\"text\":\"{text}\"}}}}"))
                .expect("a piece");
        }
        add(&mut files, "{\"later\":{}}").expect("ignored");
        assert!(add(&mut files, "{\"error\":\"no\"}").is_err());
        let nodes = [("a", Ok(files)), ("b", Err("unreachable\nlog".to_owned()))]
            .map(|(node, files)| (node.to_owned(), files));
        let mut out = Vec::new();
        write(&mut out, &nodes.into()).expect("written");
        let text = String::from_utf8_lossy(&out);
        for part in ["nodes/a/log.txt", "one\nBearer [removed]\n", "nodes/b/error.txt", "b: unr"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("s3cr3t"));
    }
}
