//! Turns values, round by round, into a Markdown table beside the goals and JSON with
//! every value. No value is left out: what never came counts as the longest.

use serde_json::{Value, json};

/// One measure, in the order of its rounds.
#[derive(Clone, Debug)]
pub struct Measure {
    pub name: String,
    pub unit: Unit,
    /// Whether the table has it. Other measures are only in the JSON.
    pub shown: bool,
    /// `None` means that the effect never came.
    pub values: Vec<Option<f64>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Milliseconds,
    Mebibytes,
    Seconds,
    /// Of all, or of all rounds.
    Percent,
}

/// The measures of one state of the cluster.
#[derive(Clone, Debug)]
pub struct Figures {
    pub state: &'static str,
    pub measures: Vec<Measure>,
}

/// The goals of nftpol: for each measure, the largest value in its unit.
const GOALS: [(&str, f64); 7] = [
    (names::CREATED, 5.0),
    (names::DELETED, 5.0),
    (names::LABEL_DENIED, 5.0),
    (names::LABEL_ALLOWED, 5.0),
    (names::FLUSH, 100.0),
    (names::RSS, 20.0),
    (names::CPU, 0.02),
];

/// The measures that have a goal.
pub mod names {
    pub const CREATED: &str = "policy created to first denied";
    pub const DELETED: &str = "policy deleted to first allowed";
    pub const LABEL_DENIED: &str = "label changed to first denied";
    pub const LABEL_ALLOWED: &str = "label changed to first allowed";
    pub const FLUSH: &str = "a foreign `nft flush ruleset` to mended";
    pub const RSS: &str = "RSS of the agent";
    pub const CPU: &str = "CPU of the agent, a pod created and deleted";
}

impl Measure {
    pub fn new(name: impl Into<String>, unit: Unit, values: Vec<Option<f64>>) -> Self {
        Self { name: name.into(), unit, shown: true, values }
    }

    /// Leaves the measure out of the table.
    #[must_use]
    pub fn detail(self) -> Self {
        Self { shown: false, ..self }
    }

    /// Median, 99th percentile and maximum.
    fn parts(&self) -> [Option<f64>; 3] {
        let mut sorted = self.values.clone();
        let order = |one: &Option<f64>| one.unwrap_or(f64::INFINITY);
        sorted.sort_by(|one, other| order(one).total_cmp(&order(other)));
        [0.5, 0.99, 1.0].map(|part| {
            let index = (sorted.len() as f64 * part).ceil() as usize;
            sorted.get(index.saturating_sub(1)).copied().flatten()
        })
    }

    fn json(&self) -> Value {
        let [median, p99, most] = self.parts();
        json!({
            "name": self.name, "unit": self.unit.word(), "median": median, "p99": p99,
            "max": most, "values": self.values,
        })
    }

    fn row(&self, value: Option<f64>) -> String {
        match (value, self.unit) {
            (_, _) if self.values.is_empty() => "-".to_owned(),
            (None, _) => "never".to_owned(),
            (Some(value), Unit::Seconds) => format!("{value:.4}"),
            (Some(value), _) => format!("{value:.1}"),
        }
    }
}

impl Unit {
    fn word(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Mebibytes => "MiB",
            Self::Seconds => "s",
            Self::Percent => "%",
        }
    }
}

impl Figures {
    pub fn json(&self) -> Value {
        let measures: Vec<Value> = self.measures.iter().map(Measure::json).collect();
        json!({"state": self.state, "measures": measures})
    }
}

/// Prints the states side by side.
pub fn table(all: &[Figures]) -> String {
    let states = all.iter().map(|one| format!(" {}: median | p99 | max |", one.state));
    let mut text = format!("| | goal |{}\n|---|---:|", states.collect::<String>());
    text += &"---:|".repeat(3 * all.len());
    text.push('\n');
    let Some(first) = all.first() else { return text };
    for (index, measure) in first.measures.iter().enumerate().filter(|(_, one)| one.shown) {
        let goal = GOALS.iter().find(|(name, _)| *name == measure.name);
        let goal = goal.map(|(_, most)| format!("<= {most}")).unwrap_or_default();
        text += &format!("| {}, {} | {goal} |", measure.name, measure.unit.word());
        for figures in all {
            let measure = &figures.measures[index];
            let cells = measure.parts().map(|part| format!(" {} |", measure.row(part)));
            text += &cells.concat();
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_is_the_longest() {
        let values = vec![None, Some(3.0), Some(1.0)];
        let measure = Measure::new(names::CREATED, Unit::Milliseconds, values);
        assert_eq!(measure.parts(), [Some(3.0), None, None]);
        let figures = [Figures { state: "empty", measures: vec![measure] }];
        let row = "| policy created to first denied, ms | <= 5 | 3.0 | never | never |\n";
        assert!(table(&figures).ends_with(row), "{}", table(&figures));
    }
}
