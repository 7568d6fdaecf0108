//! The matrix as CSV: a line for each pair.

use anyhow::{Context, Result};

use super::table::Matrix;

/// `from,to,ipv4,ipv6`, a line for each pair between which something may pass, and with
/// `denied` for the others, too.
///
/// # Errors
/// None that is known: memory can be written.
pub fn csv(matrix: &Matrix, denied: bool) -> Result<String> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(["from", "to", "ipv4", "ipv6"]).context("write CSV")?;
    for (from, to, cell) in matrix.pairs(denied) {
        let ports = cell
            .ports
            .map(|set| set.map(|set| matrix.sets.get(set).to_string()).unwrap_or_default());
        let [ipv4, ipv6] = &ports;
        let record = [&matrix.ends[from].name, &matrix.ends[to].name, ipv4, ipv6];
        writer.write_record(record).context("write CSV")?;
    }
    let bytes = writer.into_inner().context("write CSV")?;
    String::from_utf8(bytes).context("write CSV")
}
