//! `nftpol monitor`: the packets that policies deny.
//!
//! In: the agent of this node, or those of all. Out: a line for each packet, or a policy
//! that would allow them. Never: a change.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::agents::{AgentPod, ClusterAgents, Where};
use super::services::Services;
use super::{Here, notice, print, warning};
use crate::command::Output;
use crate::live::protocol::{Denied, Line, Question, Selection};
use crate::live::{suggest, text};

/// How often new agents are looked for.
const FIND_EVERY: Duration = Duration::from_secs(10);
/// Lines that wait to be printed.
const QUEUE: usize = 1024;

/// `nftpol monitor`.
#[derive(Debug, Args)]
pub struct Monitor {
    #[command(flatten)]
    place: Where,
    /// Only packets from or to isolated pods of this namespace.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Begin with the packets of this time, such as 30s, 10m or 1h. Each agent keeps 10,000.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    since: Option<u64>,
    /// Begin with the last packets, this many of each node.
    #[arg(long, value_name = "NUMBER")]
    last: Option<usize>,
    /// End after the packets that are known now.
    #[arg(long)]
    no_follow: bool,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Print the smallest policies that would have allowed what was denied, of all pods or of
    /// these. Nothing is applied.
    #[arg(long, value_name = "NAMESPACE[/POD]", num_args = 0..=1, default_missing_value = "")]
    suggest: Option<String>,
}

/// `30`, `30s`, `10m`, `1h`.
fn seconds(text: &str) -> Result<u64, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((at, unit @ ('s' | 'm' | 'h'))) => (&text[..at], unit),
        _ => (text, 's'),
    };
    let number: u64 = number.parse().map_err(|_| "a number, and s, m or h".to_owned())?;
    let factor = match unit {
        'h' => 3600,
        'm' => 60,
        _ => 1,
    };
    number.checked_mul(factor).ok_or_else(|| "too long".to_owned())
}

impl Monitor {
    /// Prints packets until nobody reads, or until those that are known are printed.
    ///
    /// # Errors
    /// No agent answers.
    pub fn run(&self, here: &dyn Here) -> Result<ExitCode> {
        let mut printer = Printer {
            here,
            output: self.output,
            suggest: self.suggest.is_some(),
            is_asked_from_elsewhere: self.place.local,
            services: None,
            packets: Vec::new(),
        };
        if self.place.is_local(here) {
            self.local(&mut printer)?;
        } else {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.context("start a runtime")?.block_on(self.cluster(&mut printer))?;
        }
        if let Some(only) = &self.suggest {
            let only = Some(only.as_str()).filter(|only| !only.is_empty());
            print(&suggest::policies(&printer.packets, only))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn selection(&self) -> Selection {
        let all = self.suggest.is_some() || self.no_follow;
        Selection {
            since_seconds: self.since,
            last: self.last.or((all && self.since.is_none()).then_some(usize::MAX)),
            follow: !all,
            namespace: self.namespace.clone(),
        }
    }

    fn local(&self, printer: &mut Printer<'_>) -> Result<()> {
        let lines = printer.here.ask(&Question::Denied(self.selection()))?;
        self.follows("the agent of this node");
        for text in lines {
            if !printer.line(&text?)? {
                break;
            }
        }
        Ok(())
    }

    /// Says that it waits for packets, because there may be none for long.
    fn follows(&self, whom: &str) {
        if self.selection().follow && self.output == Output::Text {
            notice(format_args!("following {whom}; Ctrl-C ends"));
        }
    }

    /// The arguments of the same question to an agent's own program.
    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["monitor", "--local", "-o", "json"].map(str::to_owned).into();
        let selection = self.selection();
        let mut flag = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        flag("namespace", selection.namespace);
        flag("since", selection.since_seconds.map(|seconds| seconds.to_string()));
        flag(
            "last",
            selection.last.filter(|last| *last != usize::MAX).map(|last| last.to_string()),
        );
        if !selection.follow {
            arguments.push("--no-follow".to_owned());
        }
        arguments
    }

    async fn cluster(&self, printer: &mut Printer<'_>) -> Result<()> {
        let agents = ClusterAgents::connect(&self.place).await?;
        printer.services = Some(Services::of(agents.client()));
        let (lines, mut came) = mpsc::channel::<Result<String, (String, String)>>(QUEUE);
        let mut running: BTreeMap<String, AgentPod> = BTreeMap::new();
        let (mut follows, mut nodes) = (true, 0);
        // A node's problem is printed once.
        let mut said: BTreeMap<String, String> = BTreeMap::new();
        loop {
            if follows {
                match agents.find().await {
                    Ok(found) => {
                        if nodes == 0 {
                            self.follows(&format!("the agents of {} nodes", found.len()));
                        }
                        nodes = found.len();
                        for (node, pod) in found {
                            if running.get(&node) != Some(&pod) {
                                self.begin(&agents, &node, &pod, &lines);
                                running.insert(node, pod);
                            }
                        }
                    }
                    Err(error) if running.is_empty() => return Err(error),
                    Err(error) => warning(format_args!("{error:#}")),
                }
                // Without following, one look is enough.
                follows = self.selection().follow;
            }
            let pause = sleep(FIND_EVERY);
            tokio::pin!(pause);
            loop {
                let line = tokio::select! {
                    line = came.recv() => line,
                    () = &mut pause => break,
                };
                match line {
                    Some(Ok(text)) => {
                        if !printer.line_of_cluster(&text).await? {
                            return Ok(());
                        }
                    }
                    Some(Err((node, why))) => {
                        running.remove(&node);
                        if why.is_empty() {
                            said.remove(&node);
                        } else if said.get(&node) != Some(&why) {
                            warning(format_args!("node {node}: {}", text::plain(&why)));
                            said.insert(node, why);
                        }
                        if !self.selection().follow && running.is_empty() {
                            let is_empty = printer.suggest && printer.packets.is_empty();
                            if !said.is_empty() && (is_empty || said.len() == nodes) {
                                bail!("{} of {nodes} nodes did not answer", said.len());
                            }
                            return Ok(());
                        }
                    }
                    None => return Ok(()),
                }
            }
        }
    }

    /// Asks one agent. The last message names the node, and what went wrong.
    fn begin(
        &self,
        agents: &ClusterAgents,
        node: &str,
        pod: &AgentPod,
        lines: &mpsc::Sender<Result<String, (String, String)>>,
    ) {
        let (agents, node, pod) = (agents.clone(), node.to_owned(), pod.clone());
        let (arguments, lines) = (self.arguments(), lines.clone());
        tokio::spawn(async move {
            let why = match pod.problem {
                Some(problem) => problem,
                None => {
                    let (sender, mut receiver) = mpsc::channel(QUEUE);
                    let run = agents.run(&pod.name, &arguments, sender);
                    let pass = async {
                        while let Some(line) = receiver.recv().await {
                            if lines.send(Ok(line)).await.is_err() {
                                break;
                            }
                        }
                        drop(receiver);
                    };
                    let (ended, ()) = tokio::join!(run, pass);
                    ended.err().map(|error| format!("{error:#}")).unwrap_or_default()
                }
            };
            let _ = lines.send(Err((node, why))).await;
        });
    }
}

/// Prints lines of agents.
struct Printer<'a> {
    here: &'a dyn Here,
    output: Output,
    suggest: bool,
    is_asked_from_elsewhere: bool,
    /// What a policy is to be made of.
    packets: Vec<Denied>,
    /// Names of Services, where an API server is asked.
    services: Option<Services>,
}

