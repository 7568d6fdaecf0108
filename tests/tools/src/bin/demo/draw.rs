//! Draws the tables of the demo for a terminal of 80 columns: flows and how far they
//! got, before and after. The text has colours on a terminal, unless `NO_COLOR` is
//! set (no-color.org).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use netbed::probe::{Flow, Seen};
use netbed::testbed::Testbed;
use samples::testbed_spec::TestbedSpec;

const PASSED: char = '●';
const REFUSED: char = '·';

/// The meaning of a piece of text.
#[derive(Clone, Copy)]
enum Style {
    Bold,
    Dim,
    Passed,
    Refused,
    NowPassed,
    NowRefused,
}

impl Style {
    /// SGR parameters (ECMA-48, 8.3.117).
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Passed => "32",
            Self::Refused => "31",
            Self::NowPassed => "30;42",
            Self::NowRefused => "97;41",
        }
    }

    fn paint(self, text: &str) -> String {
        if coloured() { format!("\x1b[{}m{text}\x1b[0m", self.code()) } else { text.to_owned() }
    }
}

/// `CLICOLOR_FORCE` colours piped output, for recordings.
fn coloured() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !set("NO_COLOR") && (set("CLICOLOR_FORCE") || std::io::stdout().is_terminal())
}

/// The endpoints, and how to read the tables.
pub fn legend(spec: &TestbedSpec) {
    println!("{}", Style::Bold.paint("One node, nine pods on its bridge, and an outsider"));
    for (number, pod) in spec.pods.iter().enumerate() {
        let labels: Vec<_> =
            pod.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let addresses: Vec<_> = pod.addresses.iter().map(ToString::to_string).collect();
        println!(
            "{:>3} {:<11} {:<15} {}",
            number + 1,
            pod.key(),
            labels.join(","),
            Style::Dim.paint(&addresses.join("  "))
        );
    }
    println!(
        "\nFrom row to column over IPv4, port 80 and port 443: {} connected, {} no answer;\n\
         {} {} and a * mark what changed. IPv6 is tried, too.",
        Style::Passed.paint(&PASSED.to_string()),
        Style::Refused.paint(&REFUSED.to_string()),
        Style::NowPassed.paint(&PASSED.to_string()),
        Style::NowRefused.paint(&REFUSED.to_string()),
    );
}

/// The policy that comes now.
pub fn title(path: &Path, policy: &str, took: Duration) {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    println!(
        "\n{}  {}",
        Style::Bold.paint(&file),
        Style::Dim.paint(&format!("enforced in {} ms", took.as_millis()))
    );
    // The policy without the lines that every policy has.
    let spec: Vec<&str> = policy
        .lines()
        .filter(|line| !line.starts_with("apiVersion") && !line.starts_with("kind"))
        .collect();
    println!("{}", Style::Dim.paint(&spec.join("\n")));
}

type Cells = BTreeMap<(usize, usize), Vec<Seen>>;

/// Both tables. The second marks what changed.
pub fn side_by_side(testbed: &Testbed, flows: &[Flow], before: &[Seen], after: &[Seen]) {
    let six = cells(flows, after, true);
    let (before, after) = (cells(flows, before, false), cells(flows, after, false));
    let shown: Vec<usize> = (0..testbed.endpoints().len())
        .filter(|&index| testbed.endpoints()[index].name != super::NODE)
        .collect();
    let header: String = (1..=shown.len()).map(|number| format!("{number:>2} ")).collect();
    let width = shown.len() * 3;
    println!("{:15}{:width$} after", "", "before");
    println!("{}", Style::Dim.paint(&format!("{:15}{header} {header}", "")));
    for (number, &from) in shown.iter().enumerate() {
        let mut line = format!("{:>3} {:<11}", number + 1, testbed.endpoints()[from].name);
        for &to in &shown {
            let cell = before.get(&(from, to));
            line.push_str(&draw_cell(cell, cell));
        }
        line.push(' ');
        for &to in &shown {
            let pair = (from, to);
            line.push_str(&draw_cell(before.get(&pair), after.get(&pair)));
        }
        println!("{}", line.trim_end());
    }
    let changed = after.iter().filter(|&(pair, seen)| before.get(pair) != Some(seen)).count();
    let other = six.iter().filter(|&(pair, seen)| after.get(pair) != Some(seen)).count();
    let over_six = match other {
        0 => "over IPv6 the same".to_owned(),
        other => format!("{other} pairs differ over IPv6: the policy has IPv4 blocks only"),
    };
    let text = format!("{changed} of {} pairs changed; {over_six}", after.len());
    println!("{}", Style::Dim.paint(&text));
}

/// What was seen for each pair over one family, port by port.
fn cells(flows: &[Flow], seen: &[Seen], v6: bool) -> Cells {
    let mut by_port: BTreeMap<_, Seen> = BTreeMap::new();
    for (flow, &seen) in flows.iter().zip(seen).filter(|(flow, _)| flow.v6 == v6) {
        by_port.insert((flow.from, flow.to, flow.knock), seen);
    }
    let mut cells = Cells::new();
    for ((from, to, _), seen) in by_port {
        cells.entry((from, to)).or_default().push(seen);
    }
    cells
}

/// Three columns: the two ports, and whether anything changed.
fn draw_cell(before: Option<&Vec<Seen>>, after: Option<&Vec<Seen>>) -> String {
    let Some(after) = after else { return "   ".to_owned() };
    let mut text = String::new();
    for (index, &seen) in after.iter().enumerate() {
        let same = before.and_then(|before| before.get(index)) == Some(&seen);
        let (glyph, style) = match (seen == Seen::Answered, same) {
            (true, true) => (PASSED, Style::Passed),
            (true, false) => (PASSED, Style::NowPassed),
            (false, true) => (REFUSED, Style::Refused),
            (false, false) => (REFUSED, Style::NowRefused),
        };
        text.push_str(&style.paint(&glyph.to_string()));
    }
    let _ = write!(text, "{}", if before == Some(after) { ' ' } else { '*' });
    text
}
