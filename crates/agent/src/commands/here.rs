//! What the commands of the crate `author` reach on a node: the agent there.

use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;

use agent::door::client::{self, Answer, AskError};
use anyhow::Result;
use author::command::{Here, Lines};
use author::live::protocol::Question;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The network namespace that the command runs in.
#[derive(Clone, Copy, Debug)]
pub struct ThisNode;

impl Here for ThisNode {
    fn reaches_kernel(&self) -> bool {
        true
    }

    fn has_agent(&self) -> bool {
        client::is_there()
    }

    fn ask(&self, question: &Question) -> Result<Lines> {
        let Question::Denied(_) = question else {
            return Ok(Box::new(AnswerLines(Some(client::ask(question)?))));
        };
        match (client::ask(question), client::ask_pod_agent(question)) {
            (own, Err(_)) => Ok(Box::new(AnswerLines(Some(own?)))),
            (Err(AskError::NoAgent(_)), Ok(of_pods)) => Ok(Box::new(AnswerLines(Some(of_pods)))),
            (own, Ok(of_pods)) => both([own?, of_pods]),
        }
    }

    fn is_output_closed(&self) -> bool {
        let stdout = std::io::stdout();
        let mut sources = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let found = poll(&mut sources, PollTimeout::ZERO).unwrap_or_default();
        found > 0 && sources[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR))
    }
}

/// Lines that wait to be taken, of each answer.
const QUEUE: usize = 256;

/// The lines of both answers, as they come, until both end or one fails.
fn both(answers: [Answer; 2]) -> Result<Lines> {
    let (sender, lines) = mpsc::sync_channel(QUEUE);
    for answer in answers {
        let sender = sender.clone();
        let pass = move || {
            for line in AnswerLines(Some(answer)) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("answer".to_owned()).spawn(pass)?;
    }
    Ok(Box::new(lines.into_iter()))
}

/// Lines until the answer ends or fails.
struct AnswerLines(Option<Answer>);

impl Iterator for AnswerLines {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.0.as_mut()?.text();
        if !matches!(text, Ok(Some(_))) {
            self.0 = None;
        }
        text.map_err(Into::into).transpose()
    }
}