impl Printer<'_> {
    /// Takes a line of an agent of the cluster. Whether somebody still reads.
    async fn line_of_cluster(&mut self, json: &str) -> Result<bool> {
        // A line of a later version, perhaps.
        let Ok(mut line) = serde_json::from_str::<Line>(json) else { return Ok(true) };
        let Line::Denied(packet) = &mut line else { return self.shown(line, json) };
        let (Some(asked), Some(services)) = (&mut packet.asked, &mut self.services) else {
            return self.shown(line, json);
        };
        asked.service = services.name(asked.address).await;
        let json = serde_json::to_string(&line).context("write JSON")?;
        self.shown(line, &json)
    }

    /// Takes a line. Whether somebody still reads.
    fn line(&mut self, json: &str) -> Result<bool> {
        match serde_json::from_str::<Line>(json) {
            Ok(line) => self.shown(line, json),
            // Of a later version, perhaps.
            Err(_) => Ok(true),
        }
    }

    fn shown(&mut self, line: Line, json: &str) -> Result<bool> {
        let shown = match (line, self.output) {
            (Line::Error(why), _) => bail!("{}", text::plain(&why)),
            (Line::Denied(packet), _) if self.suggest => {
                self.packets.push(packet);
                return Ok(true);
            }
            // Who asks from elsewhere would take a silent stream for a dead one.
            (Line::Quiet {}, Output::Json) if self.is_asked_from_elsewhere => json.to_owned(),
            (Line::Quiet {} | Line::Status(_) | Line::Piece(_) | Line::Judged(_), _) => {
                return Ok(!self.here.is_output_closed());
            }
            (_, Output::Json) => json.to_owned(),
            (Line::Denied(packet), Output::Text) => text::denied(&packet),
            (Line::LeftOut(_), Output::Text) if self.suggest => return Ok(true),
            (Line::LeftOut(left_out), Output::Text) => text::left_out(&left_out),
        };
        print(&(shown + "\n"))?;
        Ok(!self.here.is_output_closed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(["30", "30s", "10m", "2h"].map(seconds), [Ok(30), Ok(30), Ok(600), Ok(7200)]);
        assert!(
            ["", "s", "-1s", "1d", "99999999999999999999"].map(seconds).iter().all(Result::is_err)
        );
    }
}
