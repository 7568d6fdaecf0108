//! Findings as annotations of a workflow (docs.github.com, "Workflow commands for GitHub
//! Actions").

use crate::check::finding::{Finding, Level};
use crate::printable::escaped;

/// A line for each finding.
pub fn github(findings: &[Finding]) -> String {
    findings.iter().map(one).collect()
}

fn one(finding: &Finding) -> String {
    let command = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let mut properties = Vec::new();
    if let Some(at) = &finding.at {
        properties.push(format!("file={}", property(&at.file)));
        properties.push(format!("line={}", at.line));
        properties.push(format!("col={}", at.column));
    }
    properties.push(format!("title={}", property(&format!("nftpol {}", finding.id))));
    let mut message = format!("{}: {}", finding.subject(), finding.message);
    if let Some(help) = &finding.help {
        message += &format!("\n{help}");
    }
    format!("::{command} {}::{}\n", properties.join(","), data(&message))
}

/// As the toolkit escapes what follows the last colons (actions/toolkit, command.ts). The log
/// of a workflow obeys other control characters, and shows them in colours.
fn data(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    lines.join("\n").replace('%', "%25").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
