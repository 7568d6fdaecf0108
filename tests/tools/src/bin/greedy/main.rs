//! What a greedy tenant costs, and what others feel of it.
//!
//! Prints a Markdown table on stdout and progress on stderr. Each load runs in a process
//! of its own, beside the cluster that `bench` measures, in a network namespace of its own.
//! While it is compiled and sent, pods of another namespace become isolated, one after
//! the other. It sets no limits, because times depend on the machine.

mod loads;
mod measure;
mod watched;

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use loads::LOADS;

const USAGE: &str = "\
Usage: greedy [--scale N] [--namespaces N] [load...]

  --scale N       a part of each load: one of N [default: 10]
  --namespaces N  namespaces of 100 pods in the cluster beside it [default: 10]";

/// What the command line says.
struct Arguments {
    scale: usize,
    namespaces: usize,
    loads: Vec<String>,
    /// Measure this one here.
    one: Option<String>,
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    let arguments = read(&words)?;
    match &arguments.one {
        Some(name) => {
            let load = loads::named_load(name)?;
            println!("{}", measure::row(load, arguments.scale, arguments.namespaces)?);
            Ok(())
        }
        None => all(&arguments),
    }
}

fn read(words: &[String]) -> Result<Arguments> {
    let mut read = Arguments { scale: 10, namespaces: 10, loads: Vec::new(), one: None };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value\n\n{USAGE}"));
        match word.as_str() {
            "--scale" => read.scale = value()?.parse().context("--scale")?,
            "--namespaces" => read.namespaces = value()?.parse().context("--namespaces")?,
            "--one" => read.one = Some(value()?.clone()),
            flag if flag.starts_with('-') => bail!("no flag `{flag}`\n\n{USAGE}"),
            name => read.loads.push(loads::named_load(name)?.name.to_owned()),
        }
    }
    ensure!(read.scale > 0, "--scale is at least 1");
    ensure!(read.namespaces > 0, "--namespaces is at least 1");
    Ok(read)
}

fn all(arguments: &Arguments) -> Result<()> {
    println!("{}", measure::HEAD);
    let wanted =
        |name: &str| arguments.loads.is_empty() || arguments.loads.iter().any(|one| one == name);
    for load in LOADS.iter().filter(|load| wanted(load.name)) {
        eprintln!("{}: {}, one of {}", load.name, load.what, arguments.scale);
        let mut command = Command::new(std::env::current_exe().context("find this program")?);
        command.args(["--one", load.name, "--scale", &arguments.scale.to_string()]);
        command.args(["--namespaces", &arguments.namespaces.to_string()]);
        let output = command.stderr(Stdio::inherit()).output().context("start a load")?;
        match output.status.success() {
            true => print!("{}", String::from_utf8_lossy(&output.stdout)),
            false => println!("| {} | {} |", load.what, output.status),
        }
    }
    Ok(())
}
