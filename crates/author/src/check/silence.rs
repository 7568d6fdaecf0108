//! `# nftpol:allow ID`: the author knows, and means it.
//!
//! In: findings and the text of files. Out: the findings that are not silenced.
//! Never: an error that is silenced; the API server does not read comments.

use super::finding::{Finding, Level};
use crate::Cluster;

/// Before the ids.
const MARK: &str = "nftpol:allow";

/// Removes findings that a comment on their line, or alone on the line before, allows.
pub fn apply(cluster: &Cluster, findings: &mut Vec<Finding>) {
    findings.retain(|finding| {
        let Some(at) = finding.at.as_ref().filter(|_| finding.level < Level::Error) else {
            return true;
        };
        let line = |number| cluster.places.line(&at.file, number).unwrap_or_default();
        let before = line(at.line.saturating_sub(1));
        let is_comment = before.trim_start().starts_with('#');
        !(allows(line(at.line), finding.id) || (is_comment && allows(before, finding.id)))
    });
}

/// Whether a line has a comment that allows an id.
fn allows(line: &str, id: &str) -> bool {
    let comments = line.match_indices('#').map(|(at, _)| &line[at + 1..]);
    let marked = comments.filter_map(|comment| comment.trim_start().strip_prefix(MARK));
    marked
        .flat_map(|ids| ids.split([' ', ',', '\t']))
        .take_while(|word| !word.starts_with('#'))
        .any(|word| word == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_the_checks_that_it_silences() {
        let yes = [
            "a: b # nftpol:allow two-peers",
            "#nftpol:allow x, two-peers",
            "x # a # nftpol:allow two-peers y",
        ];
        for line in yes {
            assert!(allows(line, "two-peers"), "{line}");
        }
        let no = [
            "a: b # nftpol:allow",
            "# nftpol:allow two",
            "nftpol:allow two-peers",
            "# allow two-peers",
        ];
        for line in no {
            assert!(!allows(line, "two-peers"), "{line}");
        }
    }
}
