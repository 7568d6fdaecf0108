//! What the commands of the crate `author` reach on a node: the agent there.

use std::os::fd::AsFd;

use agent::door::client::{self, Answer};
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
        Ok(Box::new(AnswerLines(Some(client::ask(question)?))))
    }

    fn is_output_closed(&self) -> bool {
        let stdout = std::io::stdout();
        let mut sources = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let found = poll(&mut sources, PollTimeout::ZERO).unwrap_or_default();
        found > 0 && sources[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR))
    }
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
