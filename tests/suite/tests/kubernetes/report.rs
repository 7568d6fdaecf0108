//! The table of faults for the log, and what none of its rows may contain.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use netbed::stream::StreamCount;

/// One fault.
pub struct Row {
    pub fault: &'static str,
    /// From the fault to the effect of a change that was made right after it. If the
    /// rules were gone, the time in which packets wrongly passed.
    pub recovered: Duration,
    /// How long the node had no agent.
    pub agentless: Duration,
    /// Datagrams that must never pass: sent, and arrived.
    pub passed: StreamCount,
    /// Datagrams that must pass: sent, and arrived.
    pub lost: StreamCount,
    /// Whether the fault removes the rules.
    pub opens: bool,
}

/// All faults.
#[derive(Default)]
pub struct Report(Vec<Row>);

impl Report {
    pub fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    /// # Errors
    /// When something passed while the rules were in place, or something was lost.
    pub fn judge(&self) -> Result<()> {
        let wrong = |row: &&Row| row.lost() > 0 || (row.passed.arrived > 0 && !row.opens);
        let wrong: Vec<_> = self.0.iter().filter(wrong).map(|row| row.fault).collect();
        ensure!(wrong.is_empty(), "wrongly passed or lost: {wrong:?}");
        Ok(())
    }
}

impl Row {
    fn lost(&self) -> u64 {
        self.lost.sent - self.lost.arrived
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1000.0);
        let passed = format!("{} of {}", self.passed.arrived, self.passed.sent);
        let lost = format!("{} of {}", self.lost(), self.lost.sent);
        let (recovered, agentless) = (millis(self.recovered), millis(self.agentless));
        write!(f, "| {} | {recovered} | {agentless} | {passed} | {lost} |", self.fault)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| fault | recovered after, ms | without agent, ms | wrongly passed | wrongly lost |"
        )?;
        writeln!(f, "|---|---:|---:|---:|---:|")?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}
