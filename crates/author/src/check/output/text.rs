//! Findings for people: the line, with the place underlined.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level as Shown, Renderer, Snippet};

use crate::Cluster;
use crate::check::finding::{Finding, Level};
use crate::printable::escaped;

/// Whether to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// With escape sequences.
    Yes,
    /// Text alone.
    No,
}

/// All findings.
pub fn text(cluster: &Cluster, findings: &[Finding], colour: Colour) -> String {
    let renderer = match colour {
        Colour::Yes => Renderer::styled(),
        Colour::No => Renderer::plain(),
    };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    findings.iter().map(|finding| one(cluster, finding, &renderer) + "\n\n").collect()
}

fn one(cluster: &Cluster, finding: &Finding, renderer: &Renderer) -> String {
    let level = match finding.level {
        Level::Error => Shown::ERROR,
        Level::Warning => Shown::WARNING,
        Level::Note => Shown::NOTE,
    };
    let source = source(cluster, finding);
    let mut words = title(finding, source.is_some());
    if let (Some(at), None) = (&finding.at, &source) {
        words = escaped(&format!("{at}: ")) + &words;
    }
    let title = level.primary_title(words).id(finding.id);
    let mut report = vec![match &source {
        Some(Source { file, text, first, span }) => {
            let annotation = AnnotationKind::Primary.span(span.clone());
            let annotation = match &finding.label {
                Some(label) => annotation.label(escaped(label)),
                None => annotation,
            };
            title.element(
                Snippet::source(text.as_str())
                    .path(file.as_str())
                    .line_start(*first)
                    .fold(false)
                    .annotation(annotation),
            )
        }
        None => Group::with_title(title),
    }];
    let help = finding.help.iter().map(|help| escaped(help));
    let fix = finding.fix.iter().map(|fix| match fix.opens {
        None => format!("{}: --fix does it", fix.title),
        Some(_) => format!("{}: --fix {} does it", fix.title, finding.id),
    });
    for help in help.chain(fix) {
        report.push(Group::with_title(Shown::HELP.secondary_title(help)));
    }
    renderer.render(&report)
}

/// `shown`: whether the line is.
fn title(finding: &Finding, shown: bool) -> String {
    let mut title = finding.subject();
    if !finding.field.is_empty() && !shown {
        title += &format!(": {}", finding.field);
    }
    if !title.is_empty() {
        title += ": ";
    }
    escaped(&(title + &finding.message))
}

/// The lines around a place.
struct Source {
    file: String,
    text: String,
    first: usize,
    /// What is underlined, in bytes of the text.
    span: std::ops::Range<usize>,
}

fn source(cluster: &Cluster, finding: &Finding) -> Option<Source> {
    let at = finding.at.as_ref()?;
    let line = cluster.places.line(&at.file, at.line)?;
    let before = cluster.places.line(&at.file, at.line.saturating_sub(1)).filter(|_| at.line > 1);
    let start = line.char_indices().nth(at.column - 1).map_or(line.len(), |(start, _)| start);
    let span = start..start + token(&line[start..]);
    let shift = before.map_or(0, |before| before.len() + 1);
    let text = match before {
        Some(before) => format!("{before}\n{line}"),
        None => line.to_owned(),
    };
    Some(Source {
        file: at.file.clone(),
        text,
        first: at.line - usize::from(before.is_some()),
        span: span.start + shift..span.end + shift,
    })
}

/// The bytes of the key or value that a text begins with.
fn token(text: &str) -> usize {
    let quote = text.chars().next().filter(|first| matches!(first, '"' | '\''));
    if let Some(quote) = quote
        && let Some(end) = text[1..].find(quote)
    {
        return end + 2;
    }
    let ends = |(at, one): (usize, char)| {
        let is_colon = one == ':' && text[at + 1..].chars().next().is_none_or(char::is_whitespace);
        one.is_whitespace() || matches!(one, ',' | '}' | ']' | '#') || is_colon
    };
    let end = text.char_indices().find(|&(at, one)| at > 0 && ends((at, one)));
    end.map_or(text.len(), |(at, _)| at)
}

/// `3 policies, 8 pods: 1 error, 2 warnings`.
pub fn summary(cluster: &Cluster, findings: &[Finding]) -> String {
    let count = |level| findings.iter().filter(|one| one.level == level).count();
    let mut parts = Vec::new();
    for (level, one, many) in [
        (Level::Error, "error", "errors"),
        (Level::Warning, "warning", "warnings"),
        (Level::Note, "note", "notes"),
    ] {
        match count(level) {
            0 => {}
            1 => parts.push(format!("1 {one}")),
            more => parts.push(format!("{more} {many}")),
        }
    }
    let found = if parts.is_empty() { "nothing to say".to_owned() } else { parts.join(", ") };
    let snapshot = &cluster.snapshot;
    let policies = match snapshot.policies.len() + snapshot.multi_policies.len() {
        1 => "1 policy".to_owned(),
        more => format!("{more} policies"),
    };
    let pods = crate::check::context::counted(cluster.snapshot.pods.len(), "pod");
    let mut line = format!("{policies}, {pods}: {found}\n");
    // The first one of the worst level.
    let silenceable = findings.iter().rev().filter(|one| one.level < Level::Error);
    let silenceable = silenceable.max_by_key(|one| one.level);
    match (silenceable, findings.first()) {
        (Some(one), _) => {
            let id = one.id;
            line += &format!(
                "(--explain {id} tells more; a comment \"# nftpol:allow {id}\" on the line silences \
                 it)\n"
            );
        }
        (None, Some(first)) => line += &format!("(--explain {} tells more)\n", first.id),
        (None, None) => {}
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_or_a_value_is_underlined() {
        let cases = [
            ("port: 80", 4),
            ("80 # c", 2),
            ("a:b,", 3),
            ("\"a b\": c", 5),
            ("{}", 1),
            ("10.0.0.0/8}", 10),
            ("", 0),
        ];
        for (text, length) in cases {
            assert_eq!(token(text), length, "{text:?}");
        }
    }
}
