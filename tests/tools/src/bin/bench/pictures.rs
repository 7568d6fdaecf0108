//! The pictures of docs/benchmarks.md, and the figures that they are drawn from.
//!
//! In: figures. Out: a small table of them beside each picture, in docs/pictures. Equal
//! figures make equal pictures.

mod drawing;

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::{changes, packets};
use drawing::{Line, Picture, Scale, colour};

const CHANGES: &str = "changes";
const PACKETS: &str = "packets";

/// Keeps what changes cost.
pub fn keep_changes(figures: &[changes::Figure]) -> Result<()> {
    let rows = figures.iter().map(|figure| {
        let changes::Figure { change, pods, cpu, wall, kernel } = figure;
        format!("{change},{pods},{cpu:.4},{wall:.4},{kernel:.4}")
    });
    keep(CHANGES, "change,pods,cpu_ms,wall_ms,kernel_cpu_ms", rows)
}

/// Keeps what packets pay.
pub fn keep_packets(figures: &[packets::Figure]) -> Result<()> {
    let rows = figures.iter().map(|figure| {
        let packets::Figure { links, form, size, new, established, connect } = figure;
        // A comma separates columns.
        let form = form.replace(',', ";");
        format!("{links},{form},{size},{new:.0},{established:.0},{connect:.0}")
    });
    keep(PACKETS, "pods_are,form,size,new_ns,established_ns,connect_ns", rows)
}

/// Draws all pictures from what was kept.
pub fn draw() -> Result<()> {
    let changes = read(CHANGES)?;
    write("changes.svg", &changes_picture(&changes)?.svg()?)?;
    let packets = read(PACKETS)?;
    for (name, title, column) in [
        ("packets-new.svg", "Packets a second on one core, each of a new flow", 3),
        ("packets-established.svg", "Packets a second on one core, of an established flow", 4),
        ("connects.svg", "TCP connections a second on one core, opened and closed", 5),
    ] {
        write(name, &packets_picture(title, &packets, column)?.svg()?)?;
    }
    Ok(())
}

/// Milliseconds against the size of the cluster.
fn changes_picture(rows: &[Vec<String>]) -> Result<Picture> {
    let mut lines = Vec::new();
    let names = first_seen(rows, 0);
    for (dashed, column, of) in [(false, 2, ""), (true, 4, ", the kernel alone")] {
        for (index, name) in names.iter().enumerate() {
            let own = rows.iter().filter(|row| &row[0] == name);
            let points = own.map(|row| Ok((number(row, 1)?, number(row, column)?)));
            let points = points.collect::<Result<_>>()?;
            let name = format!("{name}{of}");
            lines.push(Line { name, colour: colour(index), dashed, points });
        }
    }
    Ok(Picture {
        title: "CPU time of a change, milliseconds".to_owned(),
        x: "pods in the cluster, 250 of them on the node".to_owned(),
        scale: Scale::Logarithmic,
        lines,
    })
}

/// Things a second against pods or Services, of routed pods. A form without a size is a
/// line across.
fn packets_picture(title: &str, rows: &[Vec<String>], column: usize) -> Result<Picture> {
    let routed: Vec<Vec<String>> = rows.iter().filter(|row| row[0] == "routed").cloned().collect();
    let mut sizes: Vec<u32> =
        routed.iter().map(|row| Ok(number(row, 2)? as u32)).collect::<Result<_>>()?;
    sizes.sort_unstable();
    sizes.dedup();
    let last = sizes.len().saturating_sub(1) as f64;
    let mut lines = Vec::new();
    for (index, form) in first_seen(&routed, 1).into_iter().enumerate() {
        let own: Vec<_> = routed.iter().filter(|row| row[1] == form).collect();
        let mut points = Vec::new();
        for row in &own {
            let size = number(row, 2)? as u32;
            let place = sizes.iter().position(|one| *one == size).unwrap_or_default();
            points.push((place as f64, 1e9 / number(row, column)?));
        }
        let is_across = points.len() == 1;
        if let [(_, height)] = points[..] {
            points = vec![(0.0, height), (last, height)];
        }
        let name = form.replace(';', ",");
        lines.push(Line { name, colour: colour(index), dashed: is_across, points });
    }
    Ok(Picture {
        title: title.to_owned(),
        x: "isolated pods of the node, or Services".to_owned(),
        scale: Scale::Steps(sizes),
        lines,
    })
}

/// The values of a column, each once, in their order.
fn first_seen(rows: &[Vec<String>], column: usize) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for row in rows {
        if !seen.contains(&row[column]) {
            seen.push(row[column].clone());
        }
    }
    seen
}

fn number(row: &[String], column: usize) -> Result<f64> {
    let text = row.get(column).context("a row is too short")?;
    let number: f64 = text.parse().with_context(|| format!("not a number: {text}"))?;
    ensure!(number.is_finite() && number >= 0.0, "not a size: {text}");
    Ok(number)
}

fn keep(name: &str, head: &str, rows: impl Iterator<Item = impl Display>) -> Result<()> {
    let rows: String = rows.map(|row| format!("{row}\n")).collect();
    write(&format!("{name}.csv"), &format!("{head}\n{rows}"))
}

/// The rows that were kept, without their head.
fn read(name: &str) -> Result<Vec<Vec<String>>> {
    let path = folder().join(format!("{name}.csv"));
    let text = fs::read_to_string(&path)
        .with_context(|| format!("read {}: measure with --plot first", path.display()))?;
    Ok(rows(&text))
}

fn rows(text: &str) -> Vec<Vec<String>> {
    text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn write(name: &str, text: &str) -> Result<()> {
    let path = folder().join(name);
    fs::create_dir_all(folder()).context("create docs/pictures")?;
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/pictures"))
}

#[cfg(test)]
mod tests;
