//! `explain`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::Output;
use super::live::Here;
use super::network::NetworkArg;
use crate::explain::{End, Verdict, add_kernel, explain};
use crate::input::InputArgs;
use crate::live::protocol::{AskedPacket, Judged, Line, Question};

const EXAMPLES: &str = "\
Ends:
  shop/cart                   the pod, or the workload, of that name
  shop/deploy/cart            a workload; also sts, ds, rs, job, cronjob, pod
  shop/app=cart, 'shop/*'     the pods that a selector matches, all pods of a namespace
  svc/shop/cart:80            a Service (as the destination): the pods behind it
  node/worker-1, 192.0.2.7    a node, an address
  internet                    every public address
Without a protocol a port is TCP: 53/UDP, [fd00::1]:53/UDP. Without a port all ports are asked about.

Examples:
  nftpol explain -f manifests/ monitoring/prometheus shop/cart:9090
  nftpol explain shop/deploy/front svc/shop/cart:80
  nftpol explain shop/deploy/cart internet:443 -o json
  nftpol explain --network storage/macvlan shop/backup shop/database:5432";

/// `nftpol explain`. Exit 0 allowed, 1 denied at least in part, 2 it cannot be told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Explain {
    /// Who opens the connection.
    #[arg(value_name = "FROM")]
    from: String,
    /// To whom, and on which port.
    #[arg(value_name = "TO[:PORT[/PROTOCOL]]")]
    to: String,
    /// The objects.
    #[command(flatten)]
    input: InputArgs,
    /// Which network.
    #[command(flatten)]
    network: NetworkArg,
    /// Also say what the table in this node's kernel does, by its agent: the rule that decides,
    /// packets dropped, and when the table was proved. Needs root, and `nftpol` on the node or
    /// in the agent's pod.
    #[arg(long)]
    via_kernel: bool,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

impl Explain {
    /// Answers.
    ///
    /// # Errors
    /// The question has no answer: an end names nothing, or the objects cannot be read.
    pub fn run(&self, here: &dyn Here) -> Result<ExitCode> {
        if self.via_kernel && !here.reaches_kernel() {
            bail!(
                "this program reaches no kernel; run `nftpol explain --via-kernel` on the pod's \
                 node, or in its agent's pod (kubectl exec -n kube-system POD -- nftpol explain ...)"
            );
        }
        if self.via_kernel && self.network.is_further() {
            bail!(
                "--via-kernel asks the node's agent, and the tables of further networks are in the \
                 pods' namespaces; there `nftpol verify --kernel --place=pod --pod NAMESPACE/NAME \
                 --network NAMESPACE/NAME --netns FILE` tells whether the kernel does what is \
                 written"
            );
        }
        let cluster = self.network.of(self.input.cluster()?)?;
        let from = End::parse(&self.from, &cluster.namespace)?;
        let to = End::parse(&self.to, &cluster.namespace)?;
        let mut answer = explain(&cluster, &from, &to)?;
        if self.via_kernel {
            add_kernel(&mut answer, &|packet| ask(here, packet));
        }
        let text = match self.output {
            Output::Text => answer.to_string(),
            Output::Json => serde_json::to_string_pretty(&answer)? + "\n",
        };
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).context("write to standard output")?;
        Ok(match answer.verdict {
            Verdict::Allowed => ExitCode::SUCCESS,
            Verdict::Partly | Verdict::Denied => ExitCode::FAILURE,
        })
    }
}

/// Asks the agent of this node what its kernel does to a packet.
fn ask(here: &dyn Here, packet: &AskedPacket) -> Result<Judged, String> {
    let answer = here.ask(&Question::Judge(packet.clone()));
    let line = answer.and_then(|mut lines| lines.next().transpose());
    let line = line.map_err(|error| error.to_string())?;
    match line.map(|line| serde_json::from_str(&line)) {
        Some(Ok(Line::Judged(judged))) => Ok(judged),
        Some(Ok(Line::Error(why))) => Err(why),
        Some(_) | None => Err("the agent gave no answer".to_owned()),
    }
}
